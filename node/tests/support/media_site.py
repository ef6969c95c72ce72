"""A backup site that writes media: the real agent's media operations over etcd in memory, the system token a twin.

Time is the test's: `pass_days` does each day what the cluster's own hourly work and the store's expirer do.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support import age_plugin
from support.admin import ROOT as CALLER
from support.backup_site import ROOT, BackupSite, make_site
from support.clocks import StillClock
from support.fake_agent import FakeAgent
from support.memory_block import MemoryBlock
from support.memory_cluster import object_file

from keyfold.agent.expirer import Expirer
from keyfold.agent.media import Media
from keyfold.agent.rebuilding import Rebuilding
from keyfold.custody import medium_copy
from keyfold.custody.media_keys import MadeKey, MediaKeys
from keyfold.custody.memory_keys import MemorySystemKeys
from keyfold.errors import KeyfoldError
from keyfold.media.device import Allowed, Device
from keyfold.media.ending import Ending, register
from keyfold.media.register import Medium
from keyfold.media.write import Wish, Writing
from keyfold.partition.policy import SYSTEM
from keyfold.replication import keys
from keyfold.replication.sealed import ClearSealer, StoredObject
from keyfold.store.interface import Put
from keyfold.store.memory import MemoryEtcd, MemoryStore

STICK = "/dev/disk/by-id/usb-Stick_0001-0:0"
DAY = 86400.0


class MemoryMediaKeys(MediaKeys):
    """`scalars`: by object file, ever made; whether the token still has a file is for etcd to say."""

    def __init__(self, keys_of_cluster: MemorySystemKeys) -> None:
        self._cluster = keys_of_cluster
        self.scalars: dict[str, tuple[str, int]] = {}

    def make(self, token_files: Mapping[str, bytes], pin: str, medium: str, seal_to: bytes) -> MadeKey:
        scalar = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
        public = ec.derive_private_key(scalar, ec.SECP256R1()).public_key()
        point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return MadeKey(self._files(medium, scalar), point, medium_copy.seal(scalar, medium, seal_to))

    def bring_back(
        self, token_files: Mapping[str, bytes], pin: str, medium: str, sealed: Mapping[str, str]
    ) -> Mapping[str, bytes] | None:
        try:
            scalar = medium_copy.unseal(sealed, medium, self._cluster.backup_public_key(), self._cluster.ecdh)
        except ValueError:
            return None
        return self._files(medium, scalar)

    def _files(self, medium: str, scalar: int) -> dict[str, bytes]:
        names = [f"{secrets.token_hex(4)}-0000-4000-8000-000000000000.object" for _ in range(2)]
        self.scalars |= dict.fromkeys(names, (medium, scalar))
        return {name: object_file(f"{medium} {name}".encode(), object_class=3) for name in names}


class MediaAgent(FakeAgent):
    """`down`: nodes that have not followed. Records of media and the cluster's archive are those of etcd."""

    def __init__(self, cluster_uuid: str, clock: StillClock, config: Any) -> None:
        super().__init__(ROOT, cluster_uuid)
        self.etcd = MemoryEtcd()
        self.store = MemoryStore(self.etcd)
        self.media_keys = MemoryMediaKeys(self.keys)
        self.down: set[str] = set()
        registry: Any = SimpleNamespace(sealer=lambda _: ClearSealer(), rows={})
        self.expirer = Expirer(self.store, registry, clock, "hsm3")
        service: Any = SimpleNamespace(
            store=self.store, clock=clock, registry=registry, config=config, expirer=self.expirer
        )
        self.media = Media(service, self.media_keys)
        self.rebuilding = Rebuilding(service, self.media)
        key, data = keys.live(SYSTEM, "token.object"), object_file(b"the token", object_class=0)
        sealed = ClearSealer().seal(key, StoredObject({"class": 0}, data))
        cluster = json.dumps(self._cluster_info()["cluster"]).encode()
        self.store.txn((), [Put(key, sealed), Put(keys.CLUSTER, cluster)])

    def call(self, op: str, **params: Any) -> dict[str, Any]:
        if not op.startswith("medium_"):
            return super().call(op, **params)
        self.before.pop(op, lambda: None)()
        reply: Any = self.media.table()[op](CALLER, params)
        return json.loads(json.dumps(reply))  # type: ignore[no-any-return]

    def scalars(self) -> dict[str, int]:
        """What age's plugin finds in a node's token, which has what etcd has live."""
        live = [item.key.removeprefix(keys.objects(SYSTEM)) for item in self.store.scan(keys.objects(SYSTEM))]
        return dict(self.media_keys.scalars[file] for file in live if file in self.media_keys.scalars)

    def _record_list(self, kind: str) -> dict[str, Any]:
        prefix = keys.records(kind)
        if kind != "medium":
            return super()._record_list(kind)
        return {"records": {one.key.removeprefix(prefix): json.loads(one.value) for one in self.store.scan(prefix)}}

    def _cluster_entries(self, revision: int) -> Iterator[dict[str, Any]]:
        count = 0
        for item in self.rebuilding.entries(0):
            count += 1
            yield {"ok": True, "key": item.key, "value": base64.b64encode(item.value).decode()}
        yield {"ok": True, "end": True, "entries": count}

    def _status(self) -> dict[str, Any]:
        reached = self.store.revision()
        nodes = [
            {
                "name": name,
                "site": "dc",
                "agent": "down" if name in self.down else "up",
                "applied_revision": reached,
                "lag": 0,
            }
            for name in ("hsm1", "hsm2", "hsm3")
        ]
        media = [row for row in self._record_list("medium")["records"].values() if not row["certificate"]]
        known = {"node": "hsm3", "partitions": [], "last_backup": None}
        audit = {"entries": 0, "pending": 0, "oldest_pending_seconds": None}
        return {**super()._status(), **known, "audit": audit, "nodes": nodes, "media": media}


