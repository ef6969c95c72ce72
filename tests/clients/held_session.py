"""A long-running application: keeps its session and its key's handle, signs ten times a second, says what came of each.

Usage: held_session.py pykcs11|python-pkcs11 MODULE TOKEN PIN-FILE LABEL one JSON object a line: {begun, ended, outcome}

After an error it tries the same session thrice more, then finalizes and initializes the library and goes on.
Both packages as their documentation has it; `outcome` is "ok" or the error's name, of initializing anew "again" or
"again: " and the name.
"""

import hashlib
import json
import sys
import time
from pathlib import Path

DIGEST = hashlib.sha256(b"an order").digest()


def pykcs11(module, token, pin, label):
    import PyKCS11

    library = PyKCS11.PyKCS11Lib()
    library.load(module)

    def opened():
        slots = library.getSlotList(tokenPresent=True)
        [slot] = [slot for slot in slots if library.getTokenInfo(slot).label.strip("\0 ") == token]
        session = library.openSession(slot, PyKCS11.CKF_SERIAL_SESSION)
        session.login(pin)
        [key] = session.findObjects([(PyKCS11.CKA_CLASS, PyKCS11.CKO_PRIVATE_KEY), (PyKCS11.CKA_LABEL, label)])
        return lambda: session.sign(key, DIGEST, PyKCS11.Mechanism(PyKCS11.CKM_ECDSA))

    def again():
        library.lib.C_Finalize()
        library.lib.C_Initialize()
        return opened()

    return opened, again


def python_pkcs11(module, token, pin, label):
    import pkcs11

    library = pkcs11.lib(module)

    def opened():
        session = library.get_token(token_label=token).open(user_pin=pin)
        key = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=label)
        return lambda: key.sign(DIGEST, mechanism=pkcs11.Mechanism.ECDSA)

    def again():
        library.reinitialize()
        return opened()

    return opened, again


def attempt(call, name="ok"):
    begun = time.time()
    result = None
    try:
        result = call()
        outcome = name
    except Exception as error:  # noqa: BLE001  whatever the package makes of it is what is asked for
        outcome = str(error) if type(error).__name__ == "PyKCS11Error" else type(error).__name__
        outcome = outcome if name == "ok" else f"{name}: {outcome}"
    print(json.dumps({"begun": begun, "ended": time.time(), "outcome": outcome}), flush=True)
    return outcome == name, result


def main():
    package, module, token, pin_file, label = sys.argv[1:]
    opened, again = {"pykcs11": pykcs11, "python-pkcs11": python_pkcs11}[package](
        module, token, Path(pin_file).read_text(), label
    )
    sign = opened()
    failures = 0
    while True:
        held, _ = attempt(sign)
        failures = 0 if held else failures + 1
        if failures > 3:
            renewed, made = attempt(again, "again")
            if renewed:
                sign, failures = made, 0
        time.sleep(0.1)


main()
