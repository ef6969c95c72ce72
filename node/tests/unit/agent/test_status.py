"""What `status` answers, beside the nodes (those: integration/test_cluster.py)."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from support.admin import ROOT, Admin

from keyfold.agent.admin import AdminOperations
from keyfold.agent.partitions import Partitions
from keyfold.backup import sets
from keyfold.replication import keys
from keyfold.store.interface import Put


def test_the_last_backup_is_no_restores_safety_set(tmp_path: Path) -> None:
    admin = Admin(tmp_path)
    admin.registry.cluster = None
    admin.service.problem, admin.service.audit = "", SimpleNamespace(summary=dict)
    for set_id, retention_class in (("20261101T", "daily"), ("20261102T", "safety")):
        row = {"set_id": set_id, "retention_class": retention_class}
        admin.store.txn((), [Put(keys.records(sets.RECORD_KIND, set_id), json.dumps(row).encode())])
    unused: Any = None
    status: Any = AdminOperations(admin.service, unused, Partitions(admin.service)).table()["status"](ROOT, {})
    assert status["last_backup"]["set_id"] == "20261101T"
