"""The node that every client is using goes away: what each sees, and what works again how soon.

docs/clients.md, "When its node goes away", says so; the errors in its block are what is seen here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest
from scenario.cluster import Cluster
from scenario.faults import cut_off, powered_off
from scenario.machines import client
from scenario.runs import Run, held_since, read_runs
from scenario.shop import HOME, Shop, service
from scenario.waiting import wait_for

# Programs that connect, do one thing and end: blocks of the page.
COMMANDS = ("pkcs11-tool-sign", "openssl-cms-sign", "certtool-request", "ssh-sign", "keytool-request")
# Programs that keep a session and know how to initialize their library anew.
HELD = ("pykcs11", "python-pkcs11")
# The first of them once more, over the module of docs/failover.md.
RECONNECTING = "reconnecting"
DAEMONS = ("openssl-server", "knot")
KNOT_SIGNS = ("knotc", "--blocking", "zone-sign", "shop.example")
# TCP gives up what is not answered after 13 s (client_tcp_retries); its pauses grow with the round-trip time it has
# seen, which on a machine busy with other tests is many times that of a network.
GIVES_UP_SECONDS = 60.0
# More than it takes with all nodes there.
NEW_SESSION_SECONDS = 2.0


@dataclass(frozen=True)
class Seen:
    """What became of each client's runs and calls around the moment `lost_at`."""

    lost_at: float
    lost_by: float
    runs: Mapping[str, list[Run]]
    new_session_seconds: tuple[float, float]
    restarted: Mapping[str, bool]

    def after(self, name: str) -> list[Run]:
        return [run for run in self.runs[name] if run.ended > self.lost_at]


class Clients:
    """The looping programs on the subscriber's machine; each writes a line for each run."""

    def __init__(self, shop: Shop, page: Mapping[str, str]) -> None:
        self._shop, self._page = shop, page
        self._directory = f"{HOME}/failover"
        shop.machine.run("install", "-d", "-o", "shop", self._directory)
        for program in ("held_session.py", "first_session.py"):
            shop.machine.run("tee", f"{self._directory}/{program}", stdin=client(program))

    def start(self, running: ExitStack, name: str) -> None:
        script = self._over_and_over(name) if name in COMMANDS else self._held(name)
        script = f"{self._page['environment']} exec >{self._directory}/{name}.runs; {script}"
        running.enter_context(service(self._shop.machine, f"shop-{name}", "bash", "-uc", script, user="shop"))

    def runs(self, name: str) -> list[Run]:
        return read_runs(self._shop.machine, f"{self._directory}/{name}.runs")

    def hold_since(self, moment: float, names: tuple[str, ...]) -> bool:
        return all(held_since(moment, self.runs(name)) for name in names)

    def new_session_seconds(self) -> float:
        """The quickest of three: what else the machine does is not what is asked for."""
        tries = [self._shop.command(f"python3 {self._directory}/first_session.py $MODULE pin") for _ in range(3)]
        assert all(tried.returncode == 0 for tried in tries), tries
        return min(float(json.loads(tried.stdout)["seconds"]) for tried in tries)

    def _held(self, name: str) -> str:
        package, module = (name, "$MODULE") if name in HELD else (HELD[0], "${MODULE%/*}/keyfold-reconnect.so")
        return f"exec python3 {self._directory}/held_session.py {package} {module} acme pin web"

    def _over_and_over(self, block: str) -> str:
        output = f"{self._directory}/{block}.out"
        return f"""
            while :; do
              begun=$EPOCHREALTIME outcome=ok
              ( {self._page[block]} ) >{output} 2>&1 ||
                outcome=$(tail -n 1 {output} | tr -cd '[:alnum:] _:.#')
              printf '{{"begun": %s, "ended": %s, "outcome": "%s"}}\\n' "$begun" "$EPOCHREALTIME" "${{outcome:-failed}}"
            done"""


def call(shop: Shop, daemon: str) -> Run:
    """One TLS connection to the server, or one signing of the zone."""
    begun = time.time()
    done = shop.attempt("curl") if daemon == "openssl-server" else shop.machine.attempt(*KNOT_SIGNS)
    return Run(begun, time.time(), "ok" if done.returncode == 0 else done.stdout + done.stderr)


def told(shop: Shop, daemon: str, run: Run, words: str) -> Run:
    """With what the daemon wrote of it, which its log may have a moment later than the caller its answer."""
    unit = "shop-server" if daemon == "openssl-server" else "knot"

    def log() -> str:
        return shop.machine.run("journalctl", "--unit", unit, "--lines", "50", "--output", "cat")

    if not run.held:
        wait_for(lambda: words in log(), f"the words of {daemon}")
    return replace(run, outcome=run.outcome if run.held else run.outcome + log())


