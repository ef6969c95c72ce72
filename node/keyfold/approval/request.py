"""A request for approval: a YAML file that a person reads and officers sign, byte for byte (docs/approvals.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from keyfold.errors import KeyfoldError

KINDS = frozenset(
    {
        "export",
        "officers",
        "partition",
        "policy",
        "purge",
        "reactivate",
        "rebuild",
        "restore",
        "rotate",
        "unlock",
    }
)
"""What can be approved; a request of any other kind is refused before anybody looks at signatures."""

MAX_REQUEST_BYTES = 256 * 1024
MAX_AHEAD = timedelta(days=30)
_TEXTS = ("kind", "cluster", "ticket", "reason", "requested_by", "expires")


@dataclass(frozen=True, slots=True)
class Request:
    """`raw`: the exact bytes that are signed. `own`: the fields of its kind. `partition` None: of the whole cluster."""

    raw: bytes
    kind: str
    cluster: str
    partition: str | None
    ticket: str
    reason: str
    requested_by: str
    expires: datetime
    own: Mapping[str, Any]

    @property
    def id(self) -> str:
        """SHA-256 of the exact bytes, hex: one request can be used once."""
        return hashlib.sha256(self.raw).hexdigest()


def parse(raw: bytes) -> Request:
    """KeyfoldError `invalid` says what is wrong with the file; nothing in it has been believed yet."""
    fields = _mapping(raw)
    for name in _TEXTS:
        value = fields.get(name)
        if not isinstance(value, str) or not value.strip():
            raise _invalid(f"'{name}' is missing, empty or not text", f"write {name}: … as text")
    if fields["kind"] not in KINDS:
        raise _invalid(f"there is no kind {fields['kind']!r}", f"use one of {', '.join(sorted(KINDS))}")
    partition = fields.get("partition")
    if partition is not None and (not isinstance(partition, str) or not partition):
        raise _invalid("'partition' is not a partition's name", "name it, or leave it out if the kind has none")
    common = {*_TEXTS, "partition"}
    own = {key: value for key, value in fields.items() if key not in common}
    texts = {name: fields[name] for name in _TEXTS if name != "expires"}
    return Request(raw=raw, partition=partition, expires=_moment(fields["expires"]), own=own, **texts)


def mismatches(
    request: Request, *, cluster: str, kind: str, partition: str | None, subject: Mapping[str, Any], now: datetime
) -> list[str]:
    """Every way in which the request is not for exactly this, now; empty if it is."""
    found = [
        f"it has {name}: {asked}, not {wanted}"
        for name, asked, wanted in (
            ("cluster", request.cluster, cluster),
            ("kind", request.kind, kind),
            ("partition", request.partition, partition),
        )
        if asked != wanted
    ]
    if kind == request.kind:
        for name in sorted({*subject, *request.own}):
            if name not in subject:
                found.append(f"it asks for {name}: {_short(request.own[name])}, which {kind} does not know")
            elif name not in request.own:
                found.append(f"it lacks {name}: {_short(subject[name])}")
            elif _canonical(request.own[name]) != _canonical(subject[name]):
                found.append(f"it has {name}: {_short(request.own[name])}, not {_short(subject[name])}")
    return found + expiry_problems(request, now)


def expiry_problems(request: Request, now: datetime) -> list[str]:
    if request.expires <= now:
        return [f"it expired at {_text(request.expires)} (now: {_text(now)})"]
    if request.expires > now + MAX_AHEAD:
        return [f"it expires at {_text(request.expires)}, more than {MAX_AHEAD.days} days ahead"]
    return []


def _mapping(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_REQUEST_BYTES:
        raise _invalid(f"it has {len(raw)} bytes", f"keep it below {MAX_REQUEST_BYTES} bytes: split what is asked for")
    try:
        # A SafeLoader: it builds plain values only.
        fields = yaml.load(raw.decode("utf-8"), _Loader)  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" in line {mark.line + 1}"
        reason = getattr(error, "problem", None) or "not UTF-8 text, or nested too deeply"
        raise _invalid(f"it is not YAML as Keyfold reads it{where}: {reason}", "see docs/approvals.md") from None
    if not isinstance(fields, dict):
        raise _invalid("it is not a mapping", "write it as 'key: value' lines, see docs/approvals.md")
    try:
        _canonical(fields)
    except (TypeError, ValueError):
        raise _invalid("it has values that JSON does not know", "use text, whole numbers, true/false, lists") from None
    return fields


class _Loader(yaml.SafeLoader):
    """One reading for a person and a program: no aliases, no key twice, no timestamps made out of text."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", self._where())
        return super().compose_node(parent, index)

    def _where(self) -> Any:
        return self.peek_event().start_mark  # type: ignore[no-untyped-call]

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                raise yaml.constructor.ConstructorError(None, None, "a key that is not plain text", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() != timedelta(0):
        raise _invalid(f"'expires' is {text!r}, not a moment in UTC", "write it as 2026-01-31T18:00:00Z (RFC 3339)")
    return moment.astimezone(UTC)


def _canonical(value: Any) -> str:
    """Tells 1 from true and from "1"; the order of keys does not matter, that of lists does."""
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _short(value: Any) -> str:
    text = _canonical(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _invalid(what: str, next_step: str) -> KeyfoldError:
    return KeyfoldError(
        "invalid",
        f"the request cannot be used: {what}",
        not_done="nothing was approved or changed",
        next_step=next_step,
    )
