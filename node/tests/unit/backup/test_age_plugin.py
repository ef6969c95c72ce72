"""The plugin's side of the protocol (https://c2sp.org/age-plugin), stanza by stanza."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.backup import age_ipc, bech32, recipient, stanza
from keyfold.backup.age_ipc import Stanza, b64decode, b64encode
from keyfold.backup.age_plugin import FOREIGN, serve
from keyfold.custody.keys import SystemKeys
from keyfold.custody.memory_keys import MemorySystemKeys
from keyfold.errors import KeyfoldError

KEYS = MemorySystemKeys(bytes(range(32)), "11111111-2222-4333-8444-555555555555")
POINT = KEYS.backup_public_key()
RECIPIENT = recipient.encode_recipient(POINT)
IDENTITY = recipient.encode_identity(recipient.tag(POINT))
FILE_KEY = bytes(range(16))
GREASE = Stanza("grease-x7", ("some", "words"), b"and a body" * 20)


def talk(machine: str, *commands: Stanza, keys: SystemKeys | KeyfoldError = KEYS) -> list[Stanza]:
    """What the plugin sends in phase 2; it is answered `ok` each time."""
    incoming, outgoing = io.BytesIO(), io.BytesIO()
    for command in (*commands, Stanza("done"), *[Stanza("ok")] * 10):
        age_ipc.write(incoming, command)
    incoming.seek(0)

    def open_keys() -> SystemKeys:
        if isinstance(keys, KeyfoldError):
            raise keys
        return keys

    assert serve([f"--age-plugin={machine}"], incoming, outgoing, open_keys) == 0
    outgoing.seek(0)
    return list(until_done(outgoing))


def until_done(stream: io.BytesIO) -> Iterator[Stanza]:
    while (received := age_ipc.read(stream)).type != "done":
        yield received
    assert stream.read() == b""


def no_keys() -> SystemKeys:
    raise AssertionError("the private key must not be touched")


def wrapped(point: bytes = POINT, file: str = "0") -> Stanza:
    made = stanza.wrap(FILE_KEY, point).as_stanza()
    return Stanza("recipient-stanza", (file, made.type, *made.arguments), made.body)


def stranger() -> bytes:
    return MemorySystemKeys(bytes(32), "11111111-2222-4333-8444-555555555555").backup_public_key()


def test_wrapping_sends_one_stanza_for_each_file_and_recipient_and_needs_no_key() -> None:
    commands = [
        Stanza("add-recipient", (RECIPIENT,)),
        GREASE,
        Stanza("wrap-file-key", (), FILE_KEY),
        Stanza("wrap-file-key", (), FILE_KEY),
    ]
    sent = talk("recipient-v1", *commands, keys=KeyfoldError("internal", "unused", not_done="", next_step=""))
    assert [one.arguments[:2] for one in sent] == [("0", "keyfold-p256"), ("1", "keyfold-p256")]
    assert sent[0].arguments[3] != sent[1].arguments[3], "every file has an ephemeral key of its own"
    received = [Stanza("recipient-stanza", one.arguments, one.body) for one in sent]
    opened = talk("identity-v1", Stanza("add-identity", (IDENTITY,)), *received)
    assert opened == [Stanza("file-key", ("0",), FILE_KEY), Stanza("file-key", ("1",), FILE_KEY)]


def test_a_wrong_recipient_is_an_error_and_nothing_is_wrapped() -> None:
    good, bad = Stanza("add-recipient", (RECIPIENT,)), Stanza("add-recipient", (RECIPIENT[:-1] + "q",))
    (sent,) = talk("recipient-v1", good, bad, Stanza("wrap-file-key", (), FILE_KEY))
    assert (sent.type, sent.arguments) == ("error", ("recipient", "1"))


def test_wrapping_to_an_identity_is_an_error() -> None:
    (sent,) = talk("recipient-v1", Stanza("add-identity", (IDENTITY,)), Stanza("wrap-file-key", (), FILE_KEY))
    assert (sent.type, sent.arguments) == ("error", ("identity", "0"))


def test_stanzas_of_others_are_ignored_and_grease_is_swallowed() -> None:
    other = Stanza("recipient-stanza", ("0", "X25519", "abc"), b"x" * 32)
    assert talk("identity-v1", GREASE, Stanza("add-identity", (IDENTITY,)), other, wrapped()) == [
        Stanza("file-key", ("0",), FILE_KEY)
    ]
    assert talk("identity-v1", Stanza("add-identity", (IDENTITY,)), other) == []


def test_a_file_has_one_file_key_however_many_stanzas_fit() -> None:
    assert len(talk("identity-v1", Stanza("add-identity", (IDENTITY,)), wrapped(), wrapped())) == 1


def test_another_clusters_file_is_called_that_without_touching_the_key() -> None:
    denied = KeyfoldError("internal", "the key was touched", not_done="", next_step="")
    sent = talk("identity-v1", Stanza("add-identity", (IDENTITY,)), wrapped(stranger()), keys=denied)
    assert sent == [Stanza("msg", (), FOREIGN.encode())]


def test_an_identity_of_another_cluster_does_not_help() -> None:
    foreign = Stanza("add-identity", (recipient.encode_identity(recipient.tag(stranger())),))
    assert talk("identity-v1", foreign, wrapped(stranger())) == [Stanza("msg", (), FOREIGN.encode())]


def test_a_malformed_identity_stops_everything() -> None:
    (sent,) = talk("identity-v1", Stanza("add-identity", ("AGE-PLUGIN-KEYFOLD-1QQQQQ",)), wrapped())
    assert (sent.type, sent.arguments) == ("error", ("identity", "0"))


def altered(change: dict[str, object]) -> Stanza:
    good = wrapped()
    arguments = list(good.arguments)
    for key, value in change.items():
        if key != "body":
            arguments[int(key)] = str(value)
    body = change.get("body", good.body)
    assert isinstance(body, bytes)
    return Stanza(good.type, tuple(argument for argument in arguments if argument), body)


@pytest.mark.parametrize(
    "change",
    [
        {"body": bytes(32)},
        {"body": b"short"},
        {"3": b64encode(bytes(33))},
        {"3": b64encode(b"\x02" + b"\xff" * 32)},
        {"3": "!!!"},
        {"2": b64encode(b"x")},
        {"3": ""},
    ],
)
def test_an_altered_stanza_is_an_error_about_that_stanza(change: dict[str, object]) -> None:
    other = Stanza("recipient-stanza", ("0", "X25519", "abc"), b"x" * 32)
    (sent,) = talk("identity-v1", Stanza("add-identity", (IDENTITY,)), other, altered(change))
    assert (sent.type, sent.arguments) == ("error", ("stanza", "0", "1"))
    assert b"altered" in sent.body


def test_a_key_that_cannot_be_opened_is_an_error_that_says_why() -> None:
    denied = KeyfoldError("denied", "the PIN is wrong", not_done="nothing", next_step="install it")
    (sent,) = talk("identity-v1", Stanza("add-identity", (IDENTITY,)), wrapped(), keys=denied)
    assert (sent.type, sent.arguments) == ("error", ("internal",))
    assert b"the PIN is wrong" in sent.body


@pytest.mark.parametrize("arguments", [[], ["--age-plugin=identity-v2"], ["--age-plugin=recipient-v1", "x"]])
def test_an_unknown_state_machine_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert serve(arguments, io.BytesIO(), io.BytesIO(), no_keys) == 2
    assert "age -d" in capsys.readouterr().err


@pytest.mark.parametrize(
    "garbage", [b"", b"hello\n", b"-> \n\n", b"->  a\n\n", b"-> a\n" + b"A" * 65 + b"\n", b"-> a\nA*==\n", b"-> a"]
)
def test_garbage_ends_the_plugin_with_a_status(garbage: bytes) -> None:
    assert serve(["--age-plugin=identity-v1"], io.BytesIO(garbage), io.BytesIO(), no_keys) == 1


@given(st.text("abc-", min_size=1), st.lists(st.text("xyz0", min_size=1)), st.binary(max_size=200))
def test_a_stanza_survives_the_pipe(kind: str, arguments: list[str], body: bytes) -> None:
    stream = io.BytesIO()
    age_ipc.write(stream, Stanza(kind, tuple(arguments), body))
    stream.seek(0)
    assert age_ipc.read(stream) == Stanza(kind, tuple(arguments), body)
    assert all(len(line) <= 64 for line in stream.getvalue().split(b"\n")[1:])


@given(st.binary(max_size=60))
def test_only_canonical_base64_is_read(data: bytes) -> None:
    assert b64decode(b64encode(data)) == data
    for wrong in (b64encode(data) + "=", b64encode(data) + "\n"):
        with pytest.raises(ValueError):
            b64decode(wrong)


@given(st.text("abcdefgh1", min_size=1, max_size=20), st.binary(max_size=80))
def test_bech32_reads_what_it_writes_and_notices_a_typo(prefix: str, data: bytes) -> None:
    text = bech32.encode(prefix, data)
    assert bech32.decode(text) == (prefix, data)
    assert bech32.decode(text.upper()) == (prefix, data)
    last = "q" if text[-1] != "q" else "p"
    with pytest.raises(ValueError):
        bech32.decode(text[:-1] + last)


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        # BIP 173's own examples, and a recipient of age's documentation.
        ("A12UEL5L", "a"),
        ("abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw", "abcdef"),
        ("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", "age"),
    ],
)
def test_bech32_is_everybody_elses(text: str, prefix: str) -> None:
    found, data = bech32.decode(text)
    assert found == prefix
    assert bech32.encode(prefix, data) == text.lower()


@pytest.mark.parametrize(
    "text", ["", "1", "pzry9x0s0muk", "1pzry9x0s0muk", "x1b4n0q5v", "li1dgmt3", "A1G7SGD8", "aBC1"]
)
def test_bech32_refuses_bip_173s_invalid_examples(text: str) -> None:
    with pytest.raises(ValueError):
        bech32.decode(text)


def test_recipient_and_identity_name_the_same_key() -> None:
    assert recipient.decode_recipient(RECIPIENT) == recipient.compressed(POINT)
    assert recipient.uncompressed(recipient.decode_recipient(RECIPIENT)) == POINT
    assert recipient.decode_identity(IDENTITY) == recipient.tag(recipient.compressed(POINT))
    for other in ("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", IDENTITY):
        with pytest.raises(ValueError):
            recipient.decode_recipient(other)
    with pytest.raises(ValueError):
        recipient.decode_identity(RECIPIENT)


def test_a_point_off_the_curve_is_no_recipient() -> None:
    with pytest.raises(ValueError):
        recipient.decode_recipient(bech32.encode("age1keyfold", b"\x02" + b"\xff" * 32))
