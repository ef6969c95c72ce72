"""What one connection may ask, in whatever order a client comes up with: each request is answered or refused."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from keyfold.errors import KeyfoldError
from keyfold.subscriber.node.export import Export, Selection
from keyfold.subscriber.node.import_ import Import
from keyfold.subscriber.protocol import PLAIN

if TYPE_CHECKING:
    from keyfold.subscriber.node.token import Token

Message = Mapping[str, Any]
_RSA_BYTES = range(256, 1025)


class Agent(Protocol):
    def call(self, op: str, **params: Any) -> dict[str, Any]:
        """One request to the node's agent, which knows the partition by the caller's uid."""


class Conversation:
    """`open_token(pin)` logs in to the partition's token."""

    def __init__(self, agent: Agent, open_token: Callable[[str], Token]) -> None:
        self._agent = agent
        self._open = open_token
        self._token: Token | None = None
        self._import: Import | None = None

    def answer(self, request: Message) -> Iterator[dict[str, Any]]:
        """Replies with `ok`; a KeyfoldError or a defect of ours is the server's to turn into one."""
        op = str(request.get("op"))
        if op in PLAIN:
            # Only what the operation knows is handed on: a partition's name, above all, is not.
            known = {key: request[key] for key in ("invalidated", "keep") if key in request}
            yield _ok(self._agent.call(PLAIN[op], **known))
        elif op == "export":
            yield from self._export(request)
        elif op == "import_begin":
            yield _ok(self._import_begin(request))
        elif op in ("import_key", "import_object", "import_discard"):
            yield _ok(self._imported(op, request))
        else:
            raise _invalid("there is no such operation")

    def _login(self, request: Message) -> tuple[Token, dict[str, Any]]:
        """A token for the PIN of this very request, and the policy in force."""
        pin = request.get("pin")
        if not isinstance(pin, str) or not pin:
            raise _invalid("the PIN is missing")
        policy = self._agent.call("subscriber_policy")["policy"]
        if policy.get("client_api_access") is not True:
            raise KeyfoldError(
                "denied",
                "the partition's policy has client_api_access false",
                not_done="nothing was exported or imported",
                next_step="the operator can have it changed",
            )
        if self._token is not None:
            raise _invalid("this connection has logged in already")
        self._token = self._open(pin)
        return self._token, policy

    def _export(self, request: Message) -> Iterator[dict[str, Any]]:
        selection = Selection.of(request.get("selection"))
        modulus, exponent = (_number(request.get(key)) for key in ("modulus", "exponent"))
        if len(modulus) not in _RSA_BYTES:
            raise _invalid("the recipient's RSA key has not 2048 to 8192 bits")
        token, policy = self._login(request)
        export = Export(token, policy)
        chosen, refused = export.plan(selection, skip_refused=request.get("skip_refused") is True)
        self._agent.call("subscriber_note", what="export", objects=len(chosen))
        yield _ok({"count": len(chosen), "refused": refused})
        for part in export.run(chosen, modulus, exponent):
            yield _ok(part)
        yield _ok({"end": True})

    def _import_begin(self, request: Message) -> dict[str, Any]:
        rows = request.get("objects")
        if self._import is not None:
            raise _invalid("an import is under way already")
        token, policy = self._login(request)
        self._import = Import(token, policy)
        existing = self._import.existing(rows)
        reply: dict[str, Any] = {"existing": existing}
        if request.get("keys") is True:
            reply |= self._import.begin()
        if request.get("check") is not True and isinstance(rows, list):
            self._agent.call("subscriber_note", what="import", objects=len(rows))
        return reply

    def _imported(self, op: str, request: Message) -> dict[str, Any]:
        if self._import is None:
            raise _invalid("no import was begun")
        if op == "import_key":
            self._import.key(request.get("kek"))
            return {}
        if op == "import_object":
            return self._import.add(request.get("object"), request.get("digest"))
        return {"discarded": self._import.discard()}


def _ok(reply: Message) -> dict[str, Any]:
    return {"ok": True, **{key: value for key, value in reply.items() if key != "ok"}}


def _number(text: object) -> bytes:
    try:
        if isinstance(text, str):
            return base64.b64decode(text, validate=True).lstrip(b"\0")
    except (binascii.Error, ValueError):
        pass
    raise _invalid("the recipient's RSA key is missing")


def _invalid(what: str) -> KeyfoldError:
    return KeyfoldError(
        "invalid", what, not_done="nothing was read or changed", next_step="use the command keyfold-subscriber"
    )
