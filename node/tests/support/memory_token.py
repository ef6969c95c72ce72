"""A partition's token in memory, with what `keyfold.subscriber.node.token.Token` does for exports and imports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from keyfold.errors import KeyfoldError
from keyfold.subscriber.attributes import TYPES, Value

OAEP = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
NAMES = {number: name for name, number in TYPES.items()}


def refuse(code: str, what: str) -> KeyfoldError:
    return KeyfoldError(code, what, not_done="nothing", next_step="nothing")


class MemoryToken:
    """`store`: handle → attributes by name, with CKA_CLASS; `secret` is a private key's PKCS#8, or a key's bytes."""

    def __init__(self, store: dict[int, dict[str, Any]]) -> None:
        self.store = store
        self._session: dict[int, Any] = {}

    def objects(self) -> list[int]:
        return list(self.store)

    def find(self, kind: int, **wanted: bytes) -> list[int]:
        names = {f"CKA_{key.upper()}": value for key, value in wanted.items()}
        return [
            handle
            for handle, row in self.store.items()
            if row["CKA_CLASS"] == kind and all(row.get(name) == value for name, value in names.items())
        ]

    def kind(self, handle: int) -> int:
        return int(self.store[handle]["CKA_CLASS"])

    def read(self, handle: int, names: tuple[str, ...]) -> dict[str, Value]:
        return {name: self.store[handle][name] for name in names if name in self.store[handle]}

    def wrapping_key(self, modulus: bytes, exponent: bytes) -> tuple[int, bytes]:
        to = rsa.RSAPublicNumbers(int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big")).public_key()
        self._session[-1] = bytes(range(32))
        return -1, to.encrypt(self._session[-1], OAEP)

    def wrap(self, by: int, key: int) -> bytes:
        return keywrap.aes_key_wrap_with_padding(self._session[by], self.store[key]["secret"])

    def transport_key(self) -> tuple[int, bytes, bytes]:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._session[-2] = key
        return -2, key.public_key().public_numbers().n.to_bytes(256, "big"), b"\1\0\1"

    def unwrap_kek(self, by: int, wrapped: bytes) -> int:
        self._session[-3] = self._session[by].decrypt(wrapped, OAEP)
        return -3

    def unwrap(self, by: int, wrapped: bytes, template: Mapping[int, Any]) -> int:
        handle = self.create(template)
        row = self.store[handle]
        try:
            row["secret"] = keywrap.aes_key_unwrap_with_padding(self._session[by], wrapped)
        except keywrap.InvalidUnwrap:
            del self.store[handle]
            raise refuse("internal", "PKCS#11 answered CKR_WRAPPED_KEY_INVALID") from None
        return handle

    def create(self, template: Mapping[int, Any]) -> int:
        row: dict[str, Any] = {}
        for number, value in template.items():
            name = NAMES.get(number, {0x0: "CKA_CLASS", 0x1: "CKA_TOKEN"}.get(number, str(number)))
            row[name] = bytes(value) if isinstance(value, tuple) else value
        if isinstance(row.get("CKA_LABEL"), bytes):
            row["CKA_LABEL"].decode()
        handle = max(self.store, default=0) + 1
        self.store[handle] = row
        return handle

    def destroy(self, handle: int) -> None:
        del self.store[handle]

    def sign(self, key: int, key_type: int, digest: bytes) -> bytes | None:
        if not self.store[key].get("CKA_SIGN"):
            return None
        private = serialization.load_der_private_key(self.store[key]["secret"], None)
        if isinstance(private, rsa.RSAPrivateKey):
            return private.sign(digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        signature = private.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        return b"".join(part.to_bytes(32, "big") for part in utils.decode_dss_signature(signature))

    def answer(self, key: int, key_type: int, digest: bytes) -> bytes | None:
        if key_type != 0x1F or not self.store[key].get("CKA_ENCRYPT"):
            return None
        block = Cipher(algorithms.AES(self.store[key]["secret"]), modes.ECB()).encryptor()
        return block.update(digest) + block.finalize()


def p256_pair(identifier: bytes, label: bytes, **private: Any) -> list[dict[str, Any]]:
    """Public and private half, extractable."""
    key = ec.generate_private_key(ec.SECP256R1())
    point = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    common = {"CKA_KEY_TYPE": 3, "CKA_ID": identifier, "CKA_LABEL": label}
    parameters = bytes.fromhex("06082a8648ce3d030107")
    secret = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return [
        {
            **common,
            "CKA_CLASS": 2,
            "CKA_VERIFY": True,
            "CKA_EC_PARAMS": parameters,
            "CKA_EC_POINT": b"\x04\x41" + point,
        },
        {**common, "CKA_CLASS": 3, "CKA_SIGN": True, "CKA_EXTRACTABLE": True, "secret": secret, **private},
    ]


def aes_key(label: bytes, **more: Any) -> dict[str, Any]:
    secret = label.ljust(32, b"k")
    row = {"CKA_CLASS": 4, "CKA_KEY_TYPE": 0x1F, "CKA_LABEL": label, "CKA_EXTRACTABLE": True, "CKA_ENCRYPT": True}
    return {**row, "secret": secret, **more}


def store(*rows: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return dict(enumerate(rows, 1))
