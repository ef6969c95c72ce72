"""`keyfold`: arguments in, one reply out, exit codes per docs/interfaces.md §6."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Sequence

from keyfold import __version__, config
from keyfold.agent.client import AgentClient
from keyfold.clock import SystemClock
from keyfold.commands import (
    approval,
    audit,
    backup,
    backup_key,
    cluster,
    drill,
    media,
    metrics,
    node,
    object_,
    officers,
    partition,
    rebuild,
    restore,
    status,
    store,
)
from keyfold.commands.arguments import failed
from keyfold.context import Context
from keyfold.errors import KeyfoldError


def parser() -> argparse.ArgumentParser:
    """The whole command line; each command module adds its own part."""
    top = argparse.ArgumentParser(prog="keyfold", description="Operate a node of a Keyfold cluster.")
    top.add_argument("--version", action="version", version=f"keyfold {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    everyday = (
        status,
        cluster,
        officers,
        approval,
        partition,
        object_,
        backup,
        drill,
        media,
        restore,
        store,
        metrics,
        audit,
    )
    for module in (*everyday, backup_key, rebuild, node):
        module.register(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        settings = config.load()
        context = Context(settings, AgentClient(settings.agent_socket), SystemClock())
        reply = args.run(args, context)
    except KeyfoldError as error:
        return failed(error, as_json=args.json)
    except KeyboardInterrupt:
        return 130
    except Exception:  # noqa: BLE001 - the last resort: an exit code and a next step instead of a bare trace
        traceback.print_exc()
        return failed(
            KeyfoldError(
                "internal",
                "keyfold met a defect of its own (the trace is above)",
                not_done="the command may be carried out in part",
                next_step="keyfold status; report the trace",
            ),
            as_json=args.json,
        )
    print(json.dumps({"ok": True, **reply}) if args.json else args.render(reply))
    # A reply may be a refusal that has more to show than its words.
    return int(reply.get("exit_code", 0))


if __name__ == "__main__":
    sys.exit(main())
