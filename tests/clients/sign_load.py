"""Sign over PKCS#11 with several processes at once, and tell how long signatures took.

usage: python3 sign_load.py MODULE TOKEN KEY PROCESSES SECONDS NICE PAUSE   with the PIN on standard input

Each process opens a session of its own, over a connection of its own, and signs again PAUSE seconds after each
signature. When the last has logged in, {"ready": true} is printed; all begin when another line comes on standard input.
At the end: {"sessions": how many could be opened, "failed": those that broke meanwhile, "signatures", "p50_ms",
"p99_ms", "max_ms"}.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from typing import Any

import PyKCS11

PATIENCE_SECONDS = 60.0
# A place that an earlier connection had is free a moment after it ended, and a login waits while others are counted.
PLACE_SECONDS = 10.0


def session(module: str, token: str, pin: str) -> Any:
    library = PyKCS11.PyKCS11Lib()
    library.load(module)
    slots = library.getSlotList(tokenPresent=True)
    slot = next(slot for slot in slots if library.getTokenInfo(slot).label.strip("\0 ") == token)
    opened = library.openSession(slot, PyKCS11.CKF_SERIAL_SESSION | PyKCS11.CKF_RW_SESSION)
    opened.login(pin)
    return opened


def found(module: str, token: str, pin: str, label: str) -> tuple[Any, Any]:
    """A session and its key, as soon as there is a place for one; PyKCS11Error or StopIteration if none comes."""
    end = time.monotonic() + PLACE_SECONDS
    while True:
        try:
            opened = session(module, token, pin)
            (key,) = opened.findObjects([(PyKCS11.CKA_CLASS, PyKCS11.CKO_PRIVATE_KEY), (PyKCS11.CKA_LABEL, label)])
            return opened, key
        except (PyKCS11.PyKCS11Error, StopIteration):
            if time.monotonic() >= end:
                raise
            time.sleep(0.05)


def signer(order: tuple[str, str, str, str], ready: Any, go: Any, results: Any, seconds: float, pause: float) -> None:
    """Put the milliseconds of every signature and whether all went well, or None if there is no session to be had."""
    module, token, label, pin = order
    try:
        opened, key = found(module, token, pin, label)
    except (PyKCS11.PyKCS11Error, StopIteration):
        ready.release()
        results.put(None)
        return
    mechanism = PyKCS11.Mechanism(PyKCS11.CKM_ECDSA)
    ready.release()
    go.wait()
    taken = []
    end = time.monotonic() + seconds
    # Not all at the same moment, where there is a pause.
    time.sleep(pause * (os.getpid() % 64) / 64)
    well = True
    while (begun := time.monotonic()) < end:
        try:
            opened.sign(key, bytes(32), mechanism)
        except PyKCS11.PyKCS11Error:
            well = False
            break
        taken.append((time.monotonic() - begun) * 1e3)
        time.sleep(pause)
    results.put((taken, well))


def main() -> None:
    module, token, label = sys.argv[1:4]
    processes, seconds = int(sys.argv[4]), float(sys.argv[5])
    nice, pause = int(sys.argv[6]), float(sys.argv[7])
    pin = sys.stdin.readline().strip()
    os.nice(nice)
    ready, go, results = multiprocessing.Semaphore(0), multiprocessing.Event(), multiprocessing.Queue()
    order = (module, token, label, pin)
    running = [
        multiprocessing.Process(target=signer, args=(order, ready, go, results, seconds, pause), daemon=True)
        for _ in range(processes)
    ]
    for process in running:
        process.start()
    for _ in running:
        ready.acquire(timeout=PATIENCE_SECONDS)
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    go.set()
    answers = [results.get(timeout=seconds + PATIENCE_SECONDS) for _ in running]
    sessions = [answer for answer in answers if answer is not None]
    taken = sorted(one for signatures, _ in sessions for one in signatures)
    at = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
    quantiles = (
        {name: taken[min(int(len(taken) * share), len(taken) - 1)] for name, share in at.items()} if taken else {}
    )
    failed = sum(not well for _, well in sessions)
    print(json.dumps({"sessions": len(sessions), "failed": failed, "signatures": len(taken), **quantiles}), flush=True)


if __name__ == "__main__":
    main()
