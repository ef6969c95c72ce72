"""`keyfold-expire`: removes from the store what is old enough and has been replaced. Runs on the store's host."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from keyfold.clock import SystemClock, stamp
from keyfold.commands.arguments import failed, table
from keyfold.errors import KeyfoldError
from keyfold.expiry import settings
from keyfold.expiry.clock_guard import Reading
from keyfold.expiry.run import Expiry, Outcome
from keyfold.expiry.state import State, boot_id
from keyfold.remote.webdav import WebDavExpirer

_EPOCH_NEVER = 0.0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="keyfold-expire", description="Remove backup sets that are due from the store.")
    top.add_argument("--dry-run", action="store_true", help="only say what would be removed, and why the rest stays")
    top.add_argument(
        "--accept-clock", action="store_true", help="believe the clock this once, after somebody has checked it"
    )
    top.add_argument("--json", action="store_true", help="one JSON object on standard output")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        configured = settings.load()
        state = State(configured.state)
        with WebDavExpirer(configured.url, configured.ca, configured.cert, configured.key) as remote:
            return expire(Expiry(remote, configured, state, read_clocks), state, args)
    except KeyfoldError as error:
        return failed(error, as_json=args.json)


def read_clocks() -> Reading:
    return Reading(SystemClock().utc(), time.clock_gettime(time.CLOCK_BOOTTIME), boot_id())


def expire(expiry: Expiry, state: State, args: argparse.Namespace) -> int:
    """One run; what it found is published for the alarm unless it was only a dry run."""
    try:
        outcome = expiry.run(dry_run=args.dry_run, accept_clock=args.accept_clock)
    except KeyfoldError as error:
        if not args.dry_run:
            with suppress(KeyfoldError):
                state.publish(error.as_reply(), {"keyfold_expiry_failed": 1})
        raise
    reply = _reply(outcome, dry_run=args.dry_run)
    if not args.dry_run:
        state.publish(reply, _metrics(outcome))
    if outcome.held and not args.dry_run:
        raise _held(outcome)
    print(json.dumps(reply) if args.json else _render(reply))
    return 0


def _reply(outcome: Outcome, *, dry_run: bool) -> dict[str, Any]:
    return {
        "ok": True,
        "changed": bool(outcome.removed),
        "dry_run": dry_run,
        "at": stamp(SystemClock().utc()),
        "newest_verified": _stamp(outcome.newest_verified),
        "plan": [
            {"set_id": one.set_id, "action": one.action, "due": _stamp(one.due), "reason": one.reason}
            for one in outcome.decisions
        ],
        "removed": list(outcome.removed),
    }


def _metrics(outcome: Outcome) -> dict[str, float]:
    newest = outcome.newest_verified
    return {
        "keyfold_expiry_failed": 0,
        "keyfold_expiry_last_run_timestamp_seconds": float(int(time.time())),
        "keyfold_expiry_held_sets": len(outcome.held),
        "keyfold_expiry_removed_sets": len(outcome.removed),
        "keyfold_expiry_newest_verified_timestamp_seconds": _EPOCH_NEVER if newest is None else newest.timestamp(),
    }


def _held(outcome: Outcome) -> KeyfoldError:
    return KeyfoldError(
        "held",
        f"{len(outcome.held)} backup sets are held: "
        + "; ".join(f"{one.set_id}: {one.reason}" for one in outcome.held)
        + f" (removed: {len(outcome.removed)})",
        not_done="the held sets were not removed",
        next_step="docs/runbooks/expire.md: make a good backup, or release a partition that was given up",
    )


def _render(reply: dict[str, Any]) -> str:
    if not reply["plan"]:
        return "the store has no backup set"
    rows = [("set", "action", "due", "why")]
    rows += [(one["set_id"], one["action"], one["due"] or "-", one["reason"]) for one in reply["plan"]]
    end = "nothing was removed: a dry run" if reply["dry_run"] else f"removed: {len(reply['removed'])}"
    return f"{table(rows)}\n{end}"


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else stamp(moment)


if __name__ == "__main__":
    sys.exit(main())
