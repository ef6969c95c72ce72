"""`keyfold drill` and `keyfold metrics` from the command line to the replies of docs/interfaces.md §5."""

from __future__ import annotations

import argparse
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from support.backup_site import make_site
from support.drill_site import DrillSite

from keyfold.commands import drill, metrics
from keyfold.context import Context
from keyfold.errors import KeyfoldError
from keyfold.remote import errors
from keyfold.remote.memory import Fault


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DrillSite:
    made = DrillSite(make_site(tmp_path, monkeypatch))
    made.provision()
    made.site.agent.add_partition("acme")
    monkeypatch.setattr(drill, "reader", lambda _context: nullcontext(made.site.store))
    monkeypatch.setattr(metrics, "reader", lambda _context: nullcontext(made.site.store))
    monkeypatch.setattr(drill, "access", lambda _context: None)
    monkeypatch.setattr(drill, "SoftHsm", lambda: made.hsm)
    monkeypatch.setattr(drill, "_sign", lambda _context, message, _epoch: made.site.agent.keys.sign(message))
    return made


def keyfold(here: DrillSite, *argv: str) -> tuple[dict[str, Any], str]:
    """(reply, what a person reads)."""
    top = argparse.ArgumentParser()
    commands = top.add_subparsers()
    for module in (drill, metrics):
        module.register(commands)
    args = top.parse_args(argv)
    reply = args.run(args, Context(here.site.config, here.site.agent, here.site.clock))  # type: ignore[arg-type]
    return json.loads(json.dumps(reply)), args.render(reply)


def test_prepare_looks_makes_and_is_done(here: DrillSite) -> None:
    assert keyfold(here, "drill", "prepare", "--dry-run")[0] == {"changed": True, "dry_run": True}
    assert keyfold(here, "drill", "prepare")[0] == {"changed": True, "dry_run": False}
    assert keyfold(here, "drill", "prepare")[0] == {"changed": False, "dry_run": False}


def test_a_drill_that_passes_is_shown_listed_and_proven(here: DrillSite, tmp_path: Path) -> None:
    keyfold(here, "drill", "prepare")
    here.site.run()
    reply, text = keyfold(here, "drill", "run")
    assert (reply["changed"], reply["drill"]["passed"]) == (True, True)
    assert "PASSED" in text
    name = reply["drill"]["drill_id"]
    for argv in (["list"], ["verify"], ["verify", name]):
        listed, text = keyfold(here, "drill", *argv)
        (row,) = listed["drills"]
        assert (row["drill_id"], row["passed"], row["refused"]) == (name, True, None)
        assert "passed" in text
    file = here.site.config.state / "drills" / f"{name}.jsonl"
    assert keyfold(here, "drill", "verify", "--file", str(file))[0]["drills"][0]["drill_id"] == name


def test_a_drill_that_fails_is_a_refusal_with_its_evidence(here: DrillSite) -> None:
    here.site.run()
    reply, text = keyfold(here, "drill", "run")
    assert (reply["ok"], reply["code"], reply["exit_code"]) == (False, "refused", 8)
    assert reply["drill"]["passed"] is False
    assert "has no canary" in reply["what"]
    assert "FAILED" in text


def test_forged_and_swapped_evidence_is_listed_as_such_and_verify_fails(here: DrillSite) -> None:
    keyfold(here, "drill", "prepare")
    here.site.run()
    names = [keyfold(here, "drill", "run")[0]["drill"]["drill_id"] for _ in range(2)]
    records = here.site.agent.records["drill"]
    records[names[0]] = records[names[1]]
    records["29991231T000000Z-00000000"] = {"document": records[names[1]]["document"].replace("hsm3", "hsm1")}
    rows = {row["drill_id"]: row["refused"] for row in keyfold(here, "drill", "list")[0]["drills"]}
    assert rows[names[1]] is None
    assert names[1] in rows[names[0]]
    assert "altered" in rows["29991231T000000Z-00000000"]
    with pytest.raises(KeyfoldError) as caught:
        keyfold(here, "drill", "verify")
    assert caught.value.exit_code == 8
    assert names[0] in caught.value.what
    with pytest.raises(KeyfoldError) as caught:
        keyfold(here, "drill", "verify", "unknown")
    assert caught.value.exit_code == 3


def test_without_a_drill_the_list_says_so(here: DrillSite) -> None:
    assert "no drill yet" in keyfold(here, "drill", "list")[1]


def test_metrics_are_printed_or_written_whole(here: DrillSite, tmp_path: Path) -> None:
    reply, text = keyfold(here, "metrics")
    assert reply["text"].rstrip("\n") == text
    assert "keyfold_agent_up 1" in text
    target = tmp_path / "keyfold.prom"
    target.write_text("old")
    reply, text = keyfold(here, "metrics", "--output", str(target))
    assert str(target) in text
    assert target.read_text() == reply["text"]
    assert target.stat().st_mode & 0o777 == 0o644
    with pytest.raises(KeyfoldError) as caught:
        keyfold(here, "metrics", "--output", str(tmp_path / "no" / "place"))
    assert caught.value.code == "disk"


def test_a_store_that_does_not_answer_is_a_figure(here: DrillSite, monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context(here.site.config, here.site.agent, here.site.clock)  # type: ignore[arg-type]
    assert metrics._store(context) is None
    reached: Any = argparse.Namespace(config=argparse.Namespace(store=object()))
    assert metrics._store(reached) == (True, None)
    here.site.store.room = 12
    assert metrics._store(reached) == (True, 12)
    here.site.store.fail_next("free_bytes", Fault(errors.failed("HTTP 500")))
    assert metrics._store(reached) == (False, None)
