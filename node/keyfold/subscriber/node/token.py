"""One logged-in PKCS#11 session of a partition, as far as export and import need one.

It runs on the node because stock p11-kit (0.25.5) carries no CKM_AES_KEY_WRAP_PAD, the one way in which SoftHSM 2.6.1
wraps a private key. Every call goes through keyfold-pkcs11.so, which enforces the policy, counts failed logins and
commits. No key is ever outside the token in clear: key-encryption keys come and go under RSA-OAEP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import PyKCS11

from keyfold.errors import KeyfoldError
from keyfold.subscriber.attributes import BOOLEANS, NUMBERS, TYPES, Value

Handle = Any
T = TypeVar("T")

# RFC 5649.
WRAP = PyKCS11.Mechanism(PyKCS11.CKM_AES_KEY_WRAP_PAD)
# SoftHSM 2.6.1 has OAEP with SHA-1 only; the security of OAEP does not rest on its collisions.
OAEP = PyKCS11.RSAOAEPMechanism(PyKCS11.CKM_SHA_1, PyKCS11.CKG_MGF1_SHA1)
_TRANSPORT_BITS = 3072
# RFC 8017 9.2: CKM_RSA_PKCS signs what it is given.
_SHA256_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
_SESSION_KEK = (
    (PyKCS11.CKA_CLASS, PyKCS11.CKO_SECRET_KEY),
    (PyKCS11.CKA_KEY_TYPE, PyKCS11.CKK_AES),
    (PyKCS11.CKA_TOKEN, False),
    (PyKCS11.CKA_PRIVATE, True),
    (PyKCS11.CKA_SENSITIVE, True),
)
_NO_MECHANISM = (
    "denied",
    "the partition's package does not allow CKM_AES_KEY_WRAP_PAD, CKM_RSA_PKCS_OAEP with SHA-1, or CKM_AES_KEY_GEN",
    "ask the operator for another package",
)
_CODES = {
    PyKCS11.CKR_PIN_INCORRECT: ("denied", "the PIN is wrong", "ask for the right PIN; failed logins are counted"),
    PyKCS11.CKR_PIN_LOCKED: ("locked", "the login is locked after too many wrong PINs", "wait, or ask the operator"),
    PyKCS11.CKR_DEVICE_MEMORY: ("quota", "the partition has no room for it", "keyfold-subscriber quota"),
    PyKCS11.CKR_MECHANISM_INVALID: _NO_MECHANISM,
    PyKCS11.CKR_MECHANISM_PARAM_INVALID: _NO_MECHANISM,
    # Not in PyKCS11 1.5 (PKCS#11 2.40, CKR_ACTION_PROHIBITED).
    0x1B: ("denied", "the partition's policy prohibits it", "keyfold-subscriber policy"),
    PyKCS11.CKR_KEY_UNEXTRACTABLE: ("denied", "the key may not leave the token", "keyfold-subscriber policy"),
}


class Token:
    """KeyfoldError for everything PKCS#11 refuses; its message never has a PIN or a value in it."""

    def __init__(self, module: str, label: str, pin: str) -> None:
        self._library = PyKCS11.PyKCS11Lib()
        self._did(lambda: self._library.load(module))
        slots = self._did(lambda: self._library.getSlotList(tokenPresent=True))
        mine = [slot for slot in slots if self._library.getTokenInfo(slot).label.strip("\0 ") == label]
        if not mine:
            raise _refusal(
                "internal", f"the token of partition {label} is not on this node", "try again; then tell the operator"
            )
        flags = PyKCS11.CKF_SERIAL_SESSION | PyKCS11.CKF_RW_SESSION
        self._session = self._did(lambda: self._library.openSession(mine[0], flags))
        self._did(lambda: self._session.login(pin))

    def objects(self) -> list[Handle]:
        return list(self._did(lambda: self._session.findObjects([(PyKCS11.CKA_TOKEN, True)])))

    def find(self, kind: int, **wanted: bytes) -> list[Handle]:
        """Token objects of a class by `label` and `id`."""
        template: list[tuple[int, Any]] = [(PyKCS11.CKA_TOKEN, True), (PyKCS11.CKA_CLASS, kind)]
        template += [(TYPES[f"CKA_{name.upper()}"], tuple(value)) for name, value in wanted.items()]
        return list(self._did(lambda: self._session.findObjects(_texts(template))))

    def kind(self, handle: Handle) -> int:
        return int.from_bytes(self._raw(handle, PyKCS11.CKA_CLASS) or b"", "little")

    def read(self, handle: Handle, names: tuple[str, ...]) -> dict[str, Value]:
        """Those of the attributes that the object has."""
        return dict(self._values(handle, names))

    def wrapping_key(self, modulus: bytes, exponent: bytes) -> tuple[Handle, bytes]:
        """A fresh key-encryption key of this session, and its value under the recipient's RSA key."""
        to = self.create(
            {
                PyKCS11.CKA_CLASS: PyKCS11.CKO_PUBLIC_KEY,
                PyKCS11.CKA_KEY_TYPE: PyKCS11.CKK_RSA,
                PyKCS11.CKA_TOKEN: False,
                PyKCS11.CKA_WRAP: True,
                PyKCS11.CKA_MODULUS: tuple(modulus),
                PyKCS11.CKA_PUBLIC_EXPONENT: tuple(exponent),
            }
        )
        template = [
            *_SESSION_KEK,
            (PyKCS11.CKA_VALUE_LEN, 32),
            (PyKCS11.CKA_EXTRACTABLE, True),
            (PyKCS11.CKA_WRAP, True),
        ]
        kek = self._did(lambda: self._session.generateKey(template, PyKCS11.MechanismAESGENERATEKEY))
        return kek, self.wrap(to, kek, OAEP)

    def wrap(self, by: Handle, key: Handle, mechanism: Any = WRAP) -> bytes:
        return bytes(self._did(lambda: self._session.wrapKey(by, key, mechanism)))

    def transport_key(self) -> tuple[Handle, bytes, bytes]:
        """A fresh RSA key of this session to send a key-encryption key to: private half, modulus, exponent."""
        public = [
            (PyKCS11.CKA_TOKEN, False),
            (PyKCS11.CKA_MODULUS_BITS, _TRANSPORT_BITS),
            (PyKCS11.CKA_PUBLIC_EXPONENT, (1, 0, 1)),
            (PyKCS11.CKA_WRAP, True),
        ]
        private = [
            (PyKCS11.CKA_TOKEN, False),
            (PyKCS11.CKA_PRIVATE, True),
            (PyKCS11.CKA_SENSITIVE, True),
            (PyKCS11.CKA_EXTRACTABLE, False),
            (PyKCS11.CKA_UNWRAP, True),
        ]
        pair = self._did(lambda: self._session.generateKeyPair(public, private, PyKCS11.MechanismRSAGENERATEKEYPAIR))
        modulus, exponent = (
            self._raw(pair[0], kind) or b"" for kind in (PyKCS11.CKA_MODULUS, PyKCS11.CKA_PUBLIC_EXPONENT)
        )
        return pair[1], modulus, exponent

    def unwrap_kek(self, by: Handle, wrapped: bytes) -> Handle:
        template = {**dict(_SESSION_KEK), PyKCS11.CKA_EXTRACTABLE: False, PyKCS11.CKA_UNWRAP: True}
        return self.unwrap(by, wrapped, template, OAEP)

    def unwrap(self, by: Handle, wrapped: bytes, template: Mapping[int, Any], mechanism: Any = WRAP) -> Handle:
        rows = _texts(list(template.items()))
        return self._did(lambda: self._session.unwrapKey(by, wrapped, rows, mechanism))

    def create(self, template: Mapping[int, Any]) -> Handle:
        return self._did(lambda: self._session.createObject(_texts(list(template.items()))))

    def destroy(self, handle: Handle) -> None:
        self._did(lambda: self._session.destroyObject(handle))

    def sign(self, key: Handle, key_type: int, digest: bytes) -> bytes | None:
        """Over a SHA-256 digest: ECDSA, or RSA PKCS#1 v1.5; None if the key may not sign."""
        rsa = key_type == PyKCS11.CKK_RSA
        mechanism = PyKCS11.Mechanism(PyKCS11.CKM_RSA_PKCS if rsa else PyKCS11.CKM_ECDSA)
        try:
            return bytes(self._session.sign(key, _SHA256_DIGEST_INFO + digest if rsa else digest, mechanism))
        except PyKCS11.PyKCS11Error:
            return None

    def answer(self, key: Handle, key_type: int, digest: bytes) -> bytes | None:
        """What only this secret key makes of 32 bytes: AES-ECB, or HMAC-SHA256 of a generic one; None if it may not.

        SoftHSM 2.6.1 gives an unwrapped key no CKA_CHECK_VALUE.
        """
        try:
            if key_type == PyKCS11.CKK_AES:
                return bytes(self._session.encrypt(key, digest, PyKCS11.Mechanism(PyKCS11.CKM_AES_ECB)))
            if key_type == PyKCS11.CKK_GENERIC_SECRET:
                return bytes(self._session.sign(key, digest, PyKCS11.Mechanism(PyKCS11.CKM_SHA256_HMAC)))
        except PyKCS11.PyKCS11Error:
            pass
        return None

    def _values(self, handle: Handle, names: tuple[str, ...]) -> Iterator[tuple[str, Value]]:
        for name in names:
            raw = self._raw(handle, TYPES[name])
            if raw is None:
                continue
            if name in BOOLEANS:
                yield name, raw != b"\0"
            elif name in NUMBERS:
                yield name, int.from_bytes(raw, "little")
            else:
                yield name, raw

    def _raw(self, handle: Handle, kind: int) -> bytes | None:
        (value,) = self._did(lambda: self._session.getAttributeValue(handle, [kind], allAsBinary=True))
        return None if value is None else bytes(value)

    def _did(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except PyKCS11.PyKCS11Error as error:
            name = str(PyKCS11.CKR.get(error.value, error.value))
            code, what, next_step = _CODES.get(
                error.value,
                ("internal", f"PKCS#11 answered {name}", "keyfold-subscriber policy; then ask the operator"),
            )
            raise _refusal(code, f"{what} ({name})", next_step) from None


def _texts(template: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """PyKCS11 wants labels as text; ValueError if one is none."""
    texts = (PyKCS11.CKA_LABEL, PyKCS11.CKA_APPLICATION)
    return [
        (kind, bytes(value).decode() if kind in texts and not isinstance(value, str) else value)
        for kind, value in template
    ]


def _refusal(code: str, what: str, next_step: str) -> KeyfoldError:
    return KeyfoldError(code, what, not_done="nothing was exported or imported", next_step=next_step)
