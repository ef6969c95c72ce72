"""How the golden files here were made, once, with SoftHSM 2.6.1: `python3 make.py DIRECTORY_OF_A_FRESH_TOKEN_CONF`.

The keys are for these tests alone. Object UUIDs are replaced by names that say what is in the file.
"""

import ctypes
import struct
import sys
from pathlib import Path

import PyKCS11 as P

from keyfold.custody.softhsm import LIBRARY, open_token, softhsm

LABEL, PIN = "golden", "golden-pin"
HERE = Path(__file__).parent


class Attribute(ctypes.Structure):
    """CK_ATTRIBUTE. PyKCS11 cannot express templates inside templates."""

    _fields_ = [("type", ctypes.c_ulong), ("value", ctypes.c_void_p), ("length", ctypes.c_ulong)]


def template(*pairs):
    values = [ctypes.create_string_buffer(value, len(value)) for _, value in pairs]
    array = (Attribute * len(pairs))()
    for slot, (type_, _), value in zip(array, pairs, values, strict=True):
        slot.type, slot.value, slot.length = type_, ctypes.addressof(value), len(value)
    array.keep_alive = values
    return array


def ulongs(*numbers):
    return struct.pack(f"@{len(numbers)}L", *numbers)


def generate_restricted_aes(session):
    wrapped = template((P.CKA_KEY_TYPE, ulongs(P.CKK_AES)), (P.CKA_ID, b"\1\2"), (P.CKA_EXTRACTABLE, b"\1"))
    wanted = template(
        (P.CKA_CLASS, ulongs(P.CKO_SECRET_KEY)),
        (P.CKA_KEY_TYPE, ulongs(P.CKK_AES)),
        (P.CKA_VALUE_LEN, ulongs(32)),
        (P.CKA_TOKEN, b"\1"),
        (P.CKA_PRIVATE, b"\0"),
        (P.CKA_LABEL, b"golden key"),
        (P.CKA_WRAP_TEMPLATE, bytes(wrapped)),
        (P.CKA_ALLOWED_MECHANISMS, ulongs(P.CKM_AES_GCM, P.CKM_AES_CBC)),
    )
    mechanism = Attribute(P.CKM_AES_KEY_GEN, None, 0)  # CK_MECHANISM has the same shape
    made = ctypes.c_ulong()
    rv = ctypes.CDLL(LIBRARY).C_GenerateKey(
        ctypes.c_ulong(session), ctypes.byref(mechanism), wanted, ctypes.c_ulong(len(wanted)), ctypes.byref(made)
    )
    if rv != P.CKR_OK:
        raise SystemExit(f"C_GenerateKey: {rv:#x}")


def main(partition: Path) -> None:
    tokens = partition / "tokens"
    with softhsm(partition / "softhsm2.conf") as library:
        session = open_token(library, LABEL, PIN)
        seen = set(tokens.glob("*/*.object"))

        def keep(*names: str) -> None:
            new = sorted(set(tokens.glob("*/*.object")) - seen, key=lambda path: path.stat().st_mtime_ns)
            seen.update(new)
            for path, name in zip(new, names, strict=True):
                (HERE / name).write_bytes(path.read_bytes())

        common = [(P.CKA_TOKEN, True), (P.CKA_LABEL, "golden key"), (P.CKA_ID, (0xBE, 0xEF))]
        session.generateKeyPair(
            [*common, (P.CKA_EC_PARAMS, bytes.fromhex("06082a8648ce3d030107"))],
            [*common, (P.CKA_PRIVATE, True)],
            mecha=P.Mechanism(P.CKM_EC_KEY_PAIR_GEN, None),
        )
        keep("p256-public.object", "p256-private.object")
        generate_restricted_aes(session.session.value())
        keep("aes-restricted.object")
    (HERE / "token.object").write_bytes(next(tokens.glob("*/token.object")).read_bytes())


main(Path(sys.argv[1]))
