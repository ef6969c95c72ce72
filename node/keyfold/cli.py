"""`keyfold`: arguments in, one reply out, exit codes per docs/interfaces.md §6."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from keyfold import __version__, config
from keyfold.agent.client import AgentClient
from keyfold.clock import SystemClock
from keyfold.commands.arguments import failed
from keyfold.context import Context
from keyfold.errors import KeyfoldError

_SWITCH_SECONDS = 0.0002
# In the order of `keyfold --help`; each is a module of `keyfold.commands`.
COMMANDS = (
    "status",
    "cluster",
    "officers",
    "approval",
    "partition",
    "object",
    "backup",
    "drill",
    "media",
    "restore",
    "store",
    "metrics",
    "audit",
    "backup-key",
    "rebuild",
    "node",
)


def parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The command line; of a command that `argv` begins with, that part alone.

    Importing all of them takes four times as long as most commands run.
    """
    top = argparse.ArgumentParser(prog="keyfold", description="Operate a node of a Keyfold cluster.")
    top.add_argument("--version", action="version", version=f"keyfold {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for name in argv[:1] if argv and argv[0] in COMMANDS else COMMANDS:
        import_module(f"keyfold.commands.{name.replace('-', '_')}").register(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    # While a backup reads files and uploads, each of its many short calls waits this long for the other thread.
    sys.setswitchinterval(_SWITCH_SECONDS)
    given = sys.argv[1:] if argv is None else argv
    args = parser(given).parse_args(given)
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
