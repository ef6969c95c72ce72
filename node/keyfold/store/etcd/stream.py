"""From the bytes of a watch to whole batches; no I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from keyfold.store.etcd.codec import event, header_revision, number
from keyfold.store.interface import Batch, Event


class StreamEnded(Exception):
    """The server ended this stream for a reason that another connection may not have."""


class HistoryGone(Exception):
    """The server ended this stream because revisions it asked for are compacted."""

    def __init__(self, compact_revision: int) -> None:
        super().__init__(compact_revision)
        self.compact_revision = compact_revision


class Lines:
    """Splits a stream of bytes into its newline-terminated JSON objects, however it was cut on the way."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that `data` completes."""
        searched = len(self._buffer)
        self._buffer += data
        start = 0
        while (end := self._buffer.find(b"\n", max(start, searched))) >= 0:
            yield bytes(self._buffer[start:end])
            start = end + 1
        del self._buffer[:start]


@dataclass
class Assembler:
    """Turns watch responses into batches of whole revisions with strictly rising `Batch.revision`.

    A fragmented response may be cut within a revision: the newest revision is held back until the next one begins or
    the response ends. `delivered` is the revision up to which everything was handed out.
    """

    delivered: int
    _held: list[Event] = field(default_factory=list)

    def feed(self, line: bytes) -> Batch | None:
        """The batch this response completes, if any. Raises StreamEnded or HistoryGone."""
        message = json.loads(line)
        if "error" in message:
            raise StreamEnded(str(message["error"].get("message", message["error"])))
        response = message["result"]
        if response.get("canceled", False):
            compacted = number(response, "compact_revision")
            if compacted:
                raise HistoryGone(compacted)
            raise StreamEnded(str(response.get("cancel_reason", "canceled")))
        if response.get("created", False) and "events" not in response:
            # Its header has the store's revision, up to which nothing has been delivered yet.
            return None
        return self._batch(response)

    def _batch(self, response: dict[str, Any]) -> Batch | None:
        if "events" not in response:
            # A progress notification. One from a member that lags behind says nothing new.
            revision = header_revision(response)
            return self._deliver(Batch(revision, ())) if revision > self.delivered else None
        self._held += map(event, response["events"])
        newest = self._held[-1].mod_revision
        complete = self._held
        if response.get("fragment", False):
            complete = [e for e in self._held if e.mod_revision != newest]
            self._held = self._held[len(complete) :]
        else:
            self._held = []
        return self._deliver(Batch(complete[-1].mod_revision, tuple(complete))) if complete else None

    def _deliver(self, batch: Batch) -> Batch:
        self.delivered = batch.revision
        return batch
