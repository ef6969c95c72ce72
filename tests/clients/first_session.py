"""How long a new application waits for its session: {seconds}, from C_Initialize until it is logged in.

Usage: first_session.py MODULE PIN-FILE
"""

import json
import sys
import time
from pathlib import Path

import PyKCS11

module, pin_file = sys.argv[1:]
pin = Path(pin_file).read_text()
begun = time.monotonic()
library = PyKCS11.PyKCS11Lib()
library.load(module)
library.openSession(library.getSlotList(tokenPresent=True)[0]).login(pin)
print(json.dumps({"seconds": time.monotonic() - begun}))
