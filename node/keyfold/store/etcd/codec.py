"""Between the interface's types and the gateway's JSON.

There keys and values are in base64, 64-bit numbers are text, and zeros are left out. Message names are those of
etcd's rpc.proto.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from keyfold.store.interface import Event, KeyValue, Op, Put, TxnResult, Unchanged

Json = Mapping[str, Any]


def encode(message: Json) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def text64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def key64(key: str) -> str:
    return text64(key.encode())


def prefix_end(prefix: bytes) -> bytes:
    """The first key after all keys that start with `prefix`; a zero byte stands for "to the end"."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"


def number(message: Json, field: str) -> int:
    return int(message.get(field, 0))


def header_revision(message: Json) -> int:
    return number(message["header"], "revision")


def key_value(message: Json) -> KeyValue:
    return KeyValue(
        key=b64decode(message["key"]).decode(),
        value=b64decode(message.get("value", "")),
        mod_revision=number(message, "mod_revision"),
        create_revision=number(message, "create_revision"),
        version=number(message, "version"),
        lease=number(message, "lease"),
    )


def key_values(range_response: Json) -> list[KeyValue]:
    return [key_value(kv) for kv in range_response.get("kvs", ())]


def event(message: Json) -> Event:
    kv = key_value(message["kv"])
    return Event(kv.key, None if message.get("type") == "DELETE" else kv, kv.mod_revision)


def get_request(key: str, *, serializable: bool, revision: int) -> bytes:
    return encode({"key": key64(key), "serializable": serializable, "revision": str(revision)})


def page_request(start: bytes, end: bytes, *, revision: int, limit: int, keys_only: bool) -> bytes:
    return encode(
        {
            "key": text64(start),
            "range_end": text64(end),
            "revision": str(revision),
            "limit": str(limit),
            "keys_only": keys_only,
        }
    )


def txn_request(compares: Sequence[Unchanged], ops: Sequence[Op]) -> bytes:
    """A TxnRequest whose failure branch reads the compared keys, so that one round trip says what holds instead."""
    return encode(
        {
            "compare": [
                {"key": key64(c.key), "target": "MOD", "result": "EQUAL", "mod_revision": str(c.mod_revision)}
                for c in compares
            ],
            "success": [_request_op(op) for op in ops],
            "failure": [{"request_range": {"key": key64(c.key)}} for c in compares],
        }
    )


def _request_op(op: Op) -> Json:
    if isinstance(op, Put):
        return {"request_put": {"key": key64(op.key), "value": text64(op.value), "lease": str(op.lease)}}
    return {"request_delete_range": {"key": key64(op.key)}}


def txn_result(compares: Sequence[Unchanged], response: Json) -> TxnResult:
    if response.get("succeeded", False):
        return TxnResult(True, header_revision(response), {})
    current: dict[str, KeyValue | None] = {}
    for compare, answer in zip(compares, response["responses"], strict=True):
        found = key_values(answer["response_range"])
        current[compare.key] = found[0] if found else None
    return TxnResult(False, header_revision(response), current)


def watch_request(prefix: bytes, from_revision: int, *, progress: bool) -> bytes:
    """A WatchRequest. `fragment` splits very large answers, so that memory stays bounded."""
    return encode(
        {
            "create_request": {
                "key": text64(prefix),
                "range_end": text64(prefix_end(prefix)),
                "start_revision": str(from_revision),
                "progress_notify": progress,
                "fragment": True,
            }
        }
    )
