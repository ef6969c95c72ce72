"""What the agent sends in one transaction is what role etcd lets etcd take."""

from __future__ import annotations

from pathlib import Path

import yaml

from keyfold.store.interface import MAX_REQUEST_BYTES, MAX_TXN_OPS

DEFAULTS = Path(__file__).parents[2] / "roles" / "etcd" / "defaults" / "main.yml"


def test_the_largest_transaction_fits_the_limits_of_the_role() -> None:
    defaults = yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))
    assert defaults["etcd_max_transaction_operations"] == MAX_TXN_OPS
    assert defaults["etcd_max_request_bytes"] > MAX_REQUEST_BYTES
