"""`keyfold media`: write, list, verify and destroy offline media; what the hourly timer runs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from typing import Any

from keyfold.backup.cluster import ClusterState
from keyfold.backup.run import Backup
from keyfold.commands.arguments import Subparsers, command, group, table
from keyfold.commands.backup import sign_with_system
from keyfold.commands.caller import caller
from keyfold.context import Context
from keyfold.errors import EXIT_CODES
from keyfold.media.block import Block, SystemBlock
from keyfold.media.device import Allowed
from keyfold.media.ending import JOB, Ending
from keyfold.media.ending import register as registered
from keyfold.media.expire import Outcome, carry_out
from keyfold.media.look import require_living, verify
from keyfold.media.plan import DESTROY, FINISH, WARN, Step, plan
from keyfold.media.register import ASKED, Medium, find
from keyfold.media.write import Wish, Writing
from keyfold.remote import Remote


def register(subparsers: Subparsers) -> None:
    actions = group(subparsers, "media", "offline media: exceptional backups for a vault")
    write = command(actions, "write", _write, _render_write, "make a medium on a USB device")
    write.add_argument("name", metavar="NAME", help="what it is called on its label")
    write.add_argument("--device", metavar="PATH", required=True, help="below /dev/disk/by-id")
    write.add_argument("--partition", metavar="NAME", action="append", default=[], help="repeatable; any package")
    write.add_argument("--overwrite", action="store_true", help="what is on the device may go")
    write.add_argument("--allow-fixed", action="store_true", help="the device is not removable, and meant")
    command(actions, "list", _list, _render_list, "the register, oldest first")
    check = command(actions, "verify", _verify, _render_verify, "check a medium that is plugged in, and open it")
    destroy = command(actions, "destroy", _destroy, _render_destroy, "destroy a medium's key, before it is due")
    expire = command(actions, "expire", _expire, _render_expire, "destroy the keys that are due")
    for parser in (check, destroy):
        parser.add_argument("medium", metavar="MEDIUM", help="its ID or name")
    for parser in (write, destroy):
        parser.add_argument("--ticket", metavar="TEXT", required=True, help="what it is done for")
        parser.add_argument("--reason", metavar="TEXT", required=True, help="in words")
    for parser in (write, destroy, expire):
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done")


def block(context: Context) -> Block:
    return SystemBlock(context.config.run)


def _backup(context: Context, remote: Remote) -> Backup:
    cluster = ClusterState(context.agent)
    return Backup(cluster, remote, partial(sign_with_system, context), context.config, context.clock)


def _ending(context: Context) -> Ending:
    return Ending(context.agent, partial(sign_with_system, context), context.clock)


# --- what the actions do --------------------------------------------------------------------------------------


def _write(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    wish = Wish(
        name=args.name,
        device=args.device,
        partitions=tuple(sorted(set(args.partition))),
        ticket=args.ticket,
        reason=args.reason,
        by=caller(),
        allowed=Allowed(overwrite=args.overwrite, fixed=args.allow_fixed),
    )
    sign = partial(sign_with_system, context)
    backup = partial(_backup, context)
    writing = Writing(context.agent, block(context), backup, sign, context.config, context.clock)
    made = writing.plan(wish)
    shown = {
        "name": wish.name,
        "device": made.device.stable,
        "node": made.device.node,
        "size_bytes": made.device.size_bytes,
        "lost": list(made.device.holds),
        "partitions": [
            {"name": one.name, "objects": one.objects, "size_bytes": one.live_bytes} for one in made.partitions
        ],
    }
    if args.dry_run:
        return {"changed": False, "plan": shown, "medium": None}
    return {"changed": True, "plan": shown, "medium": _row(writing.write(wish), context)}


def _list(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    return {"media": [_row(one, context) for one in registered(context.agent)]}


def _verify(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    medium = find(registered(context.agent), args.medium)
    require_living(medium)
    with block(context).opened(medium.device) as remote:
        made = verify(context.agent, remote, medium, context.config.state)
    objects = {entry.name: entry.objects for entry in made.partitions}
    return {"changed": False, "medium": _row(medium, context), "set_id": made.set_id, "objects": objects}


def _destroy(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    medium = find(registered(context.agent), args.medium)
    done = bool(medium.certificate)
    if args.dry_run or done:
        return {"changed": False, "would_change": not done, "medium": _row(medium, context), "outstanding": None}
    with ClusterState(context.agent).hold(JOB, context.clock):
        asked = {"by": caller(), "ticket": args.ticket, "reason": args.reason}
        ended = _ending(context).end(medium, ASKED, **asked)
    reply = {"changed": True, "would_change": True, "medium": _row(ended.medium, context)}
    return {**reply, "outstanding": ended.outstanding or None}


def _expire(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    if args.dry_run:
        steps = plan(registered(context.agent), context.clock.utc())
        return {"changed": False, "media": [_step(one, context) for one in steps]}
    with ClusterState(context.agent).hold(JOB, context.clock):
        steps = plan(registered(context.agent), context.clock.utc())
        done = carry_out(steps, _ending(context), f"node {context.config.node}")
    reply = {"changed": any(one.ended is not None for one in done), "media": [_outcome(one, context) for one in done]}
    problems = [f"{one.step.medium.id}: {one.problem}" for one in done if one.problem]
    return {**reply, **_failure(problems)} if problems else reply


def _failure(problems: list[str]) -> dict[str, Any]:
    """What was done for the other media is worth showing, so this is a reply with an exit code and not an exception."""
    return {
        "ok": False,
        "code": "refused",
        "exit_code": EXIT_CODES["refused"],
        "what": f"not all media are as they should be: {'; '.join(problems)}",
        "not_done": "their keys are not destroyed, or it is not certified yet",
        "next": "docs/runbooks/media_destroy.md; keyfold status, then: keyfold media expire",
    }


# --- what is shown --------------------------------------------------------------------------------------------


def _row(medium: Medium, context: Context) -> dict[str, Any]:
    days = medium.left(context.clock.utc()).days if medium.lives else None
    return {**medium.as_row(), "days_left": days}


def _step(step: Step, context: Context) -> dict[str, Any]:
    return {"medium": _row(step.medium, context), "action": step.action, "reason": step.reason, "problem": None}


def _outcome(one: Outcome, context: Context) -> dict[str, Any]:
    medium = one.step.medium if one.ended is None else one.ended.medium
    shown = {**_step(one.step, context), "medium": _row(medium, context)}
    return {**shown, "problem": one.problem or None}


def _render_write(reply: Mapping[str, Any]) -> str:
    made, planned = reply["medium"], reply["plan"]
    rows = [("partition", "objects", "bytes")]
    rows += [(one["name"], str(one["objects"]), str(one["size_bytes"])) for one in planned["partitions"]]
    if made is None:
        lost = f"; {', '.join(planned['lost'])} on it is lost" if planned["lost"] else ""
        return f"would make medium {planned['name']} on {planned['device']} ({planned['node']}){lost}:\n{table(rows)}"
    lines = [f"medium {made['id']} ({made['name']}) is written, read back and registered:", table(rows)]
    return "\n".join([*lines, f"it opens until {made['due'][:10]}; label it with its ID, and bring it to the vault"])


def _render_list(reply: Mapping[str, Any]) -> str:
    if not reply["media"]:
        return "there are no media"
    rows = [("medium", "name", "made", "partitions", "device", "state")]
    rows += [
        (one["id"], one["name"], one["created"][:10], ",".join(one["partitions"]), one["device"], _state(one))
        for one in reply["media"]
    ]
    return table(rows)


def _state(row: Mapping[str, Any]) -> str:
    if row["destroyed"] is None:
        return f"{row['state']}, {row['days_left']} days left"
    certified = "certified" if row["certificate"] else "NOT CERTIFIED YET"
    return f"destroyed {row['destroyed']['at'][:10]} ({row['destroyed']['because']}), {certified}"


def _render_verify(reply: Mapping[str, Any]) -> str:
    row = reply["medium"]
    found = ", ".join(f"{name}: {count} objects" for name, count in reply["objects"].items())
    return f"medium {row['id']} ({row['name']}) is whole and opens ({found}); {row['days_left']} days left"


def _render_destroy(reply: Mapping[str, Any]) -> str:
    row = reply["medium"]
    name = f"medium {row['id']} ({row['name']})"
    if not reply["changed"]:
        return f"the key of {name} would be destroyed" if reply["would_change"] else f"{name}: {_state(row)}"
    if reply["outstanding"]:
        return f"the key of {name} is destroyed; not certified yet: {reply['outstanding']}"
    return f"the key of {name} is destroyed. Certificate:\n{row['certificate'].rstrip()}"


def _render_expire(reply: Mapping[str, Any]) -> str:
    rows = [("medium", "name", "action", "reason")]
    for one in reply["media"]:
        told = {DESTROY: "destroy", FINISH: "finish", WARN: "DUE SOON"}.get(one["action"], "keep")
        reason = one["reason"] if one["problem"] is None else f"{one['reason']}; NOT DONE: {one['problem']}"
        rows.append((one["medium"]["id"], one["medium"]["name"], told, reason))
    certificates = [one["medium"]["certificate"] for one in reply["media"] if one["medium"]["certificate"]]
    return "\n".join([table(rows), *certificates]).rstrip() if reply["media"] else "no medium lives"
