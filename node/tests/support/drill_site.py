"""A backup site that holds drills: its canary is ready, SoftHSM is in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from support.backup_site import BackupSite
from support.memory_hsm import MemoryHsm

from keyfold.drill import canary
from keyfold.drill.canary import Canary
from keyfold.drill.run import Drill


@dataclass
class DrillSite:
    site: BackupSite
    hsm: MemoryHsm = field(default_factory=MemoryHsm)

    def sign(self, message: bytes, epoch: int) -> bytes:
        return self.site.agent.keys.sign(message)

    def canary(self) -> Canary:
        agent = self.site.agent
        return Canary(agent, self.site.config, self.site.clock, self.sign, self.hsm)

    def provision(self) -> None:
        """What the agent does on this node once etcd has the canary's partition."""
        home = self.site.config.partition_directory(canary.PARTITION)
        token = home / "tokens" / f"token-of-{canary.PARTITION}"
        policy = self.site.config.run / "policy"
        for directory in (token, policy):
            directory.mkdir(parents=True, exist_ok=True)
        for file in (home / "softhsm2.conf", token / "token.object", policy / canary.PARTITION):
            file.touch()

    def drill(self) -> Drill:
        site = self.site
        return Drill(site.agent, site.store, self.sign, self.hsm, site.config, site.clock)
