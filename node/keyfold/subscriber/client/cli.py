"""`keyfold-subscriber`: what subscribers may see and do with their partition (exit codes: docs/interfaces.md §6)."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from keyfold import __version__
from keyfold.errors import KeyfoldError
from keyfold.subscriber.attributes import TEMPLATE
from keyfold.subscriber.client import bundle, render
from keyfold.subscriber.client.connection import SOCKET, TUNNELS, Connection, known_partitions, partition_of
from keyfold.subscriber.client.export import export
from keyfold.subscriber.client.import_ import import_
from keyfold.subscriber.client.pin import PinSource, rotate
from keyfold.subscriber.client.seal import unseal

Reply = Mapping[str, Any]
Run = Callable[[argparse.Namespace, str], Reply]


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="keyfold-subscriber", description="Look after your own Keyfold partition.")
    top.add_argument("--version", action="version", version=f"keyfold-subscriber {__version__}")
    top.add_argument("--partition", metavar="NAME", help="which one; needed where this machine has tunnels to several")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    _command(commands, "policy", _asking("policy"), render.policy, "what the partition allows, and what you chose")
    _command(commands, "quota", _asking("quota"), render.quota, "how much room is used and left")
    objects = _command(commands, "objects", _objects, render.objects, "labels and IDs of what the partition holds")
    objects.add_argument("--invalidated", action="store_true", help="what was destroyed and is kept")
    _command(
        commands, "restore-points", _asking("restore_points"), render.restore_points, "backup sets with the partition"
    )
    pin = commands.add_parser("pin", help="the user PIN").add_subparsers(metavar="ACTION", required=True)
    _command(pin, "initial", _asking("handover"), render.handover, "the first PIN, sealed: pipe it to age -d -i KEY")
    _pin_option(_command(pin, "rotate", _rotate, render.done, "change it; old and new are read one after the other"))
    keep = commands.add_parser("invalidation", help="whether destroyed objects are kept").add_subparsers(
        metavar="ACTION", required=True
    )
    _command(
        keep, "opt-out", _keeping(keep=False), render.invalidation, "from now on a destroyed object is gone for good"
    )
    _command(keep, "opt-in", _keeping(keep=True), render.invalidation, "keep destroyed objects again")
    _export(commands)
    _import(commands)
    return top


def _export(commands: Any) -> None:
    out = _command(commands, "export", _do_export, render.export, "objects that may leave, sealed to your own key")
    _pin_option(out)
    out.add_argument(
        "--to", metavar="KEY", action="append", required=True, help="age1…, SSH public key, or file; repeatable"
    )
    out.add_argument("--output", metavar="FILE", type=Path, required=True, help="never written over")
    out.add_argument("--label", metavar="L", action="append", default=[], help="objects with this label; repeatable")
    out.add_argument("--id", metavar="HEX", action="append", default=[], help="objects with this ID; repeatable")
    out.add_argument(
        "--class", dest="classes", action="append", default=[], choices=list(TEMPLATE), help="only this class"
    )
    out.add_argument("--skip-refused", action="store_true", help="leave out what may not leave, instead of refusing")


def _import(commands: Any) -> None:
    back = _command(commands, "import", _do_import, render.import_, "bring an export back into the partition")
    _pin_option(back)
    back.add_argument("file", type=Path, help="what export wrote")
    back.add_argument(
        "--identity", metavar="FILE", type=Path, required=True, help="your age identity or SSH private key"
    )
    back.add_argument("--skip-existing", action="store_true", help="pass over what is there already")
    back.add_argument("--dry-run", action="store_true", help="only say what would be imported")


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        reply = args.run(args, partition_of(args.partition, known_partitions()))
    except KeyfoldError as error:
        print(json.dumps(error.as_reply()) if args.json else error, file=sys.stdout if args.json else sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    print(json.dumps({"ok": True, **reply}) if args.json else args.render(reply))
    return 0


def _command(commands: Any, name: str, run: Run, show: Callable[[Reply], str], text: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    made.add_argument("--json", action="store_true", help="one JSON object on standard output")
    made.set_defaults(run=run, render=show)
    return made


def _pin_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--pin-fd", metavar="N", type=int, help="read the PIN from this descriptor, not standard input"
    )


def _connect(partition: str) -> Connection:
    return Connection(TUNNELS / partition / SOCKET)


def _asking(op: str) -> Run:
    def run(args: argparse.Namespace, partition: str) -> Reply:
        with _connect(partition) as node:
            return node.ask(op)

    return run


def _objects(args: argparse.Namespace, partition: str) -> Reply:
    with _connect(partition) as node:
        return node.ask("objects", invalidated=args.invalidated)


def _keeping(*, keep: bool) -> Run:
    def run(args: argparse.Namespace, partition: str) -> Reply:
        with _connect(partition) as node:
            return node.ask("invalidation", keep=keep)

    return run


def _rotate(args: argparse.Namespace, partition: str) -> Reply:
    source = PinSource(args.pin_fd)
    old, new = source.read("PIN"), source.read_new()
    rotate(partition, TUNNELS / partition / "pkcs11.sock", old, new)
    return {"changed": True, "partition": partition}


def _do_export(args: argparse.Namespace, partition: str) -> Reply:
    selection = {"labels": args.label, "ids": args.id, "classes": args.classes}
    pin = PinSource(args.pin_fd).read("PIN")
    with _connect(partition) as node:
        return export(
            node,
            pin,
            selection,
            skip_refused=args.skip_refused,
            recipients=args.to,
            target=args.output,
            now=datetime.now(UTC),
        )


def _do_import(args: argparse.Namespace, partition: str) -> Reply:
    pin = PinSource(args.pin_fd).read("PIN")
    opened = bundle.decode(unseal(args.file, args.identity))
    with _connect(partition) as node:
        return import_(node, pin, opened, skip_existing=args.skip_existing, check=args.dry_run)


if __name__ == "__main__":
    sys.exit(main())
