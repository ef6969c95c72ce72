"""What a restore was, for the operator's screen and for the subscriber (docs/interfaces.md §5). Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from keyfold.restore.plan import RestorePlan, Step
from keyfold.restore.run import Outcome
from keyfold.restore.select import CLASSES

_CLASS_NAMES = {number: name for name, number in CLASSES.items()}
_PINS = {
    "kept": "PINs stay as they are",
    "restored": "PINs become those of the time of the set",
    "created": "the partition comes with the PINs of the time of the set",
}


def as_reply(outcome: Outcome) -> dict[str, Any]:
    """`restore preview|apply --json`. `plan` has a row per object."""
    counts: Counter[str] = Counter()
    for plan in outcome.plans:
        counts.update(plan.counts)
    record = outcome.record
    return {
        "changed": outcome.changed,
        "set_id": outcome.set_id,
        "manifest_sha256": outcome.manifest_sha256,
        "partition": outcome.order.partition,
        "mode": outcome.order.mode,
        "plan": [row for plan in outcome.plans for row in _rows(plan)],
        "counts": dict(counts),
        "pins": {plan.partition: plan.pin for plan in outcome.plans},
        "revision": None if record is None else record["revision"],
        "record": None if record is None else dict(record),
        "report": None if record is None else subscribers_text(record),
    }


def _rows(plan: RestorePlan) -> Iterator[dict[str, Any]]:
    return ({"partition": plan.partition, **_row(step)} for step in plan.steps)


def _row(step: Step) -> dict[str, Any]:
    item = step.object
    kind = "token" if item.object_class is None else _CLASS_NAMES.get(item.object_class, str(item.object_class))
    return {
        "action": step.action.value,
        "file": item.file,
        "class": kind,
        "label": None if item.label is None else bytes.fromhex(item.label).decode("utf-8", "replace"),
        "id": item.id,
        "size": item.size,
    }


def pin_sentence(pin: str) -> str:
    return _PINS[pin]


def subscribers_text(record: Mapping[str, Any]) -> str:
    """The report: what was restored for which ticket, who approved it, what it costs. No secrets are in a record."""
    lines = [
        f"Restore for ticket {record['ticket']}",
        "",
        f"requested by   {record['requested_by']}: {record['reason']}",
        f"approved by    {', '.join(record['officers'])}",
        f"carried out    {record['started']} to {record['finished']} by {record['who']}",
        f"from           backup set {record['set']}, manifest {record['manifest_sha256']}",
        f"mode           {record['mode']}",
    ]
    for partition, counts in record["counts"].items():
        done = ", ".join(f"{count} {action}" for action, count in counts.items() if count)
        lines += [f"partition      {partition}: {done}", f"               {_PINS[record['pins'][partition]]}"]
    if record["safety_set"]:
        lines.append(f"before         what there was is kept in backup set {record['safety_set']}")
    lines.append(f"nodes          {', '.join(f'{name} {state}' for name, state in sorted(record['nodes'].items()))}")
    lines.append(f"chargeable     {_charge(record)}")
    lines.append(f"request        {record['request_id']}")
    return "\n".join(lines) + "\n"


def _charge(record: Mapping[str, Any]) -> str:
    if not record["chargeable"]:
        return "no"
    prices = (f"{partition} {price or 'as agreed'}" for partition, price in sorted(record["prices"].items()))
    return f"yes: {', '.join(prices)}"
