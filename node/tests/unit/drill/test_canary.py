"""The canary is made once, by nobody twice, and its PIN is nobody's to know but the cluster's."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.backup_site import CLUSTER_UUID, ROOT, make_site
from support.drill_site import DrillSite

from keyfold.config import Package
from keyfold.custody.memory_keys import MemorySystemKeys
from keyfold.drill import canary
from keyfold.errors import KeyfoldError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DrillSite:
    made = DrillSite(make_site(tmp_path, monkeypatch))
    made.provision()
    return made


def test_it_is_made_once_and_its_public_key_is_recorded(here: DrillSite) -> None:
    assert not here.canary().ready()
    assert here.canary().prepare() is True
    row = here.site.agent.partitions[canary.PARTITION].row
    assert (row["package"], row["backup"]) == ("ECO", True)
    (record,) = here.site.agent.records[canary.RECORD_KIND].values()
    assert record["public_key"] == here.hsm.make_key(Path(), "", here.hsm.pin).hex()
    assert list(here.site.agent.records[canary.RECORD_KIND]) == [row["uuid"]]
    assert here.canary().ready()
    assert here.canary().prepare() is False


@pytest.mark.parametrize("operation", ["partition_apply", "record_put"])
def test_an_interruption_is_made_up_for_by_the_next_run(here: DrillSite, operation: str) -> None:
    def breaks_off() -> None:
        raise KeyfoldError("agent_down", "no answer", not_done="-", next_step="-")

    here.site.agent.before[operation] = breaks_off
    with pytest.raises(KeyfoldError):
        here.canary().prepare()
    assert here.canary().prepare() is True
    assert here.canary().ready()
    assert here.site.agent.jobs == {}


def test_it_waits_for_its_token_and_says_so_when_it_does_not_come(here: DrillSite) -> None:
    for path in here.site.config.partition_directory(canary.PARTITION).rglob("token.object"):
        path.unlink()
    sleep = here.site.clock.sleep

    def come(seconds: float) -> None:
        sleep(seconds)
        here.provision()

    here.site.clock.sleep = come  # type: ignore[method-assign]
    assert here.canary().prepare() is True


def test_it_gives_up_after_a_while(here: DrillSite) -> None:
    for path in here.site.config.run.rglob(canary.PARTITION):
        path.unlink()
    clock = here.site.clock
    clock.sleep = lambda _seconds: clock.utc()  # type: ignore[method-assign,assignment]
    with pytest.raises(KeyfoldError, match="did not come to this node") as caught:
        here.canary().prepare()
    assert "keyfold drill prepare" in caught.value.next_step


def test_the_pin_is_sealed_to_the_cluster_alone(here: DrillSite, tmp_path: Path) -> None:
    here.canary().prepare()
    agent = here.site.agent
    assert canary.pin(agent, here.sign, CLUSTER_UUID) == here.hsm.pin == f"secret-{canary.PARTITION}"
    # A cluster rebuilt from its root opens it again; another root, or another cluster of the same root, does not.
    again, other = MemorySystemKeys(ROOT, CLUSTER_UUID), MemorySystemKeys(bytes(32), CLUSTER_UUID)
    assert canary.pin(agent, lambda message, _: again.sign(message), CLUSTER_UUID) == here.hsm.pin
    for keys, uuid in ((other, CLUSTER_UUID), (again, CLUSTER_UUID.replace("1", "2"))):
        with pytest.raises(KeyfoldError, match="not sealed to this cluster") as caught:
            canary.pin(agent, lambda message, _, keys=keys: keys.sign(message), uuid)  # type: ignore[misc]
        assert here.hsm.pin not in str(caught.value)


def test_its_package_is_the_smallest_that_is_backed_up() -> None:
    small, large = Package("ECO", 10, "always"), Package("BIG", 100, "always")
    never, order = Package("SBX", 1, "never"), Package("PLATINUM", 5, "order")
    assert canary.package_of({one.name: one for one in (never, large, order, small)}) == small
    assert canary.package_of({one.name: one for one in (never, order)}) == order
    with pytest.raises(KeyfoldError, match="no package"):
        canary.package_of({"SBX": never})
