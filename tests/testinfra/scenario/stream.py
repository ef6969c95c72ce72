"""A subscriber's application that makes one key after another, while things break under it."""

from __future__ import annotations

import threading
import time

from scenario.application import Application, Gone, Pkcs11Error
from scenario.cluster import Cluster
from scenario.waiting import wait_for

# An application does not hammer a service that has just refused it.
_PAUSE_AFTER_ERROR_SECONDS = 0.2
# A steady application, not a load test: thousands of keys would only make every later look at them slow.
_PACE_SECONDS = 0.1


class KeyStream(threading.Thread):
    """Generates P-256 pairs on the subscriber's machine; after an error it connects again, as an application would.

    `prefix`: what all labels begin with. `acknowledged`: labels of the pairs whose generation returned OK. `refused`:
    (label, error) of the others, which may or may not exist: the answer was an error or never came.
    `longest_gap_seconds` between two that returned OK.
    """

    def __init__(self, cluster: Cluster, name: str, partition: str = "acme") -> None:
        super().__init__(name=f"stream-{name}", daemon=True)
        self.acknowledged: list[str] = []
        self.refused: list[tuple[str, str]] = []
        self.longest_gap_seconds = 0.0
        self.prefix = name
        self._cluster, self._partition = cluster, partition
        self._application = Application.remote(cluster.app, partition)
        self._end = threading.Event()
        self._failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._generate()
        except Gone as error:
            if not self._end.is_set():
                self._failure = error

    def _generate(self) -> None:
        connected, last, count = False, time.monotonic(), 0
        while not self._end.is_set():
            label = f"{self.prefix}-{count}"
            try:
                if not connected:
                    self._application.call("login", pin=self._cluster.pin(self._partition))
                    connected = True
                count += 1
                self._application.call("generate_pair", label=label)
            except Gone:
                if connected:
                    self.refused.append((label, "no answer"))
                raise
            except Pkcs11Error as error:
                if connected:
                    self.refused.append((label, error.name))
                connected = False
                self._end.wait(_PAUSE_AFTER_ERROR_SECONDS)
                continue
            now = time.monotonic()
            self.longest_gap_seconds, last = max(self.longest_gap_seconds, now - last), now
            self.acknowledged.append(label)
            self._end.wait(_PACE_SECONDS)

    def await_more(self, keys: int, seconds: float = 60.0) -> None:
        """Until so many further keys returned OK."""
        goal = len(self.acknowledged) + keys
        wait_for(lambda: self._failure or len(self.acknowledged) >= goal, f"{keys} more keys", seconds, 0.02)
        if self._failure is not None:
            raise self._failure

    def finish(self) -> None:
        """After the key that is under way, unless its answer does not come."""
        self._end.set()
        self.join(timeout=20.0)
        self._application.close()
        self.join(timeout=5.0)
        print(
            f"{self.name}: {len(self.acknowledged)} keys returned OK, {len(self.refused)} did not "
            f"({sorted({error for _, error in self.refused})}), longest gap {self.longest_gap_seconds:.1f} s"
        )
