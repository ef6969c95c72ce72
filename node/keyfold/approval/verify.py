"""Who signed a request: the interface to ssh-keygen, and M-of-N over its verdicts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NAMESPACE = "keyfold-approval"
"""In every signature (OpenSSH's PROTOCOL.sshsig): one made for a git commit or a file does not approve anything."""

MAX_SIGNATURES = 64
MAX_SIGNATURE_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Verdict:
    """`officer` signed exactly the message; or it is empty, and `reason` says why the signature does not count."""

    officer: str = ""
    reason: str = ""


class SignatureVerifier(ABC):
    """Implementations: `ssh_keygen.SshKeygen`, and `memory.MemoryVerifier` for tests; one contract suite for both."""

    @abstractmethod
    def verify(self, message: bytes, signature: str, officers: Mapping[str, str]) -> Verdict:
        """Whose of `officers` (name → public key) the armored signature over exactly `message` is, for NAMESPACE.

        Never raises for anything that a signature can be.
        """


@dataclass(frozen=True, slots=True)
class Tally:
    """`officers`: who signed validly, each once, by name; `rejected`: a sentence per signature that does not count."""

    officers: tuple[str, ...]
    rejected: tuple[str, ...]


def tally(verifier: SignatureVerifier, message: bytes, signatures: Sequence[str], officers: Mapping[str, str]) -> Tally:
    """Look at every signature; a second one of the same officer does not count."""
    signed: list[str] = []
    rejected = []
    for number, signature in enumerate(signatures[:MAX_SIGNATURES], start=1):
        verdict = verifier.verify(message, signature, officers)
        if not verdict.officer:
            rejected.append(f"signature {number}: {verdict.reason}")
        elif verdict.officer in signed:
            rejected.append(f"signature {number}: {verdict.officer} has signed already")
        else:
            signed.append(verdict.officer)
    if len(signatures) > MAX_SIGNATURES:
        rejected.append(f"signatures {MAX_SIGNATURES + 1} to {len(signatures)}: not looked at")
    return Tally(tuple(sorted(signed)), tuple(rejected))
