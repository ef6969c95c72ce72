"""A restore request as officers sign it: read strictly, written back the same."""

from __future__ import annotations

from typing import Any

import pytest
from support.approvals import request

from keyfold.approval.request import parse
from keyfold.errors import KeyfoldError
from keyfold.restore.order import Order, order_of
from keyfold.restore.select import Selection

SET, DIGEST = "20260301T023000Z-0123abcd", "ab" * 32


@pytest.mark.parametrize(
    "order",
    [
        Order("acme", SET, DIGEST),
        Order(None, SET, DIGEST, mode="replace", restore_pin=True),
        Order("acme", SET, DIGEST, selection=Selection(("tls",), ("01",), ("private",)), chargeable=False),
        Order("acme", SET, DIGEST, mode="side-by-side", target="acme-old"),
    ],
)
def test_what_is_written_is_what_is_read(order: Order) -> None:
    assert order_of(parse(request("restore", order.partition, **order.fields()))) == order


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"set": "latest"}, "latest"),
        ({"set": None}, "set"),
        ({"manifest_sha256": "AB" * 32}, "manifest_sha256"),
        ({"mode": "overwrite"}, "overwrite"),
        ({"mode": "side-by-side"}, "side-by-side"),
        ({"as": "other"}, "as"),
        ({"mode": "side-by-side", "as": "system"}, "system"),
        ({"mode": "side-by-side", "as": "other", "labels": ["x"]}, "labels"),
        ({"ids": [1]}, "ids"),
        ({"labels": "tls"}, "labels"),
        ({"classes": ["key"]}, "key"),
        ({"pin": "new"}, "pin"),
        ({"chargeable": "no"}, "chargeable"),
        ({"files": []}, "files"),
        ({"partition": None, "labels": ["x"]}, "partition"),
    ],
)
def test_what_cannot_be_used_is_named(fields: dict[str, Any], named: str) -> None:
    good = {"partition": "acme", "set": SET, "manifest_sha256": DIGEST, "mode": "merge"}
    with pytest.raises(KeyfoldError) as caught:
        order_of(parse(request("restore", **(good | fields))))
    assert caught.value.code == "invalid"
    assert named in f"{caught.value.what} {caught.value.next_step}"
