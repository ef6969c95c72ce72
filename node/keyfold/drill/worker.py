"""SoftHSM for a drill, in a process of its own: `python3 -m keyfold.drill.worker < request` (`keyfold.drill.hsm`)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import PyKCS11

from keyfold.custody import softhsm as library_of
from keyfold.custody.objects import der_octets
from keyfold.custody.softhsm import open_token, pkcs11_errors, softhsm
from keyfold.errors import KeyfoldError

LABEL = "canary"

# RFC 5480: secp256r1.
_P256 = bytes.fromhex("06082a8648ce3d030107")


def serve(request: Mapping[str, str]) -> dict[str, Any]:
    """Do one operation; binary values are hex."""
    conf = Path(request["conf"])
    if request["op"] == "make_key":
        _become_the_partition(conf)
    with softhsm(conf) as library, pkcs11_errors(conf):
        if request["op"] == "look":
            return _look(library, request["label"])
        session = open_token(library, request["label"], request["pin"])
        if request["op"] == "sign":
            key = _find(session, PyKCS11.CKO_PRIVATE_KEY)
            digest = bytes.fromhex(request["digest"])
            return {"signature": bytes(session.sign(key, digest, PyKCS11.Mechanism(PyKCS11.CKM_ECDSA, None))).hex()}
        return {"public_key": _made(session).hex()}


def _become_the_partition(conf: Path) -> None:
    """What is made through Keyfold's module is committed; made as the partition's user, the files are its own."""
    owner = (conf.parent / "tokens").stat()
    os.setgroups([])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)
    library_of.LIBRARY = str(next(Path("/usr/lib").glob("*/pkcs11/keyfold-pkcs11.so")))


def _look(library: Any, label: str) -> dict[str, Any]:
    for slot in library.getSlotList(tokenPresent=True):
        info = library.getTokenInfo(slot)
        if info.label.rstrip(" \0") == label:
            session = library.openSession(slot, PyKCS11.CKF_SERIAL_SESSION)
            pin_set = bool(info.flags & PyKCS11.CKF_USER_PIN_INITIALIZED)
            return {"user_pin_set": pin_set, "objects": len(session.findObjects([]))}
    raise _missing(f"SoftHSM sees no token {label!r}")


def _made(session: Any) -> bytes:
    """The public key; both halves are made in one call, so there is a whole pair or none."""
    if not session.findObjects(_named(PyKCS11.CKO_PUBLIC_KEY)):
        common = [(PyKCS11.CKA_TOKEN, True), (PyKCS11.CKA_LABEL, LABEL), (PyKCS11.CKA_ID, (1,))]
        public = [*common, (PyKCS11.CKA_EC_PARAMS, _P256), (PyKCS11.CKA_VERIFY, True)]
        private = [
            *common,
            (PyKCS11.CKA_PRIVATE, True),
            (PyKCS11.CKA_SENSITIVE, True),
            (PyKCS11.CKA_EXTRACTABLE, False),
            (PyKCS11.CKA_SIGN, True),
        ]
        session.generateKeyPair(public, private, PyKCS11.MechanismECGENERATEKEYPAIR)
    (point,) = session.getAttributeValue(_find(session, PyKCS11.CKO_PUBLIC_KEY), [PyKCS11.CKA_EC_POINT])
    return bytes(point)[len(der_octets(b"")) :]


def _find(session: Any, object_class: int) -> Any:
    found = session.findObjects(_named(object_class))
    if not found:
        raise _missing("the token has no canary key")
    return found[0]


def _named(object_class: int) -> list[tuple[int, Any]]:
    return [(PyKCS11.CKA_CLASS, object_class), (PyKCS11.CKA_LABEL, LABEL)]


def _missing(what: str) -> KeyfoldError:
    return KeyfoldError("not_found", what, not_done="no key was used", next_step="keyfold drill prepare")


def main() -> None:
    try:
        reply: dict[str, object] = {"ok": True, **serve(json.load(sys.stdin))}
    except KeyfoldError as error:
        reply = error.as_reply()
    json.dump(reply, sys.stdout)


if __name__ == "__main__":
    main()
