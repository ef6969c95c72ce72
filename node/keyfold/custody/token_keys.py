"""The cluster's keys in their token, used through PKCS#11 and never outside it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import PyKCS11

from keyfold.custody.derive import data_key_message
from keyfold.custody.keys import SystemKeys, check_message, checked_peer
from keyfold.custody.labels import audit_label, backup_label, data_label, manifest_label, opens_archives
from keyfold.custody.objects import der_octets
from keyfold.custody.softhsm import open_token, pkcs11_errors, softhsm
from keyfold.errors import KeyfoldError


class TokenSystemKeys(SystemKeys):
    """The keys of `epoch` in the token `token_label` under the configuration `softhsm2_conf`.

    Loads SoftHSM into this process until `close`: for short-lived commands.
    """

    def __init__(self, softhsm2_conf: Path, token_label: str, pin: str, *, epoch: int = 1) -> None:
        self._conf = softhsm2_conf
        self._epoch = epoch
        with ExitStack() as stack:
            library = stack.enter_context(softhsm(softhsm2_conf))
            with pkcs11_errors(softhsm2_conf):
                self._session = open_token(library, token_label, pin)
            self._resources = stack.pop_all()

    def data_key(self, epoch: int = 1) -> bytes:
        key = self._find(PyKCS11.CKO_SECRET_KEY, data_label(epoch))
        return self._sign(key, PyKCS11.CKM_SHA256_HMAC, data_key_message(epoch))

    def backup_public_key(self) -> bytes:
        return self._point(backup_label(self._epoch))

    def opening_keys(self) -> Mapping[str, bytes]:
        with pkcs11_errors(self._conf):
            found = self._session.findObjects([(PyKCS11.CKA_CLASS, PyKCS11.CKO_PRIVATE_KEY)])
            labels = [self._session.getAttributeValue(key, [PyKCS11.CKA_LABEL])[0] for key in found]
        return {label: self._point(label) for label in sorted(filter(opens_archives, labels))}

    def ecdh(self, peer_point: bytes, label: str | None = None) -> bytes:
        checked_peer(peer_point)
        key = self._find(PyKCS11.CKO_PRIVATE_KEY, label or backup_label(self._epoch))
        mechanism = PyKCS11.ECDH1_DERIVE_Mechanism(der_octets(peer_point))
        secret_template = [
            (PyKCS11.CKA_CLASS, PyKCS11.CKO_SECRET_KEY),
            (PyKCS11.CKA_KEY_TYPE, PyKCS11.CKK_GENERIC_SECRET),
            (PyKCS11.CKA_VALUE_LEN, 32),
            (PyKCS11.CKA_TOKEN, False),
            (PyKCS11.CKA_SENSITIVE, False),
            (PyKCS11.CKA_EXTRACTABLE, True),
        ]
        with pkcs11_errors(self._conf):
            secret = self._session.deriveKey(key, secret_template, mechanism)
            (value,) = self._session.getAttributeValue(secret, [PyKCS11.CKA_VALUE])
            self._session.destroyObject(secret)
        return bytes(value)

    def sign(self, message: bytes) -> bytes:
        return self._signed(manifest_label(self._epoch), message)

    def signing_public_key(self) -> bytes:
        return self._point(manifest_label(self._epoch))

    def sign_audit(self, message: bytes) -> bytes:
        return self._signed(audit_label(self._epoch), message)

    def audit_public_key(self) -> bytes:
        return self._point(audit_label(self._epoch))

    def close(self) -> None:
        self._resources.close()

    def _find(self, object_class: int, label: str) -> Any:
        with pkcs11_errors(self._conf):
            found = self._session.findObjects([(PyKCS11.CKA_CLASS, object_class), (PyKCS11.CKA_LABEL, label)])
        if found:
            return found[0]
        raise KeyfoldError(
            "not_found",
            f"the system token has no key {label!r}",
            not_done="no key was used",
            next_step="see whether the agent has caught up: keyfold status",
        )

    def _signed(self, label: str, message: bytes) -> bytes:
        check_message(message)
        return self._sign(self._find(PyKCS11.CKO_PRIVATE_KEY, label), PyKCS11.CKM_EDDSA, message)

    def _point(self, label: str) -> bytes:
        key = self._find(PyKCS11.CKO_PUBLIC_KEY, label)
        with pkcs11_errors(self._conf):
            (encoded,) = self._session.getAttributeValue(key, [PyKCS11.CKA_EC_POINT])
        return bytes(encoded)[len(der_octets(b"")) :]

    def _sign(self, key: Any, mechanism: int, message: bytes) -> bytes:
        with pkcs11_errors(self._conf):
            return bytes(self._session.sign(key, message, PyKCS11.Mechanism(mechanism, None)))
