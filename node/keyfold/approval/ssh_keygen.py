"""Signatures verified by OpenSSH's own `ssh-keygen -Y`; what it knows (sk- keys too) is what officers can use."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from keyfold.approval.verify import MAX_SIGNATURE_BYTES, NAMESPACE, SignatureVerifier, Verdict
from keyfold.errors import KeyfoldError

_TIMEOUT_SECONDS = 20
_ARMOR = "-----BEGIN SSH SIGNATURE-----"


class SshKeygen(SignatureVerifier):
    def __init__(self, program: str = "ssh-keygen") -> None:
        self._program = program

    def verify(self, message: bytes, signature: str, officers: Mapping[str, str]) -> Verdict:
        if len(signature) > MAX_SIGNATURE_BYTES or not signature.lstrip().startswith(_ARMOR):
            return Verdict(reason="it is no SSH signature (ssh-keygen -Y sign makes one)")
        with tempfile.TemporaryDirectory(prefix="keyfold-approval-") as name:
            allowed, armored = Path(name, "allowed_signers"), Path(name, "signature")
            allowed.write_text("".join(f"{officer} {key}\n" for officer, key in officers.items()), encoding="ascii")
            armored.write_text(signature.lstrip(), encoding="utf-8", errors="replace")
            files = ("-s", str(armored), "-f", str(allowed))
            found = self._run(("-Y", "find-principals", *files), b"")
            if found.returncode != 0:
                return Verdict(reason=_not_found(found.stderr))
            officer = found.stdout.decode().splitlines()[0]
            checked = self._run(("-Y", "verify", "-n", NAMESPACE, "-I", officer, *files), message)
            return Verdict(officer) if checked.returncode == 0 else Verdict(reason=_not_valid(officer, checked.stderr))

    def _run(self, arguments: tuple[str, ...], stdin: bytes) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                [self._program, *arguments],
                input=stdin,
                capture_output=True,
                check=False,
                timeout=_TIMEOUT_SECONDS,
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise KeyfoldError(
                "internal",
                f"ssh-keygen cannot be run: {error}",
                not_done="no signature was looked at, nothing was approved",
                next_step="apt-get install openssh-client",
            ) from error


def _not_found(stderr: bytes) -> str:
    if b"No principal matched" in stderr:
        return "its key is not one of the officers'"
    return f"it is damaged ({_last_line(stderr)})"


def _not_valid(officer: str, stderr: bytes) -> str:
    if b"namespace" in stderr:
        return f"{officer} signed for another purpose: the namespace is not {NAMESPACE}"
    return f"{officer} signed something else than this file ({_last_line(stderr)})"


def _last_line(stderr: bytes) -> str:
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:200] if lines else "ssh-keygen gave no reason"
