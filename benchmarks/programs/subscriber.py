"""A partition's own process on a node: a logged-in PKCS#11 session, asked line by line what to do next.

A program of this package is started once, with the PIN as the first line of standard input. Each further line is a
JSON list, the operation and its arguments; the answer is one JSON object on one line. So the controller decides the
order in which several programs on several nodes take their turns, and no start-up time is measured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import PyKCS11

SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
_P256 = bytes.fromhex("06082a8648ce3d030107")

Operation = Callable[..., Mapping[str, Any]]


def serve(operations: Mapping[str, Operation]) -> None:
    """Answer requests until standard input ends."""
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(operations[name](*arguments)), flush=True)


class Token:
    """One logged-in session with the token called `label`, through any PKCS#11 module."""

    def __init__(self, module: str, label: str) -> None:
        self._library = PyKCS11.PyKCS11Lib()
        self._library.load(module)
        slots = self._library.getSlotList(tokenPresent=True)
        slot = next(slot for slot in slots if self._library.getTokenInfo(slot).label.strip("\0 ") == label)
        self._session = self._library.openSession(slot, PyKCS11.CKF_SERIAL_SESSION | PyKCS11.CKF_RW_SESSION)
        self._session.login(sys.stdin.readline().strip())

    def generate_pair(self, label: str) -> tuple[Any, Any]:
        """A P-256 key pair in the token: its public and its private half."""
        common = [(PyKCS11.CKA_TOKEN, True), (PyKCS11.CKA_LABEL, label), (PyKCS11.CKA_ID, label.encode())]
        public, private = self._session.generateKeyPair(
            [*common, (PyKCS11.CKA_CLASS, PyKCS11.CKO_PUBLIC_KEY), (PyKCS11.CKA_EC_PARAMS, _P256)],
            [*common, (PyKCS11.CKA_PRIVATE, True), (PyKCS11.CKA_SENSITIVE, True), (PyKCS11.CKA_SIGN, True)],
            mecha=PyKCS11.Mechanism(PyKCS11.CKM_EC_KEY_PAIR_GEN),
        )
        return public, private

    def create_secret(self, label: str) -> Any:
        """An AES-256 key, private and in the token; C_CreateObject."""
        return self._session.createObject(
            [
                (PyKCS11.CKA_CLASS, PyKCS11.CKO_SECRET_KEY),
                (PyKCS11.CKA_KEY_TYPE, PyKCS11.CKK_AES),
                (PyKCS11.CKA_TOKEN, True),
                (PyKCS11.CKA_PRIVATE, True),
                (PyKCS11.CKA_LABEL, label),
                (PyKCS11.CKA_ID, label.encode()),
                (PyKCS11.CKA_VALUE, bytes(range(32))),
            ]
        )

    def create_data(self, label: str, value: bytes) -> Any:
        """A data object, public and in the token; C_CreateObject."""
        return self._session.createObject(
            [
                (PyKCS11.CKA_CLASS, PyKCS11.CKO_DATA),
                (PyKCS11.CKA_TOKEN, True),
                (PyKCS11.CKA_PRIVATE, False),
                (PyKCS11.CKA_LABEL, label),
                (PyKCS11.CKA_VALUE, value),
            ]
        )

    def destroy(self, *handles: Any) -> None:
        for handle in handles:
            self._session.destroyObject(handle)

    def labelled(self, label: str) -> list[Any]:
        """Handles of all objects with this label."""
        return list(self._session.findObjects([(PyKCS11.CKA_LABEL, label)]))

    def private_key(self, label: str) -> Any | None:
        """The private key's handle, or None while there is none."""
        found = self._session.findObjects(
            [
                (PyKCS11.CKA_CLASS, PyKCS11.CKO_PRIVATE_KEY),
                (PyKCS11.CKA_LABEL, label),
            ]
        )
        return found[0] if found else None

    def sign(self, key: Any) -> None:
        self._session.sign(key, bytes(32), PyKCS11.Mechanism(PyKCS11.CKM_ECDSA))
