"""SSH keys and signatures for tests: made by ssh-keygen, and by hand for security keys, which no test machine has."""

from __future__ import annotations

import base64
import hashlib
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NAMESPACE = "keyfold-approval"
_TOUCHED = 0x01


@dataclass(frozen=True)
class SshKey:
    """A key pair as ssh-keygen makes it."""

    path: Path

    @classmethod
    def make(cls, path: Path, *options: str) -> SshKey:
        subprocess.run(["ssh-keygen", "-q", "-N", "", "-C", "", "-f", path, *options], check=True)
        return cls(path)

    @property
    def public(self) -> str:
        return self.path.with_name(self.path.name + ".pub").read_text().strip()

    def sign(self, message: bytes, namespace: str = NAMESPACE) -> str:
        done = subprocess.run(
            ["ssh-keygen", "-q", "-Y", "sign", "-f", self.path, "-n", namespace],
            input=message,
            capture_output=True,
            check=True,
        )
        return done.stdout.decode()


class SecurityKey:
    """A FIDO key that is touched: OpenSSH's PROTOCOL.u2f and PROTOCOL.sshsig, in software."""

    application = b"ssh:"

    def __init__(self, kind: str) -> None:
        self._kind = kind.encode()
        self._ed25519 = ed25519.Ed25519PrivateKey.generate()
        self._ecdsa = ec.generate_private_key(ec.SECP256R1())

    @property
    def _blob(self) -> bytes:
        if b"ecdsa" in self._kind:
            point = self._ecdsa.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            fields = (self._kind, b"nistp256", point, self.application)
        else:
            fields = (self._kind, self._ed25519.public_key().public_bytes_raw(), self.application)
        return b"".join(map(_string, fields))

    @property
    def public(self) -> str:
        return f"{self._kind.decode()} {base64.b64encode(self._blob).decode()}"

    def sign(self, message: bytes, namespace: str = NAMESPACE) -> str:
        purpose, digest = (namespace.encode(), b"", b"sha512"), hashlib.sha512(message).digest()
        signed = b"SSHSIG" + b"".join(map(_string, (*purpose, digest)))
        tail = struct.pack(">BI", _TOUCHED, 7)
        asserted = hashlib.sha256(self.application).digest() + tail + hashlib.sha256(signed).digest()
        signature = _string(self._kind) + _string(self._raw(asserted)) + tail
        whole = b"SSHSIG" + struct.pack(">I", 1) + b"".join(map(_string, (self._blob, *purpose, signature)))
        text = base64.b64encode(whole).decode()
        lines = [text[at : at + 70] for at in range(0, len(text), 70)]
        return "\n".join(("-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""))

    def _raw(self, message: bytes) -> bytes:
        if b"ecdsa" not in self._kind:
            return self._ed25519.sign(message)
        r, s = decode_dss_signature(self._ecdsa.sign(message, ec.ECDSA(SHA256())))
        return _string(_mpint(r)) + _string(_mpint(s))


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def _mpint(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big")
