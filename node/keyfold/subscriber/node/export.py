"""Which objects may leave, and how they do: decided first and whole, then carried out."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keyfold.errors import KeyfoldError
from keyfold.subscriber.attributes import CKK_EC, CLASS_NAMES, KEY_TYPES, PROOF, TEMPLATE, Value, to_json

if TYPE_CHECKING:
    # It loads PKCS#11, which not every request needs.
    from keyfold.subscriber.node.token import Handle, Token

_SECRET_KINDS = ("private", "secret")
_FACTS = ("CKA_LABEL", "CKA_ID", "CKA_KEY_TYPE", "CKA_EXTRACTABLE", "CKA_WRAP_WITH_TRUSTED")


@dataclass(frozen=True, slots=True)
class Candidate:
    """`kind`: a name of attributes.CLASSES, or None for a class that is not exported."""

    kind: str | None
    facts: Mapping[str, Value]

    def name(self) -> str:
        label = self.facts.get("CKA_LABEL") or self.facts.get("CKA_ID") or b""
        text = label.decode("utf-8", "replace") if isinstance(label, bytes) else ""
        return f"{self.kind or 'unknown'} {text!r}"


@dataclass(frozen=True, slots=True)
class Selection:
    """Any label and any ID fit if none are named; likewise classes."""

    labels: frozenset[bytes]
    ids: frozenset[bytes]
    kinds: frozenset[str]

    @classmethod
    def of(cls, raw: object) -> Selection:
        """`{"labels": [text], "ids": [hex], "classes": [name]}`; KeyfoldError `invalid`."""
        fields = raw if isinstance(raw, dict) else {"classes": [None]}
        try:
            labels, ids, kinds = (list(fields.get(key, ())) for key in ("labels", "ids", "classes"))
            chosen = cls(
                frozenset(str(label).encode() for label in labels),
                frozenset(bytes.fromhex(value) for value in ids),
                frozenset(kinds),
            )
        except (TypeError, ValueError):
            chosen = cls(frozenset(), frozenset(), frozenset({""}))
        if not chosen.kinds <= set(TEMPLATE):
            raise KeyfoldError(
                "invalid",
                "the selection is not labels, IDs in hex and classes",
                not_done="nothing was exported",
                next_step=f"classes are: {', '.join(TEMPLATE)}",
            )
        return chosen

    def fits(self, candidate: Candidate) -> bool:
        if self.kinds and candidate.kind not in self.kinds:
            return False
        if not (self.labels or self.ids):
            return True
        return candidate.facts.get("CKA_LABEL") in self.labels or candidate.facts.get("CKA_ID") in self.ids


def refusal(candidate: Candidate, policy: Mapping[str, Any]) -> str | None:
    """Why the object may not leave: the policy or the attribute that forbids it; None if it may."""
    if candidate.kind is None:
        return "objects of this class are not exported"
    label = candidate.facts.get("CKA_LABEL", b"")
    if isinstance(label, bytes) and not _is_text(label):
        return "CKA_LABEL is not UTF-8"
    if candidate.kind in KEY_TYPES and candidate.facts.get("CKA_KEY_TYPE") not in KEY_TYPES[candidate.kind]:
        return f"CKA_KEY_TYPE {candidate.facts.get('CKA_KEY_TYPE')!r} is not one that is exported"
    if candidate.kind not in _SECRET_KINDS:
        return None
    # The key-encryption key is a session object, and wrapping uses it.
    for key in ("key_extract", "session_objects", "use_objects"):
        if policy.get(key) is not True:
            return f"the partition's policy has {key} false"
    if candidate.facts.get("CKA_EXTRACTABLE") is not True:
        return "the key was not created extractable (CKA_EXTRACTABLE is false)"
    if candidate.facts.get("CKA_WRAP_WITH_TRUSTED") is True:
        return "the key leaves only under a trusted key (CKA_WRAP_WITH_TRUSTED is true)"
    return None


class Export:
    def __init__(self, token: Token, policy: Mapping[str, Any]) -> None:
        self._token = token
        self._policy = policy

    def plan(
        self, selection: Selection, *, skip_refused: bool
    ) -> tuple[list[tuple[Handle, str]], list[dict[str, str]]]:
        """Objects and their classes, and those left out with the reason.

        KeyfoldError `denied` names every object that may not leave, unless they are to be skipped; `not_found` if there
        is nothing else.
        """
        chosen: list[tuple[Handle, str]] = []
        refused = []
        for handle in self._token.objects():
            kind = CLASS_NAMES.get(self._token.kind(handle))
            candidate = Candidate(kind, self._token.read(handle, _FACTS))
            if not selection.fits(candidate):
                continue
            reason = refusal(candidate, self._policy)
            if reason is None and kind is not None:
                chosen.append((handle, kind))
            else:
                refused.append({"object": candidate.name(), "reason": str(reason)})
        if refused and not skip_refused:
            raise KeyfoldError(
                "denied",
                "may not leave the partition: " + "; ".join(f"{row['object']}: {row['reason']}" for row in refused),
                not_done="nothing was exported",
                next_step="export the others with --skip-refused, or choose with --label, --id or --class",
            )
        if not chosen:
            raise KeyfoldError(
                "not_found",
                "there is no object to export" + (f" ({len(refused)} may not leave)" if refused else ""),
                not_done="nothing was exported",
                next_step="keyfold-subscriber objects",
            )
        return chosen, refused

    def run(self, chosen: Sequence[tuple[Handle, str]], modulus: bytes, exponent: bytes) -> Iterator[dict[str, Any]]:
        """First `{"kek"}` (null if no key needs one), then an `{"object"}` each."""
        kek: Handle = None
        if any(kind in _SECRET_KINDS for _, kind in chosen):
            kek, wrapped = self._token.wrapping_key(modulus, exponent)
            yield {"kek": base64.b64encode(wrapped).decode()}
        else:
            yield {"kek": None}
        for handle, kind in chosen:
            attributes = self._token.read(handle, TEMPLATE[kind])
            row: dict[str, Any] = {"class": kind, "attributes": to_json(attributes)}
            if kind in _SECRET_KINDS:
                row["wrapped"] = base64.b64encode(self._token.wrap(kek, handle)).decode()
                row["proof"] = to_json(self._proof(handle, kind, attributes))
            yield {"object": row}

    def _proof(self, handle: Handle, kind: str, attributes: Mapping[str, Value]) -> dict[str, Value]:
        """What an import can be checked with; an elliptic curve's point is in the public half alone."""
        proof = self._token.read(handle, PROOF.get(kind, ()))
        identifier = attributes.get("CKA_ID")
        if kind == "private" and attributes.get("CKA_KEY_TYPE") == CKK_EC and isinstance(identifier, bytes):
            for half in self._token.find(2, id=identifier):
                proof |= self._token.read(half, ("CKA_EC_PARAMS", "CKA_EC_POINT"))
        return proof


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
