"""A reader of backup sets by somebody who had seen docs/formats.md and the specifications it names, and nothing else.

Kept as it came, but for what the page has said since. Where it and Keyfold disagree, one of them or the page is wrong.
"""

import base64
import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Check = Callable[[Any], bool]
Json = dict[str, Any]

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
CHUNK = 64 * 1024
JSON_LIMIT, FILE_LIMIT = 1 << 20, 16 << 20
ETCD_PREFIX = "/keyfold/v1/"
NOT_ARCHIVED = ("objects/", "nodes/", "logins/", "expiry/", "audit/linked/")
NOT_ARCHIVED_KEYS = ("head", "history_due", "audit/writer")


class Malformed(ValueError):
    """What was read is not what formats.md says."""


def _require(condition: object, problem: str) -> None:
    if not condition:
        raise Malformed(problem)


# --- Conventions: canonical JSON, base64, types ---


def _json(text: bytes) -> Any:
    """Read JSON as it is in etcd: there it need not be canonical."""
    try:
        return json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Malformed("no JSON") from error


def canonical_json(text: bytes) -> Any:
    """Read JSON and refuse what is not canonical ("Conventions")."""
    value = _json(text)
    try:
        again = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise Malformed("JSON is not canonical") from error
    _require(again.encode("ascii") == text, "JSON is not canonical")
    return value


