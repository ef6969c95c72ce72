"""A subscriber's own program: signs and verifies with a key pair in the cluster. Plain PyKCS11, nothing of Keyfold's.

Usage: application.py MODULE TOKEN sign|verify LABEL FILE SIGNATURE     (the PIN is in KEYFOLD_PIN)
"""

import hashlib
import os
import sys
from pathlib import Path

import PyKCS11

ECDSA = PyKCS11.Mechanism(PyKCS11.CKM_ECDSA)


def main() -> None:
    module, token, action, label, file, signature = sys.argv[1:]
    library = PyKCS11.PyKCS11Lib()
    library.load(module)
    slots = library.getSlotList(tokenPresent=True)
    slot = next(slot for slot in slots if library.getTokenInfo(slot).label.strip("\0 ") == token)
    session = library.openSession(slot, PyKCS11.CKF_SERIAL_SESSION)
    session.login(os.environ["KEYFOLD_PIN"])

    def find(object_class: int) -> PyKCS11.CK_OBJECT_HANDLE:
        (found,) = session.findObjects([(PyKCS11.CKA_CLASS, object_class), (PyKCS11.CKA_LABEL, label)])
        return found

    digest = hashlib.sha256(Path(file).read_bytes()).digest()
    if action == "sign":
        Path(signature).write_bytes(bytes(session.sign(find(PyKCS11.CKO_PRIVATE_KEY), digest, ECDSA)))
    elif not session.verify(find(PyKCS11.CKO_PUBLIC_KEY), digest, Path(signature).read_bytes(), ECDSA):
        sys.exit(f"{signature} is no signature of {file} by {label}")


main()