def errors(page: Mapping[str, str]) -> dict[str, str]:
    """What each program says, by the page."""
    return dict(line.split(": ", 1) for line in page["failover-errors"].splitlines())


@pytest.fixture(scope="module")
def seen(
    cluster: Cluster, page: Mapping[str, str], certificate: Shop, mail: Shop, authority: Shop, java: Shop, knot: Shop
) -> Iterator[Seen]:
    """Power loss of the node in the middle of everybody's work; it stays away until all is seen."""
    clients, shop, names = Clients(certificate, page), certificate, (*COMMANDS, *HELD, RECONNECTING)
    with ExitStack() as away:
        with shop.serving("openssl-server"), ExitStack() as running:
            for name in names:
                clients.start(running, name)
            wait_for(lambda: call(shop, "openssl-server").held, "the TLS server's answer", 30)
            wait_for(lambda: clients.hold_since(0, names), "two runs of every client")
            assert call(shop, "knot").held
            before = clients.new_session_seconds()
            lost_at = time.time()
            away.enter_context(powered_off(cluster.node("hsm1")))
            lost_by = time.time()
            calls = {daemon: [told(shop, daemon, call(shop, daemon), errors(page)[daemon])] for daemon in DAEMONS}
            wait_for(lambda: clients.hold_since(lost_by, names), "two runs of every client without the node")
            after = clients.new_session_seconds()
            runs = {name: clients.runs(name) for name in names} | calls
        shop.as_root("knot-start")
        with shop.serving("openssl-server"):
            restarted = {daemon: bool(wait_for(lambda d=daemon: call(shop, d).held, daemon, 30)) for daemon in DAEMONS}
        yield Seen(lost_at, lost_by, runs, (before, after), restarted)
    cluster.await_level()


# Before the power loss below, which lasts until the module's end.
def test_a_node_that_falls_silent_keeps_nobody_waiting_for_long(
    cluster: Cluster, shop: Shop, page: Mapping[str, str]
) -> None:
    clients, names = Clients(shop, page), ("pykcs11",)
    with ExitStack() as running:
        clients.start(running, "pykcs11")
        wait_for(lambda: clients.hold_since(0, names), "two signatures", 30)
        before = clients.new_session_seconds()
        with cut_off(cluster.node("hsm1")):
            silent_at = time.time()
            assert clients.new_session_seconds() <= before + NEW_SESSION_SECONDS
            wait_for(lambda: clients.hold_since(silent_at, names), "two signatures without the node", GIVES_UP_SECONDS)
        waited = max(run.ended - run.begun for run in clients.runs("pykcs11"))
        assert 1.0 < waited < GIVES_UP_SECONDS
    cluster.await_level()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_program_that_connects_for_each_job_fails_only_while_the_node_goes(seen: Seen, name: str) -> None:
    # A killed machine's kernel takes connections until it has reaped the listener: two short runs may meet that.
    assert all(run.begun < seen.lost_by for run in seen.after(name) if not run.held), seen.runs[name]


@pytest.mark.parametrize("name", [*HELD, *DAEMONS])
def test_a_session_that_was_held_ends_with_the_error_of_the_page(
    seen: Seen, page: Mapping[str, str], name: str
) -> None:
    failed = [run for run in seen.after(name) if not run.held and not run.outcome.startswith("again")]
    assert failed
    assert all(errors(page)[name] in run.outcome for run in failed), failed
    assert all(run.ended - run.begun < GIVES_UP_SECONDS for run in failed), failed


@pytest.mark.parametrize("name", HELD)
def test_an_application_that_initializes_its_library_again_goes_on_without_a_restart(seen: Seen, name: str) -> None:
    last = max(index for index, run in enumerate(seen.runs[name]) if not run.held)
    assert len(seen.runs[name][last + 1 :]) >= 2


def test_an_application_over_the_module_that_reconnects_notices_nothing(seen: Seen) -> None:
    assert all(run.held for run in seen.runs[RECONNECTING])
    # It was there when the node went, and signed without it.
    assert any(run.begun < seen.lost_at for run in seen.runs[RECONNECTING])
    assert sum(run.begun > seen.lost_by for run in seen.runs[RECONNECTING]) >= 2


@pytest.mark.parametrize("name", DAEMONS)
def test_a_daemon_that_is_restarted_serves_through_the_other_node(seen: Seen, name: str) -> None:
    assert seen.restarted[name]


def test_a_new_session_is_there_within_two_seconds_of_a_power_loss(seen: Seen) -> None:
    before, after = seen.new_session_seconds
    assert after <= before + NEW_SESSION_SECONDS
