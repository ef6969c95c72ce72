"""`age-plugin-keyfold`: lets the stock `age` command use the cluster's backup key (https://c2sp.org/age-plugin).

Wrapping needs only the recipient. Unwrapping uses the private key inside the system partition, through PKCS#11.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import BinaryIO

from keyfold.backup import age_ipc, recipient, stanza
from keyfold.backup.age_ipc import Stanza
from keyfold.custody.keys import SystemKeys
from keyfold.errors import KeyfoldError

FOREIGN = (
    "this is a backup of another cluster: it is encrypted to a key this cluster does not have, "
    "or, on an offline medium, does not have any more"
)

OpenKeys = Callable[[], SystemKeys]


def main() -> int:
    """Entry point; age starts it with `--age-plugin=recipient-v1` or `identity-v1`."""
    return serve(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer, open_system_keys)


def open_system_keys() -> SystemKeys:
    """This node's system partition, opened with its PIN from the credentials."""
    # Here: wrapping needs none of it, and loading PKCS#11 takes longer than all the rest.
    from keyfold import config
    from keyfold.custody.token_keys import TokenSystemKeys
    from keyfold.partition.policy import SYSTEM

    directory = config.load().partition_directory(SYSTEM)
    return TokenSystemKeys(directory / "softhsm2.conf", SYSTEM, config.credential("system.pin"))


def serve(arguments: Sequence[str], incoming: BinaryIO, outgoing: BinaryIO, open_keys: OpenKeys) -> int:
    """Run one state machine; exit status 0 when it came to its end, also if it had to report errors."""
    machines = {"--age-plugin=recipient-v1": _Wrapping, "--age-plugin=identity-v1": _Unwrapping}
    machine = machines.get(arguments[0]) if len(arguments) == 1 else None
    if machine is None:
        sys.stderr.write("age-plugin-keyfold is started by age: age -r age1keyfold1…, age -d -i identity-file\n")
        return 2
    try:
        machine(incoming, outgoing).run(open_keys)
    except (ValueError, EOFError) as error:
        sys.stderr.write(f"age-plugin-keyfold: {error}\n")
        return 1
    return 0


class _Machine(ABC):
    """Phase 1: age sends commands up to `done`. Phase 2: the plugin does, and age answers each."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._errors: list[Stanza] = []

    def run(self, open_keys: OpenKeys) -> None:
        while (command := age_ipc.read(self._incoming)).type != "done":
            self.take(command)
        results = [] if self._errors else self.results(open_keys)
        for result in self._errors or results:
            self._tell(result)
        age_ipc.write(self._outgoing, Stanza("done"))

    @abstractmethod
    def take(self, command: Stanza) -> None:
        """Remember a command of phase 1; unknown ones are ignored."""

    @abstractmethod
    def results(self, open_keys: OpenKeys) -> list[Stanza]:
        """What to send in phase 2; errors go to `fail`, and then nothing else is sent."""

    def fail(self, message: str, *about: str) -> None:
        """Report an error about `internal`, `recipient N`, `identity N` or `stanza FILE N`."""
        self._errors.append(Stanza("error", about or ("internal",), message.encode()))

    def _tell(self, message: Stanza) -> None:
        age_ipc.write(self._outgoing, message)
        # Whatever age answers (`ok`, `fail`, `unsupported`), there is nothing else to try.
        age_ipc.read(self._incoming)


class _Wrapping(_Machine):
    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        super().__init__(incoming, outgoing)
        self._points: list[bytes] = []
        self._file_keys: list[bytes] = []
        self._identities = 0

    def take(self, command: Stanza) -> None:
        if command.type == "add-recipient":
            index = str(len(self._points))
            try:
                self._points.append(recipient.decode_recipient(*command.arguments))
            except (ValueError, TypeError) as error:
                self._points.append(b"")
                self.fail(f"not a recipient of Keyfold: {error}", "recipient", index)
        elif command.type == "add-identity":
            self.fail("encrypt to the recipient (keyfold cluster info)", "identity", str(self._identities))
            self._identities += 1
        elif command.type == "wrap-file-key":
            self._file_keys.append(command.body)

    def results(self, open_keys: OpenKeys) -> list[Stanza]:
        sent = []
        for index, file_key in enumerate(self._file_keys):
            for point in self._points:
                wrapped = stanza.wrap(file_key, point).as_stanza()
                sent.append(Stanza("recipient-stanza", (str(index), wrapped.type, *wrapped.arguments), wrapped.body))
        return sent


class _Unwrapping(_Machine):
    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        super().__init__(incoming, outgoing)
        self._tags: list[bytes] = []
        self._stanzas: list[tuple[str, Stanza]] = []

    def take(self, command: Stanza) -> None:
        if command.type == "add-identity":
            index = str(len(self._tags))
            try:
                self._tags.append(recipient.decode_identity(*command.arguments))
            except (ValueError, TypeError) as error:
                self._tags.append(b"")
                self.fail(f"not an identity of Keyfold: {error}", "identity", index)
        elif command.type == "recipient-stanza" and len(command.arguments) >= 2:
            file, kind, *arguments = command.arguments
            self._stanzas.append((file, Stanza(kind, tuple(arguments), command.body)))

    def results(self, open_keys: OpenKeys) -> list[Stanza]:
        wrapped = self._wrapped()
        if self._errors or not wrapped:
            return []
        wanted = [(file, index, key) for file, index, key in wrapped if key.tag in self._tags]
        if not wanted:
            return [Stanza("msg", body=FOREIGN.encode())]
        try:
            with open_keys() as keys:
                return self._unwrapped(wanted, keys)
        except KeyfoldError as error:
            self.fail(str(error))
            return []

    def _wrapped(self) -> list[tuple[str, int, stanza.WrappedKey]]:
        """Our stanzas as (file, index of the stanza within its file, key); malformed ones are reported."""
        found = []
        indexes: dict[str, int] = {}
        for file, received in self._stanzas:
            index = indexes[file] = indexes.get(file, -1) + 1
            if received.type != stanza.TYPE:
                continue
            try:
                found.append((file, index, stanza.WrappedKey.from_stanza(received)))
            except ValueError as error:
                self.fail(f"the header was altered: {error}", "stanza", file, str(index))
        return found

    def _unwrapped(self, wanted: list[tuple[str, int, stanza.WrappedKey]], keys: SystemKeys) -> list[Stanza]:
        pairs = {recipient.tag(point): (label, point) for label, point in keys.opening_keys().items()}
        file_keys: dict[str, Stanza] = {}
        for file, index, wrapped in wanted:
            if wrapped.tag not in pairs:
                return [Stanza("msg", body=FOREIGN.encode())]
            label, point = pairs[wrapped.tag]
            try:
                file_key = stanza.unwrap(wrapped, point, partial(keys.ecdh, label=label))
            except ValueError as error:
                self.fail(f"the header was altered: {error}", "stanza", file, str(index))
                return []
            file_keys.setdefault(file, Stanza("file-key", (file,), file_key))
        return list(file_keys.values())


if __name__ == "__main__":
    sys.exit(main())
