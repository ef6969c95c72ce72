"""Run a command: timed.py COMMAND…, standard input passed on; prints {"seconds", "rss_mb", "output"}.

`rss_mb`: the most memory that the command and all its children had resident together, looked at every 50 ms, in MB.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_LOOK_SECONDS = 0.05


def _family(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _family(int(child))


def _resident_kilobytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")), 0)


def _resident_megabytes(pid: int) -> float:
    """Of a process and its children; 0 if one of them ended while it was looked at."""
    try:
        return sum(_resident_kilobytes(one) for one in _family(pid)) * 1024 / 1e6
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def main() -> None:
    peak, ended = 0.0, threading.Event()
    begun = time.monotonic()
    process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True)

    def look() -> None:
        nonlocal peak
        while not ended.wait(_LOOK_SECONDS):
            peak = max(peak, _resident_megabytes(process.pid))

    watcher = threading.Thread(target=look)
    watcher.start()
    output, _ = process.communicate()
    seconds = time.monotonic() - begun
    ended.set()
    watcher.join()
    if process.returncode != 0:
        sys.exit(f"{sys.argv[1]} ended with {process.returncode}: {output}")
    print(json.dumps({"seconds": seconds, "rss_mb": peak, "output": output}))


main()
