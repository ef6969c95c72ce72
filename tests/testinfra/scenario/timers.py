"""A timer's run that was missed, as after a machine was off."""

from __future__ import annotations

from scenario.machines import Machine


def miss(node: Machine, timer: str) -> None:
    """The timer last ran years ago, and is started: a persistent one makes up for it."""
    node.shell(
        f"systemctl stop {timer}.timer; touch --date='9 years ago' /var/lib/systemd/timers/stamp-{timer}.timer; "
        f"systemctl start {timer}.timer"
    )


def ended(node: Machine, unit: str) -> bool:
    """Whether the unit ran and is at rest; AssertionError with its journal if it failed."""
    shown = node.run("systemctl", "show", "--property=ActiveState,Result,ExecMainExitTimestampMonotonic", unit)
    state = dict(line.split("=", 1) for line in shown.splitlines())
    if state["Result"] != "success":
        raise AssertionError(node.run("journalctl", "--no-pager", "--lines=40", "--unit", unit))
    return state["ActiveState"] == "inactive" and state["ExecMainExitTimestampMonotonic"] != "0"
