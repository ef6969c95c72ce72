"""Make a token outside Keyfold's reach, where SOFTHSM2_CONF says: scratch_token.py LABEL, the PIN on standard input."""

import sys

import PyKCS11

from benchmarks.programs.subscriber import SOFTHSM


def main() -> None:
    label = sys.argv[1]
    pin = sys.stdin.readline().strip()
    library = PyKCS11.PyKCS11Lib()
    library.load(SOFTHSM)
    library.initToken(library.getSlotList()[0], pin, label)
    # SoftHSM gives a token its slot when it is initialised, and the empty one a new number.
    slots = library.getSlotList(tokenPresent=True)
    slot = next(slot for slot in slots if library.getTokenInfo(slot).label.strip("\0 ") == label)
    session = library.openSession(slot, PyKCS11.CKF_SERIAL_SESSION | PyKCS11.CKF_RW_SESSION)
    session.login(pin, PyKCS11.CKU_SO)
    session.initPin(pin)


main()
