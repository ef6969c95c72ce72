"""Export and import on real SoftHSM: what the twin in support/memory_token.py stands for."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.subscriber_node import PIN, RecordingAgent, serving

from keyfold.errors import KeyfoldError
from keyfold.subscriber.client.bundle import Bundle, decode
from keyfold.subscriber.client.connection import Connection
from keyfold.subscriber.client.export import export
from keyfold.subscriber.client.import_ import import_
from keyfold.subscriber.client.seal import unseal
from keyfold.subscriber.node.token import Token

pytestmark = pytest.mark.container

SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
TOOL = ("pkcs11-tool", "--module", SOFTHSM, "--login", "--pin", PIN)

Reach = Callable[..., Connection]


@pytest.fixture
def tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens `acme` and `beta`."""
    (tmp_path / "tokens").mkdir()
    (tmp_path / "conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "conf"))
    for name in ("acme", "beta"):
        command = ["softhsm2-util", "--init-token", "--free", "--label", name, "--so-pin", "so-pin-12", "--pin", PIN]
        subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def reach(tokens: None, tmp_path: Path) -> Iterator[Reach]:
    with ExitStack() as stack:

        def to(partition: str, **policy: bool) -> Connection:
            number = len(list(tmp_path.iterdir()))
            agent = RecordingAgent(tmp_path / f"calls-{number}", **policy)
            path = tmp_path / f"{number}.sock"
            # A process of its own for each connection, as on a node: PKCS#11 is loaded there alone.
            stack.enter_context(serving(path, agent, lambda pin: Token(SOFTHSM, partition, pin)))
            return stack.enter_context(Connection(path))

        yield to


def tool(*arguments: str, token: str = "acme") -> str:
    command = [*TOOL, "--token-label", token, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def exported(node: Connection, tmp_path: Path, **selection: Any) -> Bundle:
    key = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    target = tmp_path / "export.age"
    now = datetime(2026, 11, 25, tzinfo=UTC)
    export(node, PIN, selection, skip_refused=False, recipients=[f"{key}.pub"], target=target, now=now)
    return decode(unseal(target, key))


def test_keys_certificates_and_data_leave_one_token_and_work_in_another(reach: Reach, tmp_path: Path) -> None:
    pair = ("--keypairgen", "--extractable", "--usage-sign")
    tool(*pair, "--key-type", "EC:prime256v1", "--label", "ec", "--id", "01")
    tool(*pair, "--key-type", "rsa:2048", "--label", "rsa", "--id", "02")
    tool(*pair, "--key-type", "EC:secp384r1", "--label", "p384", "--id", "03")
    tool("--keygen", "--extractable", "--key-type", "AES:32", "--label", "aes", "--id", "04")
    tool("--keygen", "--extractable", "--key-type", "GENERIC:32", "--usage-sign", "--label", "generic", "--id", "05")
    (tmp_path / "data").write_bytes(b"\0\xffnote")
    tool("--write-object", str(tmp_path / "data"), "--type", "data", "--label", "note", "--application-label", "app")

    bundle = exported(reach("acme", key_extract=True), tmp_path)
    again = import_(reach("beta", key_extract=True), PIN, bundle, skip_existing=False)

    assert len(again["imported"]) == 9
    assert [row for row in again["imported"] if not row["verified"]] == []
    message, signature = tmp_path / "message", tmp_path / "signature"
    message.write_bytes(b"m" * 32)
    # By ID: for these pkcs11-tool does not look at labels.
    for key, mechanism in (("01", "ECDSA"), ("02", "SHA256-RSA-PKCS"), ("03", "ECDSA")):
        files = ("--mechanism", mechanism, "--id", key, "--input-file", str(message))
        tool("--sign", *files, "--output-file", str(signature), token="beta")
        assert "valid" in tool("--verify", *files, "--signature-file", str(signature), token="acme").lower()
    tool("--read-object", "--type", "data", "--label", "note", "--output-file", str(tmp_path / "back"), token="beta")
    assert (tmp_path / "back").read_bytes() == b"\0\xffnote"


def test_a_second_import_finds_everything_there(reach: Reach, tmp_path: Path) -> None:
    tool("--keypairgen", "--extractable", "--key-type", "EC:prime256v1", "--label", "ec", "--id", "01")
    bundle = exported(reach("acme", key_extract=True), tmp_path)
    import_(reach("beta"), PIN, bundle, skip_existing=False)
    with pytest.raises(KeyfoldError) as there:
        import_(reach("beta"), PIN, bundle, skip_existing=False)
    assert there.value.code == "conflict"
    again = import_(reach("beta"), PIN, bundle, skip_existing=True)
    assert (again["changed"], len(again["existing"])) == (False, 2)


def test_a_key_that_was_not_made_extractable_stays(reach: Reach, tmp_path: Path) -> None:
    tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "fixed", "--id", "01")
    with pytest.raises(KeyfoldError, match="CKA_EXTRACTABLE") as refused:
        exported(reach("acme", key_extract=True), tmp_path)
    assert refused.value.code == "denied"


def test_an_altered_key_does_not_get_in_and_what_came_with_it_goes_again(reach: Reach, tmp_path: Path) -> None:
    tool("--keypairgen", "--extractable", "--key-type", "EC:prime256v1", "--label", "ec", "--id", "01")
    bundle = exported(reach("acme", key_extract=True), tmp_path)
    rows = [dict(row) for row in bundle.objects]
    private = next(row for row in rows if row["class"] == "private")
    private["wrapped"] = "AAAA" + private["wrapped"][4:]
    rows.sort(key=lambda row: row["class"] == "private")
    with pytest.raises(KeyfoldError):
        import_(reach("beta"), PIN, Bundle("acme", "", rows, bundle.kek), skip_existing=False)
    assert "ec" not in tool("--list-objects", token="beta")


def test_a_wrong_pin_is_refused_by_name(reach: Reach) -> None:
    with pytest.raises(KeyfoldError) as refused:
        import_(reach("acme"), "wrong-pin-1", Bundle("acme", "", []), skip_existing=False)
    assert refused.value.code == "denied"
    assert "CKR_PIN_INCORRECT" in refused.value.what
    assert "wrong-pin-1" not in str(refused.value)


def test_a_pin_opens_its_own_connection_alone(reach: Reach) -> None:
    first = reach("acme")
    first.ask("import_begin", pin=PIN, objects=[], keys=False)
    second = reach("acme")
    with pytest.raises(KeyfoldError) as refused:
        second.ask("import_object", object={"class": "data", "attributes": {}}, digest="")
    assert refused.value.code == "invalid"
