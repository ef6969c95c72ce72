"""SoftHSM as a drill sees it, out of the object files alone; canary keys are kept per PIN."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keyfold.drill.hsm import Hsm, Seen
from keyfold.errors import KeyfoldError
from keyfold.token.object_file import describe


class MemoryHsm(Hsm):
    """`after_look` may damage the files, as a broken SoftHSM might. `seen`: the homes that were looked at."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.pin = ""
        self.user_pin_set = True
        self.seen: list[Path] = []
        self.after_look: Callable[[Path], object] = lambda _: None

    def look(self, home: Path, label: str) -> Seen:
        assert (home / "softhsm2.conf").exists()
        self.seen.append(home)
        files = [path for path in (home / "tokens").glob("*/*.object") if path.name != "token.object"]
        public = sum(not describe(path.read_bytes()).private for path in files)
        self.after_look(home)
        return Seen(self.user_pin_set, public)

    def sign(self, home: Path, label: str, pin: str, digest: bytes) -> bytes:
        if pin != self.pin:
            raise KeyfoldError("denied", "the token refuses the PIN", not_done="-", next_step="-")
        r, s = decode_dss_signature(self.key.sign(digest, ec.ECDSA(Prehashed(SHA256()))))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def make_key(self, home: Path, label: str, pin: str) -> bytes:
        self.pin = pin
        return self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
