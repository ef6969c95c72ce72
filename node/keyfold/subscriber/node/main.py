"""keyfold-subscriber@PARTITION.service: a process per connection, as the partition's user; none while nobody asks.

Of its own for each, because a PKCS#11 login is the process's: nobody may find the token open that another's PIN opened.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import socketserver
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from keyfold.agent.client import AgentClient
from keyfold.errors import KeyfoldError
from keyfold.package import SELF_SERVICE_CONNECTIONS
from keyfold.partition.policy import check_name
from keyfold.subscriber.node.conversation import Conversation
from keyfold.subscriber.protocol import encode, read

if TYPE_CHECKING:
    from keyfold.subscriber.node.token import Token

log = logging.getLogger(__name__)

# sd_listen_fds(3).
_FIRST_DESCRIPTOR = 3
_IDLE_SECONDS = 20.0
_SILENCE_SECONDS = 60.0
_LONGEST_SECONDS = 900
_AGENT = Path(os.environ.get("KEYFOLD_AGENT_SOCKET", "/run/keyfold/agent.sock"))
_MODULE = f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}/pkcs11/keyfold-pkcs11.so"


class _Handler(socketserver.StreamRequestHandler):
    server: SubscriberServer
    timeout = _SILENCE_SECONDS

    def setup(self) -> None:
        super().setup()
        # Against one who keeps a process by sending a byte now and then.
        signal.alarm(_LONGEST_SECONDS)

    def handle(self) -> None:
        conversation = self.conversation()
        try:
            while self._once(conversation):
                pass
        except (ConnectionError, TimeoutError):
            return

    def conversation(self) -> Conversation:
        return Conversation(AgentClient(self.server.agent), self._token)

    def _token(self, pin: str) -> Token:
        from keyfold.subscriber.node.token import Token  # PKCS#11 only in a process that needs it

        return Token(self.server.module, self.server.partition, pin)

    def _once(self, conversation: Conversation) -> bool:
        """One request; False when the connection is to end."""
        try:
            request = read(self.rfile)
            if request is None:
                return False
        except KeyfoldError as error:
            self.wfile.write(encode(error.as_reply()))
            return False
        try:
            for reply in conversation.answer(request):
                self.wfile.write(encode(reply))
        except KeyfoldError as error:
            self.wfile.write(encode(error.as_reply()))
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:  # noqa: BLE001 - without the trace: it may quote the request, which holds a PIN
            log.error("a defect in keyfold-subscriber: %s", type(error).__name__)
            self.wfile.write(encode(_defect().as_reply()))
            return False
        return True


class SubscriberServer(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    """On a listening socket; `idle` once nobody has been connected for `timeout` seconds."""

    max_children = SELF_SERVICE_CONNECTIONS
    handler: type[_Handler] = _Handler

    def __init__(self, listener: socket.socket, partition: str, module: str = _MODULE, agent: Path = _AGENT) -> None:
        socketserver.BaseServer.__init__(self, listener.getsockname(), self.handler)
        self.socket = listener
        self.timeout = _IDLE_SECONDS
        self.partition = partition
        self.module = module
        self.agent = agent
        self.idle = False

    def handle_timeout(self) -> None:
        super().handle_timeout()
        self.idle = not self.active_children


def _defect() -> KeyfoldError:
    return KeyfoldError(
        "internal",
        "the node met a defect of its own",
        not_done="the request may be carried out in part",
        next_step="keyfold-subscriber objects; then tell the operator",
    )


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        partition = check_name(sys.argv[1] if len(sys.argv) == 2 else None)
    except KeyfoldError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    server = SubscriberServer(socket.socket(fileno=_FIRST_DESCRIPTOR), partition)
    while not server.idle:
        server.handle_request()
        # Unlike serve_forever, that leaves the processes which have ended, and the limit of `max_children`, to us.
        server.service_actions()
    return 0


if __name__ == "__main__":
    sys.exit(main())
