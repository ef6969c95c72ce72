"""keyfold-agent: signals, readiness and the socket; the work is in `service`."""

from __future__ import annotations

import logging
import signal
import sys
import threading

from keyfold import config as configuration
from keyfold.agent import sdnotify
from keyfold.agent.admin import AdminOperations, administrator_only
from keyfold.agent.backup_keys import BackupKeys
from keyfold.agent.commits import Commits
from keyfold.agent.custody_operations import CustodyOperations
from keyfold.agent.genesis import Genesis
from keyfold.agent.handover import Handover
from keyfold.agent.jobs import Jobs
from keyfold.agent.logins import Logins
from keyfold.agent.machine import Machine
from keyfold.agent.media import Media
from keyfold.agent.partitions import Partitions
from keyfold.agent.rebuilding import Rebuilding
from keyfold.agent.restoring import Restoring
from keyfold.agent.server import AgentServer, Operation
from keyfold.agent.service import Service
from keyfold.agent.shadows import Shadows
from keyfold.agent.subscriber import SubscriberOperations
from keyfold.approval.gate import Gate
from keyfold.clock import SystemClock
from keyfold.custody.media_keys import TokenMediaKeys
from keyfold.errors import KeyfoldError
from keyfold.replication.base import open_base
from keyfold.store import open_store

_POLL_SECONDS = 0.1


def operations(service: Service, handover: Handover | None = None) -> dict[str, Operation]:
    """Everything the socket offers, by name."""
    partitions = Partitions(service, handover=handover)
    logins = Logins(service.logins)
    gate = Gate(service.store, service.clock)
    shadows = Shadows(service, partitions, gate)
    media_keys = TokenMediaKeys(service.config.state / "agent")
    media_keys.clear()
    media = Media(service, media_keys)
    custody = CustodyOperations(BackupKeys(service), Rebuilding(service, media))
    admin = AdminOperations(service, Genesis(service), partitions)
    restoring = Restoring(service, partitions, gate).table()
    return {
        **admin.table(),
        **custody.table(),
        **logins.table(),
        **{name: administrator_only(operation) for name, operation in restoring.items()},
        **media.table(),
        **Jobs(service.config, service.store, service.clock).table(),
        **SubscriberOperations(service, partitions).table(),
        "partition_unlock": administrator_only(logins.unlock),
        "object_reactivate": administrator_only(shadows.reactivate),
        "object_purge": administrator_only(shadows.purge),
        "object_expire": administrator_only(service.expirer.operation),
        "commit": Commits(service.registry).commit,
    }


def main() -> int:
    """Run until SIGTERM or SIGINT; the exit status is that of docs/interfaces.md §6."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    # A commit hands the interpreter between threads several times; the default 5 ms would be most of its cost.
    sys.setswitchinterval(0.0005)
    try:
        config = configuration.load()
        state = config.state / "agent"
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        base = open_base(state / "base.sqlite")
        machine = Machine(config)
        machine.publish_kept_policies()
        service = Service(config, open_store(config.etcd), machine, base, SystemClock())
        server = AgentServer(config.agent_socket, operations(service), config.callers_per_partition)
    except KeyfoldError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=server.serve_forever, name="socket", daemon=True).start()
    service.start()
    # Ready means: what etcd declares is open here, or etcd cannot be reached and an isolated node serves what it has.
    while not stop.is_set() and not service.follower.tried.wait(_POLL_SECONDS):
        pass
    sdnotify.ready()
    stop.wait()
    server.shutdown()
    service.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
