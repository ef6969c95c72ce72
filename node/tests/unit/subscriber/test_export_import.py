"""What leaves a partition and comes back, over both ways to a node: with and without a socket between."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.memory_token import MemoryToken, aes_key, p256_pair, store
from support.subscriber_node import PIN, DirectNode, RecordingAgent, opener, serving

from keyfold.errors import KeyfoldError
from keyfold.subscriber.client.bundle import Bundle, decode
from keyfold.subscriber.client.connection import Connection, Node
from keyfold.subscriber.client.export import export
from keyfold.subscriber.client.import_ import import_
from keyfold.subscriber.client.seal import seal, unseal
from keyfold.subscriber.node.conversation import Conversation

NOW = datetime(2026, 11, 25, tzinfo=UTC)
CERTIFICATE = {"CKA_CLASS": 1, "CKA_LABEL": b"web", "CKA_CERTIFICATE_TYPE": 0, "CKA_ID": b"\1", "CKA_VALUE": b"0\0"}
DATA = {"CKA_CLASS": 0, "CKA_LABEL": b"note", "CKA_VALUE": b"\xff\0text"}


@pytest.fixture(scope="module")
def keypair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The subscriber's own SSH key."""
    key = tmp_path_factory.mktemp("subscriber") / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return key


Reach = Callable[..., Node]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shorter RSA key is made sooner."""
    monkeypatch.setattr("keyfold.subscriber.client.export._RSA_BITS", 2048)


@pytest.fixture(params=["direct", "socket"])
def reach(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reach]:
    """A node with this token and policy, as the client sees it; a socket's node works on a copy of the token."""
    with ExitStack() as stack:

        def to(token: Any, **policy: bool) -> Node:
            number = len(list(tmp_path.iterdir()))
            agent = RecordingAgent(tmp_path / f"calls-{number}", **policy)
            if request.param == "direct":
                return DirectNode(Conversation(agent, opener(token)))
            path = tmp_path / f"{number}.sock"
            stack.enter_context(serving(path, agent, token))
            return stack.enter_context(Connection(path))

        yield to


def exported(node: Node, keypair: Path, target: Path, *, skip_refused: bool = False, **selection: Any) -> Bundle:
    export(
        node,
        PIN,
        selection,
        skip_refused=skip_refused,
        recipients=[str(keypair.with_suffix(".pub"))],
        target=target,
        now=NOW,
    )
    return decode(unseal(target, keypair))


def test_everything_that_left_comes_back_and_proves_itself(reach: Reach, keypair: Path, tmp_path: Path) -> None:
    rows = [*p256_pair(b"\1", b"web"), aes_key(b"disk"), CERTIFICATE, DATA]
    bundle = exported(reach(MemoryToken(store(*rows)), key_extract=True), keypair, tmp_path / "out.age")
    assert [row["class"] for row in bundle.objects] == ["public", "private", "secret", "certificate", "data"]
    assert (bundle.partition, bundle.created) == ("acme", "2026-11-25T00:00:00Z")
    again = import_(reach(MemoryToken({})), PIN, bundle, skip_existing=False)
    assert [(row["class"], row["label"], row["verified"]) for row in again["imported"]] == [
        ("public", "web", True),
        ("private", "web", True),
        ("secret", "disk", True),
        ("certificate", "web", True),
        ("data", "note", True),
    ]


def test_what_is_sealed_is_for_the_subscriber_alone_and_nothing_in_clear(
    reach: Reach, keypair: Path, tmp_path: Path
) -> None:
    (secret,) = (row["secret"] for row in p256_pair(b"\1", b"web") if "secret" in row)
    rows = [aes_key(b"disk"), {**p256_pair(b"\1", b"web")[1], "secret": secret}]
    target = tmp_path / "out.age"
    bundle = exported(reach(MemoryToken(store(*rows)), key_extract=True), keypair, target)
    assert target.stat().st_mode & 0o777 == 0o600
    assert target.read_bytes().startswith(b"-----BEGIN AGE ENCRYPTED FILE-----")
    assert secret not in bundle.encode()
    assert str(bundle.kek) not in repr(bundle)
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    with pytest.raises(KeyfoldError) as refused:
        unseal(target, other)
    assert refused.value.code == "refused"


