"""A PKCS#11 application that a test drives line by line, wherever the test says. Needs nothing but Debian's PyKCS11.

usage: python3 pkcs11_session.py MODULE TOKEN

Each request is one JSON object on one line, {"do": NAME, …arguments}; each answer is {"ok": VALUE} or, where PKCS#11
returned an error, {"error": "CKR_…"}. `login` comes first and may come again: it starts over, as an application
does after its connection broke.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import PyKCS11
from PyKCS11 import PyKCS11Error

P256 = bytes.fromhex("06082a8648ce3d030107")
# Both take the digest as it is.
MECHANISMS = {
    PyKCS11.CKK_EC: PyKCS11.Mechanism(PyKCS11.CKM_ECDSA),
    PyKCS11.CKK_RSA: PyKCS11.Mechanism(PyKCS11.CKM_RSA_PKCS),
}
CLASSES = {"public": PyKCS11.CKO_PUBLIC_KEY, "private": PyKCS11.CKO_PRIVATE_KEY, "secret": PyKCS11.CKO_SECRET_KEY}
CLASS_NAMES = {number: name for name, number in CLASSES.items()}


class NoSuchObject(Exception):
    """The test asked for an object that this session does not see."""


class Application:
    def __init__(self, module: str, token: str) -> None:
        self._module, self._token = module, token
        self._library = PyKCS11.PyKCS11Lib()
        self._session: Any = None

    def login(self, pin: str, *, so: bool = False) -> None:
        self._session = None
        self._library = PyKCS11.PyKCS11Lib()
        self._library.load(self._module)
        slots = self._library.getSlotList(tokenPresent=True)
        slot = next(slot for slot in slots if self._library.getTokenInfo(slot).label.strip("\0 ") == self._token)
        self._session = self._library.openSession(slot, PyKCS11.CKF_SERIAL_SESSION | PyKCS11.CKF_RW_SESSION)
        self._session.login(pin, PyKCS11.CKU_SO if so else PyKCS11.CKU_USER)

    def logout(self) -> None:
        """Leave PKCS#11 altogether (C_Finalize)."""
        self._session = None
        self._library.unload()

    def generate_pair(self, label: str, *, extractable: bool = False) -> None:
        common = [(PyKCS11.CKA_TOKEN, True), (PyKCS11.CKA_LABEL, label), (PyKCS11.CKA_ID, tuple(label.encode()))]
        public = [*common, (PyKCS11.CKA_EC_PARAMS, P256), (PyKCS11.CKA_VERIFY, True)]
        private = [*common, (PyKCS11.CKA_PRIVATE, True), (PyKCS11.CKA_SENSITIVE, True), (PyKCS11.CKA_SIGN, True)]
        if extractable:
            private.append((PyKCS11.CKA_EXTRACTABLE, True))
        self._session.generateKeyPair(public, private, PyKCS11.MechanismECGENERATEKEYPAIR)

    def generate_rsa_pair(self, label: str) -> None:
        common = [(PyKCS11.CKA_TOKEN, True), (PyKCS11.CKA_LABEL, label), (PyKCS11.CKA_ID, tuple(label.encode()))]
        modulus = [(PyKCS11.CKA_MODULUS_BITS, 2048), (PyKCS11.CKA_PUBLIC_EXPONENT, (1, 0, 1))]
        public = [*common, *modulus, (PyKCS11.CKA_VERIFY, True)]
        private = [*common, (PyKCS11.CKA_PRIVATE, True), (PyKCS11.CKA_SENSITIVE, True), (PyKCS11.CKA_SIGN, True)]
        self._session.generateKeyPair(public, private, PyKCS11.MechanismRSAGENERATEKEYPAIR)

    def generate_secret(self, label: str) -> None:
        template = [
            (PyKCS11.CKA_CLASS, PyKCS11.CKO_SECRET_KEY),
            (PyKCS11.CKA_KEY_TYPE, PyKCS11.CKK_AES),
            (PyKCS11.CKA_VALUE_LEN, 32),
            (PyKCS11.CKA_TOKEN, True),
            (PyKCS11.CKA_PRIVATE, True),
            (PyKCS11.CKA_SENSITIVE, True),
            (PyKCS11.CKA_LABEL, label),
        ]
        self._session.generateKey(template, PyKCS11.MechanismAESGENERATEKEY)

    def labels(self) -> list[list[str]]:
        """[class, label] of every key on the token; one that goes between finding and reading is gone."""
        rows = []
        for item in self._session.findObjects([(PyKCS11.CKA_TOKEN, True)]):
            try:
                number, label = self._session.getAttributeValue(item, [PyKCS11.CKA_CLASS, PyKCS11.CKA_LABEL])
            except PyKCS11.PyKCS11Error as error:
                if error.value != PyKCS11.CKR_OBJECT_HANDLE_INVALID:
                    raise
                continue
            rows.append([CLASS_NAMES.get(number, str(number)), label])
        return sorted(rows)

    def sign(self, label: str, digest: str) -> str:
        """ECDSA, or RSA PKCS#1 v1.5 without DigestInfo, over a digest; both in hex."""
        key = self._find("private", label)
        return bytes(self._session.sign(key, bytes.fromhex(digest), self._mechanism(key))).hex()

    def verify(self, label: str, digest: str, signature: str) -> bool:
        key = self._find("public", label)
        return bool(self._session.verify(key, bytes.fromhex(digest), bytes.fromhex(signature), self._mechanism(key)))

    def relabel(self, cls: str, label: str, to: str) -> None:
        self._session.setAttributeValue(self._find(cls, label), [(PyKCS11.CKA_LABEL, to)])

    def destroy(self, cls: str, label: str) -> None:
        self._session.destroyObject(self._find(cls, label))

    def set_pin(self, old: str, new: str) -> None:
        self._session.setPin(old, new)

    def _mechanism(self, key: Any) -> Any:
        (key_type,) = self._session.getAttributeValue(key, [PyKCS11.CKA_KEY_TYPE])
        return MECHANISMS[key_type]

    def _find(self, cls: str, label: str) -> Any:
        found = self._session.findObjects([(PyKCS11.CKA_CLASS, CLASSES[cls]), (PyKCS11.CKA_LABEL, label)])
        if len(found) != 1:
            raise NoSuchObject(f"{len(found)} objects are a {cls} key labelled {label}")
        return found[0]


def main() -> None:
    application = Application(*sys.argv[1:])
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(answer(getattr(application, request.pop("do")), request)), flush=True)


def answer(act: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"ok": act(**arguments)}
    except PyKCS11Error as error:
        return {"error": str(PyKCS11.CKR.get(error.value, error.value))}
    except NoSuchObject as error:
        return {"error": f"no such object: {error}"}
    except StopIteration:
        return {"error": "CKR_TOKEN_NOT_PRESENT"}


if __name__ == "__main__":
    main()
