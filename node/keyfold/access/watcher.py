"""keyfold-connections.service: end connections whose certificate is not good any more, without a playbook's run."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from pathlib import Path

from keyfold.access.certificates import no_longer_good, parse_connection, revoked_serials
from keyfold.access.proxy import Proxy, Worker
from keyfold.clock import Clock

log = logging.getLogger(__name__)

CRL = Path("/etc/keyfold/pki/crl.pem")
# A revoked certificate's connections end within a minute, says the design; this leaves room for a slow HAProxy.
PERIOD_SECONDS = 10.0


class Watcher:
    def __init__(self, proxy: Proxy, clock: Clock, crl: Path = CRL) -> None:
        self._proxy = proxy
        self._clock = clock
        self._crl = crl
        self._told_of: int | None = None
        self._revoked: frozenset[int] = frozenset()
        self._problem = ""

    def run(self, stop: threading.Event) -> None:
        """Until `stop`. What goes wrong is told once, and tried again."""
        while not stop.is_set():
            try:
                self.step()
                self._problem = ""
            except (OSError, ValueError) as error:
                if str(error) != self._problem:
                    log.error("connections could not be checked: %s; they are checked again", error)
                self._problem = str(error)
            stop.wait(PERIOD_SECONDS)

    def step(self) -> None:
        """One look at every open connection. OSError, ValueError: HAProxy or the revocation list could not be read."""
        try:
            workers = self._proxy.workers()
        except (FileNotFoundError, ConnectionRefusedError):
            return  # HAProxy does not run: nobody is connected.
        changed = self._crl.stat().st_mtime_ns
        news = changed != self._told_of
        if news:
            self._revoked = revoked_serials(self._crl.read_bytes())
        for worker in workers:
            connections = [parse_connection(key) for key in self._proxy.keys(worker)]
            ended = no_longer_good(connections, self._revoked, self._clock.utc())
            if ended:
                self._proxy.end(worker, frozenset(connection.peer for connection, _ in ended))
            for (partition, serial, reason), count in Counter(
                (connection.partition, connection.serial, reason) for connection, reason in ended
            ).items():
                log.warning(
                    "ended %d connections of partition %s: certificate %040x is %s", count, partition, serial, reason
                )
        # Last: what is open has to end even where HAProxy cannot be told.
        if news:
            self._tell(workers, changed)

    def _tell(self, workers: list[Worker], changed: int) -> None:
        """A list that is newer than the HAProxy that should go by it is told to it, once if it hears."""
        started = [self._clock.utc().timestamp() - worker.age_seconds for worker in workers[:1]]
        if started and changed / 1e9 > started[0] - 1:
            log.info("the revocation list has changed; HAProxy reads it: %s", self._proxy.reload().strip()[:500])
        self._told_of = changed