@pytest.mark.parametrize(
    ("rows", "policy", "named"),
    [
        ([aes_key(b"disk")], {}, "key_extract"),
        ([aes_key(b"disk")], {"key_extract": True, "session_objects": False}, "session_objects"),
        ([aes_key(b"disk")], {"key_extract": True, "use_objects": False}, "use_objects"),
        ([aes_key(b"disk", CKA_EXTRACTABLE=False)], {"key_extract": True}, "CKA_EXTRACTABLE"),
        ([aes_key(b"disk", CKA_WRAP_WITH_TRUSTED=True)], {"key_extract": True}, "CKA_WRAP_WITH_TRUSTED"),
        ([aes_key(b"disk", CKA_KEY_TYPE=2)], {"key_extract": True}, "CKA_KEY_TYPE"),
        ([aes_key(b"disk")], {"key_extract": True, "client_api_access": False}, "client_api_access"),
    ],
)
def test_what_may_not_leave_is_refused_by_the_policy_or_attribute_that_forbids_it(
    reach: Reach, keypair: Path, tmp_path: Path, rows: list[dict[str, Any]], policy: dict[str, bool], named: str
) -> None:
    with pytest.raises(KeyfoldError) as refused:
        exported(reach(MemoryToken(store(*rows, DATA)), **policy), keypair, tmp_path / "out.age")
    assert refused.value.code == "denied"
    assert named in refused.value.what
    assert not (tmp_path / "out.age").exists()


def test_the_rest_leaves_when_asked_for_and_what_stayed_is_named(reach: Reach, keypair: Path, tmp_path: Path) -> None:
    node = reach(MemoryToken(store(aes_key(b"disk"), DATA)))
    bundle = exported(node, keypair, tmp_path / "out.age", skip_refused=True)
    assert ([row["class"] for row in bundle.objects], bundle.kek) == (["data"], None)


def test_only_what_was_chosen_leaves(reach: Reach, keypair: Path, tmp_path: Path) -> None:
    rows = [*p256_pair(b"\1", b"web"), *p256_pair(b"\2", b"mail"), aes_key(b"web")]
    node = reach(MemoryToken(store(*rows)), key_extract=True)
    bundle = exported(node, keypair, tmp_path / "out.age", labels=["web"], classes=["private", "public"])
    assert [row["class"] for row in bundle.objects] == ["public", "private"]


def test_a_wrong_pin_and_a_choice_of_nothing_are_told_apart(reach: Reach, keypair: Path, tmp_path: Path) -> None:
    node = reach(MemoryToken(store(DATA)))
    with pytest.raises(KeyfoldError, match="PIN") as wrong:
        export(node, "wrong", {}, skip_refused=False, recipients=["x"], target=tmp_path / "a", now=NOW)
    assert wrong.value.code == "denied"
    with pytest.raises(KeyfoldError) as nothing:
        exported(reach(MemoryToken(store(DATA))), keypair, tmp_path / "out.age", labels=["nobody"])
    assert nothing.value.code == "not_found"