def unbase64(text: str, padded: bool = True) -> bytes:
    """Read canonical base64 ("Conventions"; without padding in age and its stanza)."""
    try:
        data = base64.b64decode(text if padded else text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise Malformed("no base64") from error
    again = base64.b64encode(data).decode("ascii")
    _require((again if padded else again.rstrip("=")) == text, "base64 is not canonical")
    return data


def _matches(pattern: str) -> Check:
    return lambda value: type(value) is str and re.fullmatch(pattern, value, re.ASCII) is not None


def _is_int(least: int) -> Check:
    # type() and not isinstance(): JSON's true and false are no numbers.
    return lambda value: type(value) is int and value >= least


def _or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _is_str(value: Any) -> bool:
    return type(value) is str


def _list_of(checks: Mapping[str, Check]) -> Check:
    return lambda value: type(value) is list and all(_fits(item, checks) for item in value)


def _fits(value: Any, checks: Mapping[str, Check]) -> bool:
    """All keys, no others, each of its type."""
    return type(value) is dict and value.keys() == checks.keys() and all(checks[key](value[key]) for key in checks)


_HEX32 = _matches("[0-9a-f]{64}")
_HEX = _matches("(?:[0-9a-f]{2})*")
_TIME = _matches(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_META_TIME = _matches(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_SET_ID = _matches(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
_FILE = re.compile(r"token\.object|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.object")

_ENTRY: dict[str, Check] = {
    "archive": _is_str, "ciphertext_sha256": _HEX32, "name": _is_str,
    "objects": _is_int(0), "size_bytes": _is_int(0), "uuid": _is_str,
}  # fmt: skip
_MANIFEST_1: dict[str, Check] = {
    "format": _is_int(1), "cluster_uuid": _is_str, "backup_key_fingerprint": _is_str,
    "signing_key_fingerprint": _is_str, "set_id": _SET_ID, "sequence": _is_int(1),
    "previous_sha256": _matches("(?:[0-9a-f]{64})?"), "created": _TIME,
    "retention_class": _matches("daily|safety|medium"), "revision": _is_int(1), "node": _is_str,
    "partitions": _list_of(_ENTRY),
    "differences": _list_of({"file": _is_str, "kind": _matches("missing|changed|extra"), "partition": _is_str}),
}  # fmt: skip
_MANIFEST_2: dict[str, Check] = _MANIFEST_1 | {
    "backup_epoch": _is_int(1), "root_fingerprint": _matches("(?:[0-9a-f]{64})?"), "share_identifier": _is_int(-1),
    "share_threshold": _is_int(0), "cluster": _list_of(_ENTRY),
}  # fmt: skip
_LABEL: dict[str, Check] = {
    "cluster_uuid": _is_str, "format": _is_int(1), "partition": _is_str, "partition_uuid": _is_str, "set_id": _SET_ID,
}  # fmt: skip
_CLUSTER_LABEL: dict[str, Check] = {
    "cluster_uuid": _is_str, "format": _is_int(1), "revision": _is_int(1), "set_id": _SET_ID,
}  # fmt: skip
_ROW: dict[str, Check] = {
    "name": _is_str, "uuid": _is_str, "token_uuid": _is_str, "package": _is_str,
    "policy": lambda value: type(value) is dict, "backup": lambda value: type(value) is bool, "created": _TIME,
}  # fmt: skip
_META: dict[str, Check] = {
    "class": _or_null(_is_int(0)), "key_type": _or_null(_is_int(0)), "label": _or_null(_HEX), "id": _or_null(_HEX),
    "created": _META_TIME,
}  # fmt: skip


# --- Derivation from the root ---


def _hkdf(ikm: bytes, salt: bytes, info: bytes, length: int = 32) -> bytes:
    """HKDF-SHA256 (RFC 5869)."""
    return HKDF(hashes.SHA256(), length, salt, info).derive(ikm)


@dataclass(frozen=True)
class Keys:
    """A cluster's keys ("Derivation from the root"); `epoch` is the backup epoch."""

    root: bytes = field(repr=False)
    cluster_uuid: str
    epoch: int = 1

    def _derive(self, info: str, length: int) -> bytes:
        return _hkdf(self.root, uuid.UUID(self.cluster_uuid).bytes, f"keyfold/v1/{info}".encode("ascii"), length)

    @cached_property
    def backup_key(self) -> ec.EllipticCurvePrivateKey:
        okm = self._derive(f"backup/{self.epoch}", 48)
        return ec.derive_private_key(int.from_bytes(okm) % (P256_ORDER - 1) + 1, ec.SECP256R1())

    @cached_property
    def backup_point(self) -> bytes:
        """P of "Recipient, identity and stanza"."""
        return _compressed(self.backup_key.public_key())

    @property
    def tag(self) -> bytes:
        return hashlib.sha256(self.backup_point).digest()[:16]

    @cached_property
    def manifest_key(self) -> ed25519.Ed25519PublicKey:
        seed = self._derive(f"manifest/{self.epoch}", 32)
        return ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key()

    @property
    def root_fingerprint(self) -> str:
        return self._derive("root-fingerprint", 32).hex()

    def data_prk(self, epoch: int = 1) -> bytes:
        return self._derive(f"data/{epoch}", 32)

    def data_key(self, epoch: int = 1) -> bytes:
        """The data key of an epoch ("Sealed object in etcd")."""
        mac = hmac.HMAC(self.data_prk(epoch), hashes.SHA256())
        mac.update(f"keyfold/v1/data-key/{epoch}".encode("ascii") + b"\x01")
        return mac.finalize()


def _compressed(key: ec.EllipticCurvePublicKey) -> bytes:
    """SEC 1 §2.3.3, 33 bytes."""
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)


# --- Manifest ---


def read_manifest(document: bytes, keys: Keys) -> Json:
    """Verify a manifest and give its first line ("Manifest, format 2"). Its place and its chain are the caller's."""
    lines = document.split(b"\n")
    _require(len(lines) == 3 and lines[2] == b"", "a manifest has two lines, each ended by one LF")
    manifest, seal = canonical_json(lines[0]), canonical_json(lines[1])
    _require(_fits(seal, {"ed25519": _is_str, "key": _is_str}), "the second line is no signature")
    _verify_seal(lines[0], unbase64(seal["ed25519"]), keys)
    _check_manifest(manifest, keys)
    _require(seal["key"] == manifest["signing_key_fingerprint"], "signed by another key than the manifest names")
    return dict(manifest)


def _verify_seal(line: bytes, signature: bytes, keys: Keys) -> None:
    """Ed25519 over the domain, a NUL and line 1 ("Manifest, format 2")."""
    try:
        keys.manifest_key.verify(signature, b"keyfold backup manifest v1\x00" + line)
    except InvalidSignature as error:
        raise Malformed("the manifest's signature is not valid") from error


def _check_manifest(manifest: Any, keys: Keys) -> None:
    """Keys, types and what the table of "Manifest, format 2" (and "Offline medium") ties together."""
    _require(type(manifest) is dict and type(manifest.get("format")) is int, "no manifest")
    _require(manifest["format"] in (1, 2), "unknown format")
    _require(_fits(manifest, _MANIFEST_1 if manifest["format"] == 1 else _MANIFEST_2), "keys or types are wrong")
    _require(manifest["cluster_uuid"] == keys.cluster_uuid, "of another cluster")
    _require((manifest["sequence"] == 1) == (manifest["previous_sha256"] == ""), "only the first set has none before")
    for entry in manifest["partitions"]:
        _check_archive_name(entry)
    if manifest["format"] == 2:
        _check_format_2(manifest, keys)


def _check_format_2(manifest: Json, keys: Keys) -> None:
    """The five keys that format 1 has not ("Manifest, format 2", "Offline medium")."""
    _require(manifest["backup_epoch"] == keys.epoch, "of another backup epoch")
    ceremony = manifest["root_fingerprint"] != ""
    _require(ceremony == (manifest["share_identifier"] >= 0) == (manifest["share_threshold"] > 0), "half a ceremony")
    _require(not ceremony or manifest["root_fingerprint"] == keys.root_fingerprint, "of another root")
    if manifest["retention_class"] == "medium":
        _require(not manifest["cluster"] and manifest["sequence"] == 1, "not a medium's set")
        return
    _require(len(manifest["cluster"]) == 1, "exactly one archive of the cluster")
    entry = manifest["cluster"][0]
    _check_archive_name(entry)
    _require((entry["name"], entry["uuid"]) == ("_cluster", keys.cluster_uuid), "not the cluster's archive")


def _check_archive_name(entry: Mapping[str, Any]) -> None:
    """`<partition>-<16 hex digits>.age` ("Backup set")."""
    name = re.escape(entry["name"])
    _require(re.fullmatch(rf"{name}-[0-9a-f]{{16}}\.age", entry["archive"]), "an archive's name does not fit")


def verify_archive(ciphertext: bytes, entry: Mapping[str, Any]) -> None:
    """Length and hash, without any key ("Manifest, format 2")."""
    _require(len(ciphertext) == entry["size_bytes"], "the archive has another length")
    _require(hashlib.sha256(ciphertext).hexdigest() == entry["ciphertext_sha256"], "the archive has another hash")


# --- age v1, and "Recipient, identity and stanza of age-plugin-keyfold" ---


def decrypt(ciphertext: bytes, keys: Keys) -> bytes:
    """Open an age v1 file that is encrypted to the cluster's backup key."""
    stanzas, mac, header, payload = _parse_age(ciphertext)
    file_key = _file_key(stanzas, keys)
    check = hmac.HMAC(_hkdf(file_key, b"", b"header"), hashes.SHA256())
    check.update(header)
    try:
        check.verify(mac)
        return _open_payload(payload, file_key)
    except (InvalidSignature, InvalidTag) as error:
        raise Malformed("the age file was changed") from error


def _parse_age(data: bytes) -> tuple[list[tuple[list[str], bytes]], bytes, bytes, bytes]:
    """Stanzas, MAC, the bytes under the MAC, and the payload (age v1, "Header")."""
    line, position = _age_line(data, 0)
    _require(line == "age-encryption.org/v1", "no age v1 file")
    stanzas: list[tuple[list[str], bytes]] = []
    start = position
    line, position = _age_line(data, position)
    while line.startswith("-> "):
        arguments, body = line[3:].split(" "), ""
        _require(all(re.fullmatch("[!-~]+", argument) for argument in arguments), "malformed stanza")
        full = True
        while full:
            part, position = _age_line(data, position)
            _require(len(part) <= 64, "a stanza's line is too long")
            body, full = body + part, len(part) == 64
        stanzas.append((arguments, unbase64(body, padded=False)))
        start = position
        line, position = _age_line(data, position)
    mac = unbase64(line[4:], padded=False)
    _require(line.startswith("--- ") and len(mac) == 32 and stanzas, "malformed age header")
    return stanzas, mac, data[:start] + b"---", data[position:]


def _age_line(data: bytes, position: int) -> tuple[str, int]:
    """A line of the header and where the next one begins (age v1, "Header")."""
    end = data.find(b"\n", position)
    _require(end >= 0 and data[position:end].isascii(), "malformed age header")
    return data[position:end].decode("ascii"), end + 1


def _file_key(stanzas: list[tuple[list[str], bytes]], keys: Keys) -> bytes:
    """The file key, from the first stanza with the cluster's tag ("Recipient, identity and stanza")."""
    for arguments, body in stanzas:
        if arguments[0] != "keyfold-p256":
            continue
        _require(len(arguments) == 3 and len(body) == 32, "malformed stanza")
        tag, share = (unbase64(argument, padded=False) for argument in arguments[1:])
        _require(len(tag) == 16 and len(share) == 33, "malformed stanza")
        if tag == keys.tag:
            return _unwrap(share, body, keys)
    raise Malformed("this is a backup of another cluster")


def _unwrap(share: bytes, body: bytes, keys: Keys) -> bytes:
    """ECDH, HKDF and ChaCha20-Poly1305 of one stanza ("Recipient, identity and stanza")."""
    try:
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), share)
        shared = keys.backup_key.exchange(ec.ECDH(), point)
        wrap_key = _hkdf(shared, share + keys.backup_point, b"keyfold/v1/age/p256")
        return ChaCha20Poly1305(wrap_key).decrypt(bytes(12), body, None)
    except (ValueError, InvalidTag) as error:
        raise Malformed("the cluster's stanza does not open") from error


def _open_payload(payload: bytes, file_key: bytes) -> bytes:
    """STREAM (age v1, "Payload"): the counter has 11 bytes, the last chunk is marked."""
    nonce, sealed = payload[:16], payload[16:]
    _require(len(nonce) == 16 and sealed, "the payload is cut off")
    cipher = ChaCha20Poly1305(_hkdf(file_key, nonce, b"payload"))
    starts = range(0, len(sealed), CHUNK + 16)
    chunks: list[bytes] = []
    for counter, start in enumerate(starts):
        last = counter == len(starts) - 1
        part = sealed[start : start + CHUNK + 16]
        _require(len(part) >= 16, "the payload is cut off")
        chunks.append(cipher.decrypt(counter.to_bytes(11) + bytes([last]), part, None))
    _require(chunks[-1] or len(chunks) == 1, "an empty chunk at the end")
    return b"".join(chunks)


# --- The two archives ---


def _tar_header(name: bytes, size: int) -> bytes:
    """The one header that an entry may have ("Headers and end of both archives")."""
    before = name.ljust(100, b"\0") + b"0000600\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"00000000000\0"
    after = (b"0" + bytes(100) + b"ustar\x0000").ljust(356, b"\0")
    # The checksum is taken with blanks in its own place.
    return before + b"%06o\0 " % (sum(before) + sum(after) + 8 * ord(" ")) + after


def _tar_entries(plain: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents, up to an end of exactly 1024 NULs ("Headers and end of both archives")."""
    position = 0
    while len(plain) - position != 1024 or any(plain[position:]):
        header = plain[position : position + 512]
        name, digits = header[:100].rstrip(b"\0"), header[124:135]
        _require(name.isascii() and name and re.fullmatch(b"[0-7]{11}", digits), "malformed tar header")
        size = int(digits, 8)
        _require(header == _tar_header(name, size), "another tar header than the format's")
        _require(size <= (JSON_LIMIT if name.endswith(b".json") else FILE_LIMIT), "an entry is too large")
        content, filling = plain[position + 512 : position + 512 + size], -size % 512
        position += 512 + size + filling
        _require(position <= len(plain), "the stream is cut off")
        _require(plain[position - filling : position] == bytes(filling), "filled with something")
        yield name.decode("ascii"), content


def read_archive(plain: bytes) -> tuple[Json, Json, dict[str, tuple[Json, bytes]]]:
    """Label, partition's row, and metadata and object file by file name ("Archive, format 1")."""
    entries = list(_tar_entries(plain))
    names = [name for name, _ in entries]
    _require(names[:2] == ["keyfold.json", "partition.json"] and len(names) % 2 == 0, "wrong entries or order")
    label, row = canonical_json(entries[0][1]), canonical_json(entries[1][1])
    _require(_fits(label, _LABEL) and label["format"] == 1, "malformed keyfold.json")
    _require(_fits(row, _ROW), "malformed partition.json")
    _require((row["name"], row["uuid"]) == (label["partition"], label["partition_uuid"]), "row of another partition")
    files: dict[str, tuple[Json, bytes]] = {}
    last = ""
    for (name, text), (object_name, data) in zip(entries[2::2], entries[3::2], strict=True):
        file = object_name.removeprefix("objects/")
        _require(_FILE.fullmatch(file) and file > last, "wrong entries or order")
        _require((name, object_name) == (f"meta/{file}.json", f"objects/{file}"), "wrong entries or order")
        meta = canonical_json(text)
        _require(_fits(meta, _META), f"malformed {name}")
        files[file], last = (meta, data), file
    return label, row, files


def read_cluster_archive(plain: bytes) -> tuple[Json, dict[str, bytes]]:
    """Label, and values by key in etcd ("The cluster's own archive, format 1")."""
    entries = list(_tar_entries(plain))
    _require(entries and entries[0][0] == "keyfold.json", "wrong entries or order")
    label = canonical_json(entries[0][1])
    _require(_fits(label, _CLUSTER_LABEL) and label["format"] == 1, "malformed keyfold.json")
    values: dict[str, bytes] = {}
    last = b""
    for number, (name, content) in enumerate(entries[1:], 1):
        _require(name == f"entries/{number:08d}", "wrong entries or order")
        key, value = _split_entry(content)
        _require(key > last, "keys do not ascend")
        values[_etcd_key(key)], last = value, key
    return label, values


def _split_entry(content: bytes) -> tuple[bytes, bytes]:
    """Key and value of an entry ("The cluster's own archive, format 1")."""
    _require(len(content) >= 2, "an entry is cut off")
    end = 2 + int.from_bytes(content[:2])
    _require(end <= len(content), "an entry is cut off")
    return content[2:end], content[end:]


def _etcd_key(key: bytes) -> str:
    """A key that the cluster's archive may have ("The cluster's own archive, format 1")."""
    try:
        text = key.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("a key is no UTF-8") from error
    below = text.removeprefix(ETCD_PREFIX)
    _require(text.startswith(ETCD_PREFIX) and below, "a key of something else")
    _require(below not in NOT_ARCHIVED_KEYS and not below.startswith(NOT_ARCHIVED), "a key that is not archived")
    return text


def compare_label(label: Mapping[str, Any], manifest: Mapping[str, Any], entry: Mapping[str, Any]) -> None:
    """An archive's own place is the manifest's ("Archive", "The cluster's own archive")."""
    place = {"cluster_uuid": manifest["cluster_uuid"], "format": 1, "set_id": manifest["set_id"]}
    if entry["name"] == "_cluster":
        place |= {"revision": manifest["revision"]}
    else:
        place |= {"partition": entry["name"], "partition_uuid": entry["uuid"]}
    _require(label == place, "the archive belongs elsewhere")


# --- Sealed object in etcd ---


def sealed_epoch(value: bytes) -> int:
    """The epoch of the data key that a value is sealed with."""
    _require(value[:3] == b"KF1" and len(value) >= 4 and value[3], "no sealed object")
    return value[3]


def open_sealed(key: str, value: bytes, data_key: bytes) -> tuple[Json, bytes]:
    """Metadata and object file ("Sealed object in etcd"); the system partition's are KF0, and no others."""
    if key.startswith(f"{ETCD_PREFIX}objects/system/"):
        _require(value[:3] == b"KF0", "no object of the system partition")
        return _split_object(key, value[3:])
    sealed_epoch(value)
    _require(len(value) >= 32, "the value is cut off")
    try:
        plain = AESGCM(data_key).decrypt(value[4:16], value[16:], key.encode("utf-8"))
    except InvalidTag as error:
        raise Malformed("the sealed object does not open") from error
    return _split_object(key, plain)


def _split_object(key: str, plain: bytes) -> tuple[Json, bytes]:
    """Length of metadata, metadata, object file ("Sealed object in etcd")."""
    _require(len(plain) >= 4, "the plaintext is cut off")
    end = 4 + int.from_bytes(plain[:4])
    _require(end <= len(plain), "the plaintext is cut off")
    meta = _json(plain[4:end])
    checks = _META | ({"invalidated_at": _META_TIME} if key.startswith(ETCD_PREFIX + "invalidated/") else {})
    _require(_fits(meta, checks), "malformed metadata")
    return dict(meta), plain[end:]
