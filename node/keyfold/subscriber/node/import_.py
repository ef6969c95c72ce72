"""Bring exported objects back: all of a bundle or nothing, as far as the token lets."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keyfold.errors import KeyfoldError
from keyfold.subscriber.attributes import CLASSES, KEY_TYPES, TEMPLATE, TYPES, Value, from_json, to_json

if TYPE_CHECKING:
    # It loads PKCS#11, which not every request needs.
    from keyfold.subscriber.node.token import Handle, Token

_SECRET_KINDS = ("private", "secret")
_NOTHING = "nothing was imported"
_CKA_CLASS, _CKA_TOKEN = 0x0, 0x1
_DIGEST_BYTES = 32


class Import:
    """One conversation: `begin`, `key`, then `add` per object; `discard` takes back what was added."""

    def __init__(self, token: Token, policy: Mapping[str, Any]) -> None:
        for switch, allowed in (("key_import", True), ("read_only", False)):
            if policy.get(switch) is not allowed:
                raise _forbidden(f"the partition's policy has {switch} {'false' if allowed else 'true'}")
        self._token = token
        self._policy = policy
        self._transport: Handle = None
        self._kek: Handle = None
        self._added: list[Handle] = []

    def existing(self, rows: object) -> list[int]:
        """Which of `[{"class", "label", "id"}]` (base64) are there already, by number."""
        if not isinstance(rows, list):
            raise _invalid("the list of objects is missing")
        found = []
        for number, row in enumerate(rows):
            names = from_json_names(row)
            if names and self._token.find(CLASSES[str(row["class"])], **names):
                found.append(number)
        return found

    def begin(self) -> dict[str, Any]:
        """The RSA key to which the bundle's key-encryption key is to be sealed."""
        for switch in ("session_objects", "use_objects"):
            if self._policy.get(switch) is not True:
                raise _forbidden(f"the partition's policy has {switch} false: keys cannot be unwrapped")
        self._transport, modulus, exponent = self._token.transport_key()
        return {"modulus": base64.b64encode(modulus).decode(), "exponent": base64.b64encode(exponent).decode()}

    def key(self, wrapped: object) -> None:
        if self._transport is None:
            raise _invalid("there is no key to unwrap it with yet")
        self._kek = self._token.unwrap_kek(self._transport, _bytes(wrapped))

    def add(self, row: object, digest: object) -> dict[str, Any]:
        """Of a key `{"answer"}` to the challenge `digest`, null if it may not, and `{"seen"}`: its public numbers."""
        if not isinstance(row, dict):
            raise _invalid("an object is missing")
        kind = str(row.get("class"))
        try:
            attributes = self._allowed(kind, from_json(kind, row.get("attributes")))
        except ValueError as error:
            raise _invalid(str(error)) from None
        if kind in KEY_TYPES and attributes.get("CKA_KEY_TYPE") not in KEY_TYPES[kind]:
            raise _invalid(f"CKA_KEY_TYPE {attributes.get('CKA_KEY_TYPE')!r} is not one that is imported")
        template: dict[int, Any] = {_CKA_CLASS: CLASSES[kind], _CKA_TOKEN: True}
        template |= {
            TYPES[name]: tuple(value)
            if isinstance(value, bytes) and name not in ("CKA_LABEL", "CKA_APPLICATION")
            else value
            for name, value in attributes.items()
            # An empty byte string is how a token says that there is none.
            if name in TEMPLATE[kind] and value != b""
        }
        try:
            return self._made(kind, row, template, attributes, _bytes(digest))
        except UnicodeDecodeError:
            raise _invalid("a label is not UTF-8") from None

    def discard(self) -> int:
        """Destroy what this conversation added."""
        count = len(self._added)
        while self._added:
            self._token.destroy(self._added.pop())
        return count

    def _made(
        self,
        kind: str,
        row: Mapping[str, Any],
        template: Mapping[int, Any],
        attributes: Mapping[str, Value],
        digest: bytes,
    ) -> dict[str, Any]:
        if kind not in _SECRET_KINDS:
            self._added.append(self._token.create(template))
            return {}
        if self._kek is None:
            raise _invalid("the key that unwraps it is missing")
        handle = self._token.unwrap(self._kek, _bytes(row.get("wrapped")), template)
        self._added.append(handle)
        if len(digest) != _DIGEST_BYTES:
            raise _invalid(f"the challenge has not {_DIGEST_BYTES} bytes")
        key_type = attributes["CKA_KEY_TYPE"]
        prove = self._token.sign if kind == "private" else self._token.answer
        answer = prove(handle, int(key_type), digest) if isinstance(key_type, int) else None
        seen = self._token.read(handle, ("CKA_MODULUS", "CKA_PUBLIC_EXPONENT") if kind == "private" else ())
        return {"answer": None if answer is None else base64.b64encode(answer).decode(), "seen": to_json(seen)}

    def _allowed(self, kind: str, attributes: dict[str, Value]) -> dict[str, Value]:
        """A bundle cannot bring back more freedom than the policy gives new keys."""
        if kind in _SECRET_KINDS:
            if self._policy.get("key_extract") is not True:
                attributes["CKA_EXTRACTABLE"] = False
            if self._policy.get("key_export") is not True:
                attributes["CKA_SENSITIVE"] = True
        return attributes


def from_json_names(row: object) -> dict[str, bytes]:
    """`label` and `id` of a row, those that are not empty; KeyfoldError `invalid`."""
    if not isinstance(row, dict) or str(row.get("class")) not in TEMPLATE:
        raise _invalid("a row of the list is no object of a class that can be imported")
    names = {key: _bytes(row.get(key, "")) for key in ("label", "id")}
    try:
        names["label"].decode()
    except UnicodeDecodeError:
        raise _invalid("a label is not UTF-8") from None
    return {key: value for key, value in names.items() if value}


def _bytes(text: object) -> bytes:
    try:
        if isinstance(text, str):
            return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise _invalid("a byte string is not base64")


def _forbidden(what: str) -> KeyfoldError:
    return KeyfoldError(
        "denied", what, not_done=_NOTHING, next_step="keyfold-subscriber policy; the operator can have it changed"
    )


def _invalid(what: str) -> KeyfoldError:
    return KeyfoldError("invalid", what, not_done=_NOTHING, next_step="see docs/formats.md, export bundle")