@dataclass
class MediaSite:
    site: BackupSite
    agent: MediaAgent
    clock: StillClock
    block: MemoryBlock = field(default_factory=MemoryBlock)

    def sign(self, message: bytes, _epoch: int) -> bytes:
        return self.agent.keys.sign(message)

    def writing(self) -> Writing:
        site = self.site

        def backup(remote: Any) -> Any:
            return BackupSite(self.agent, remote, site.config, self.clock).backup()  # type: ignore[arg-type]

        return Writing(self.agent, self.block, backup, self.sign, site.config, self.clock)

    def wish(self, name: str = "vault", device: str = STICK, *partitions: str, **allowed: bool) -> Wish:
        named = partitions or ("acme",)
        return Wish(name, device, named, "CHG-1", "maintenance", "grace", Allowed(**allowed))

    def write(self, *args: Any, **allowed: bool) -> Medium:
        return self.writing().write(self.wish(*args, **allowed))

    def ending(self) -> Ending:
        return Ending(self.agent, self.sign, self.clock)

    def media(self) -> list[Medium]:
        return register(self.agent)

    def pass_days(self, days: int) -> None:
        """The agents' own hourly work, once a day."""
        for _ in range(days):
            self.clock.advance(DAY)
            self.agent.expirer.hourly()


def stick(**other: Any) -> Device:
    facts: dict[str, Any] = {"stable": STICK, "node": "/dev/sdz", "kind": "disk", "removable": True}
    return Device(**{**facts, "read_only": False, "size_bytes": 1 << 30, **other})


def make_media_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MediaSite:
    """Partition acme has a key; a stick is plugged in."""
    site = make_site(tmp_path, monkeypatch)
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "system.pin").write_text("5" * 64)
    monkeypatch.setitem(os.environ, "CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    clock = StillClock()
    uuid = site.agent.cluster_uuid
    agent = MediaAgent(uuid, clock, site.config)
    keys = partial(MemorySystemKeys, ROOT, uuid)
    age_plugin.install(tmp_path / "bin", lambda: keys(media=agent.scalars()), monkeypatch)
    agent.add_partition("acme", "SBX")
    agent.add_key("acme", 1, "key", 3)
    site.agent, site.clock = agent, clock  # type: ignore[assignment]
    made = MediaSite(site, agent, clock)
    made.block.plug(stick())
    return made


def code(error: pytest.ExceptionInfo[KeyfoldError]) -> str:
    return error.value.code
