"""Signatures in memory, for tests of what stands on top: a text that says who signed what for which purpose."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from keyfold.approval.verify import NAMESPACE, SignatureVerifier, Verdict

_FIELDS = 4


def sign(key: str, message: bytes, namespace: str = NAMESPACE) -> str:
    """A signature with the key whose public line is `key`; MemoryVerifier alone believes it."""
    return f"memory|{key}|{namespace}|{hashlib.sha256(message).hexdigest()}"


class MemoryVerifier(SignatureVerifier):
    def verify(self, message: bytes, signature: str, officers: Mapping[str, str]) -> Verdict:
        fields = signature.split("|")
        if len(fields) != _FIELDS or fields[0] != "memory":
            return Verdict(reason="it is no SSH signature (ssh-keygen -Y sign makes one)")
        _, key, namespace, digest = fields
        officer = next((name for name, known in officers.items() if known == key), None)
        if officer is None:
            return Verdict(reason="its key is not one of the officers'")
        if namespace != NAMESPACE:
            return Verdict(reason=f"{officer} signed for another purpose: the namespace is not {NAMESPACE}")
        if digest != hashlib.sha256(message).hexdigest():
            return Verdict(reason=f"{officer} signed something else than this file")
        return Verdict(officer)