def test_an_existing_file_is_never_written_over(reach: Reach, keypair: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.age"
    target.write_text("the only copy")
    with pytest.raises(KeyfoldError) as taken:
        exported(reach(MemoryToken(store(DATA))), keypair, target)
    assert taken.value.code == "conflict"
    with pytest.raises(KeyfoldError):
        seal(b"x", [str(keypair.with_suffix(".pub"))], target)
    assert target.read_text() == "the only copy"


@pytest.mark.parametrize(
    ("policy", "named"), [({"key_import": False}, "key_import"), ({"read_only": True}, "read_only")]
)
def test_an_import_that_the_policy_forbids_is_refused_by_name(
    reach: Reach, policy: dict[str, bool], named: str
) -> None:
    with pytest.raises(KeyfoldError, match=named) as refused:
        import_(reach(MemoryToken({}), **policy), PIN, Bundle("acme", "", []), skip_existing=False)
    assert refused.value.code == "denied"


def test_what_is_there_already_is_named_and_passed_over_only_when_asked(
    reach: Reach, keypair: Path, tmp_path: Path
) -> None:
    rows = [*p256_pair(b"\1", b"web"), DATA]
    bundle = exported(reach(MemoryToken(store(*rows)), key_extract=True), keypair, tmp_path / "out.age")
    with pytest.raises(KeyfoldError, match="web") as there:
        import_(reach(MemoryToken(store(rows[0]))), PIN, bundle, skip_existing=False)
    assert there.value.code == "conflict"
    again = import_(reach(MemoryToken(store(rows[0]))), PIN, bundle, skip_existing=True)
    assert [row["class"] for row in again["imported"]] == ["private", "data"]
    assert [row["class"] for row in again["existing"]] == ["public"]


def test_a_dry_run_imports_nothing_and_leaves_no_note(keypair: Path, tmp_path: Path) -> None:
    token = MemoryToken({})
    agent = RecordingAgent(tmp_path / "calls")
    node = DirectNode(Conversation(agent, opener(token)))
    bundle = Bundle("acme", "", [{"class": "data", "attributes": {"CKA_LABEL": "bm90ZQ=="}}])
    reply = import_(node, PIN, bundle, skip_existing=False, check=True)
    assert (reply["changed"], [row["label"] for row in reply["imported"]]) == (False, ["note"])
    assert token.store == {}
    assert [call["op"] for call in agent.calls] == ["subscriber_policy"]


def test_a_key_that_is_not_the_one_that_left_is_refused_and_nothing_stays(keypair: Path, tmp_path: Path) -> None:
    rows = [*p256_pair(b"\1", b"web"), DATA]
    other = p256_pair(b"\1", b"web")[0]
    node = DirectNode(Conversation(RecordingAgent(tmp_path / "a", key_extract=True), opener(MemoryToken(store(*rows)))))
    bundle = exported(node, keypair, tmp_path / "out.age")
    rows_in_bundle: list[Any] = json.loads(json.dumps(bundle.objects))
    swapped = DirectNode(
        Conversation(RecordingAgent(tmp_path / "b", key_extract=True), opener(MemoryToken(store(other))))
    )
    foreign = exported(swapped, keypair, tmp_path / "other.age").objects[0]["attributes"]["CKA_EC_POINT"]
    next(row for row in rows_in_bundle if row["class"] == "private")["proof"]["CKA_EC_POINT"] = foreign
    token = MemoryToken({})
    with pytest.raises(KeyfoldError) as refused:
        import_(
            DirectNode(Conversation(RecordingAgent(tmp_path / "c"), opener(token))),
            PIN,
            Bundle("acme", "", rows_in_bundle, bundle.kek),
            skip_existing=False,
        )
    assert refused.value.code == "refused"
    assert token.store == {}


def test_a_secret_key_that_answers_as_another_is_refused_and_nothing_stays(keypair: Path, tmp_path: Path) -> None:
    token = MemoryToken(store(aes_key(b"disk")))
    node = DirectNode(Conversation(RecordingAgent(tmp_path / "a", key_extract=True), opener(token)))
    bundle = exported(node, keypair, tmp_path / "out.age")
    liar = MemoryToken({})
    liar.answer = lambda key, key_type, digest: b"a" * 32  # type: ignore[method-assign]
    with pytest.raises(KeyfoldError, match="disk") as refused:
        import_(
            DirectNode(Conversation(RecordingAgent(tmp_path / "b"), opener(liar))), PIN, bundle, skip_existing=False
        )
    assert refused.value.code == "refused"
    assert liar.store == {}


def test_a_key_that_may_not_be_used_is_imported_and_said_not_to_be_verified(keypair: Path, tmp_path: Path) -> None:
    token = MemoryToken(store(aes_key(b"disk", CKA_ENCRYPT=False)))
    node = DirectNode(Conversation(RecordingAgent(tmp_path / "a", key_extract=True), opener(token)))
    bundle = exported(node, keypair, tmp_path / "out.age")
    again = import_(
        DirectNode(Conversation(RecordingAgent(tmp_path / "b"), opener(MemoryToken({})))),
        PIN,
        bundle,
        skip_existing=False,
    )
    assert [row["verified"] for row in again["imported"]] == [False]


def test_an_import_cannot_bring_back_more_freedom_than_the_policy_gives(keypair: Path, tmp_path: Path) -> None:
    loose = aes_key(b"disk", CKA_SENSITIVE=False)
    node = DirectNode(Conversation(RecordingAgent(tmp_path / "a", key_extract=True), opener(MemoryToken(store(loose)))))
    bundle = exported(node, keypair, tmp_path / "out.age")
    token = MemoryToken({})
    import_(DirectNode(Conversation(RecordingAgent(tmp_path / "b"), opener(token))), PIN, bundle, skip_existing=False)
    (row,) = token.store.values()
    assert (row["CKA_EXTRACTABLE"], row["CKA_SENSITIVE"]) == (False, True)


def test_exports_and_imports_are_noted_before_they_happen(keypair: Path, tmp_path: Path) -> None:
    agent = RecordingAgent(tmp_path / "calls", key_extract=True)
    bundle = exported(DirectNode(Conversation(agent, opener(MemoryToken(store(DATA))))), keypair, tmp_path / "out.age")
    import_(DirectNode(Conversation(agent, opener(MemoryToken({})))), PIN, bundle, skip_existing=False)
    notes = [call for call in agent.calls if call["op"] == "subscriber_note"]
    assert [(note["what"], note["objects"]) for note in notes] == [("export", 1), ("import", 1)]
    assert PIN not in (tmp_path / "calls").read_text()


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"no json",
        b"[]",
        b'{"format":"keyfold-export/2","objects":[],"kek":null}',
        b'{"format":"keyfold-export/1","partition":"acme","created":"","objects":[{"class":"private"}],"kek":null}',
        b'{"format":"keyfold-export/1","partition":"a","created":"","objects":[],"kek":"AAAA"}',
        b'{"format":"keyfold-export/1","kek":null,"objects":[{"class":"data","attributes":{"CKA_TRUSTED":true}}]}',
    ],
)
def test_a_file_that_holds_something_else_is_refused(plain: bytes) -> None:
    with pytest.raises(KeyfoldError) as refused:
        decode(plain)
    assert refused.value.code == "refused"
