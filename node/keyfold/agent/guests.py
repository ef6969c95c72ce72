"""How many connections at once each of the agent's callers may have, the administrator apart."""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable

from keyfold.errors import KeyfoldError

# More than any package's connections: who has more is not a p11-kit process per connection.
DEFAULT_MOST = 512
# Who is neither root nor a partition's user is told so, and has nothing else to ask.
STRANGERS_MOST = 4
_UCRED = struct.Struct("3i")


class Guests:
    """Connections by uid, known by their descriptor until they are closed. Thread-safe."""

    def __init__(self, most: Callable[[str], int]) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._uids: dict[int, int] = {}
        self._count: Counter[int] = Counter()

    def admit(self, descriptor: int, uid: int, partition: str | None) -> bool:
        """Whether there is room for one more of this uid; `partition` None: a stranger."""
        most = STRANGERS_MOST if partition is None else self._most(partition)
        with self._lock:
            if self._count[uid] >= most:
                return False
            self._count[uid] += 1
            self._uids[descriptor] = uid
            return True

    def leave(self, descriptor: int) -> None:
        """Before the descriptor is closed; one that was not counted is passed over."""
        with self._lock:
            uid = self._uids.pop(descriptor, None)
            if uid is not None:
                self._count[uid] -= 1
                if not self._count[uid]:
                    del self._count[uid]


def peer_uid(connection: socket.socket) -> int:
    """Who is at the other end, says the kernel (SO_PEERCRED, unix(7))."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    _, uid, _ = _UCRED.unpack(raw)
    return int(uid)


def too_many(uid: int) -> KeyfoldError:
    return KeyfoldError(
        "denied",
        f"user {uid} has as many connections to the agent open as it may have",
        not_done="the request was not read",
        next_step="close some; the limit is max_connections of the partition's package (docs/packages.md)",
    )
