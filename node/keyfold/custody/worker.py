"""SoftHSM in a process of its own: `python3 -m keyfold.custody.worker < request`.

`keyfold.custody.process` starts it and defines the requests; an error is replied as `KeyfoldError.as_reply` writes it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import PyKCS11
from cryptography.hazmat.primitives.asymmetric import ec

from keyfold.backup import recipient
from keyfold.custody import medium_copy
from keyfold.custody.derive import DerivedKeys, derive
from keyfold.custody.labels import backup_label, medium_label
from keyfold.custody.objects import import_backup_keys, import_keys, import_opening_pair
from keyfold.custody.process import Request
from keyfold.custody.softhsm import open_token, pkcs11_errors, softhsm
from keyfold.custody.token_keys import TokenSystemKeys
from keyfold.errors import KeyfoldError


def serve(request: Request) -> Mapping[str, object]:
    """Do one operation; binary results are hex."""
    conf = Path(request["conf"])
    if request["op"] == "init_many":
        return {"made": _init_many(conf, request["tokens"])}
    if request["op"] == "init":
        return _init(conf, request)
    if request["op"] in ("import", "import_backup"):
        return _import(conf, request, import_keys if request["op"] == "import" else import_backup_keys)
    if request["op"] == "destroy_backup":
        return _destroy_backup(conf, request)
    if request["op"] == "add_medium":
        return _add_medium(conf, request)
    if request["op"] == "import_medium":
        return _import_medium(conf, request)
    with TokenSystemKeys(conf, request["label"], request["pin"], epoch=request["epoch"]) as keys:
        if request["op"] == "sign":
            return {"signature": keys.sign(bytes.fromhex(request["message"])).hex()}
        return {"data_key": keys.data_key(request["epoch"]).hex()}


def _init(conf: Path, request: Request) -> dict[str, str]:
    with softhsm(conf) as library, pkcs11_errors(conf):
        for slot in library.getSlotList(tokenPresent=True):
            if not library.getTokenInfo(slot).flags & PyKCS11.CKF_TOKEN_INITIALIZED:
                _init_token(library, slot, request["label"], request["so_pin"])
        session = open_token(library, request["label"], request["so_pin"], role=PyKCS11.CKU_SO)
        session.initPin(request["pin"])
    return {}


def _init_many(conf: Path, tokens: list[dict[str, str]]) -> dict[str, str]:
    """Label → name of the token's directory."""
    made: dict[str, str] = {}
    with softhsm(conf) as library, pkcs11_errors(conf):
        for token in tokens:
            # SoftHSM adds an uninitialised slot whenever the slots are counted and has none; it comes last.
            slot = library.getSlotList(tokenPresent=True)[-1]
            _init_token(library, slot, token["label"], token["so_pin"])
            session = library.openSession(slot, PyKCS11.CKF_SERIAL_SESSION | PyKCS11.CKF_RW_SESSION)
            session.login(token["so_pin"], PyKCS11.CKU_SO)
            session.initPin(token["pin"])
            session.logout()
            session.closeSession()
            (directory,) = {path.name for path in (conf.parent / "tokens").iterdir()} - set(made.values())
            made[token["label"]] = directory
    return made


def _init_token(library: Any, slot: Any, label: str, so_pin: str) -> None:
    # C_InitToken wants 32 bytes padded with blanks; PyKCS11 pads with NULs, which no PKCS#11 URI matches.
    library.initToken(slot, so_pin, label.ljust(32))


def _import(conf: Path, request: Request, add: Callable[[Any, DerivedKeys, int], None]) -> dict[str, str]:
    epoch = request["epoch"]
    with softhsm(conf) as library, pkcs11_errors(conf):
        session = open_token(library, request["label"], request["pin"])
        add(session, derive(bytes.fromhex(request["root"]), request["cluster_uuid"], epoch), epoch)
    with TokenSystemKeys(conf, request["label"], request["pin"], epoch=epoch) as keys:
        reply = {
            "backup_public_key": keys.backup_public_key().hex(),
            "signing_public_key": keys.signing_public_key().hex(),
        }
        return reply if add is import_backup_keys else {**reply, "audit_public_key": keys.audit_public_key().hex()}


def _destroy_backup(conf: Path, request: Request) -> dict[str, str]:
    template = [(PyKCS11.CKA_CLASS, PyKCS11.CKO_PRIVATE_KEY), (PyKCS11.CKA_LABEL, backup_label(request["epoch"]))]
    with softhsm(conf) as library, pkcs11_errors(conf):
        session = open_token(library, request["label"], request["pin"])
        for key in session.findObjects(template):
            session.destroyObject(key)
    return {}


def _add_medium(conf: Path, request: Request) -> dict[str, Any]:
    """The pair is random, and outside the token there is nothing of the private half but the sealed copy."""
    medium, scalar = request["medium"], ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    with softhsm(conf) as library, pkcs11_errors(conf):
        session = open_token(library, request["label"], request["pin"])
        point = import_opening_pair(session, medium_label(medium), scalar)
    return {"point": point.hex(), "sealed": medium_copy.seal(scalar, medium, bytes.fromhex(request["seal_to"]))}


def _import_medium(conf: Path, request: Request) -> dict[str, Any]:
    """`imported` False: the copy is sealed to a backup key that the token does not have, or it was altered."""
    medium, sealed = request["medium"], request["sealed"]
    with TokenSystemKeys(conf, request["label"], request["pin"]) as keys:
        pairs = {recipient.tag(point): (label, point) for label, point in keys.opening_keys().items()}
        try:
            label, point = pairs[medium_copy.tag(sealed)]
            scalar = medium_copy.unseal(sealed, medium, point, partial(keys.ecdh, label=label))
        except (ValueError, KeyError):
            return {"imported": False}
    with softhsm(conf) as library, pkcs11_errors(conf):
        session = open_token(library, request["label"], request["pin"])
        import_opening_pair(session, medium_label(medium), scalar)
    return {"imported": True}


def main() -> None:
    try:
        reply: dict[str, object] = {"ok": True, **serve(json.load(sys.stdin))}
    except KeyfoldError as error:
        reply = error.as_reply()
    json.dump(reply, sys.stdout)


if __name__ == "__main__":
    main()
