"""Knot DNS signs a zone with keys that it made in the cluster; a second Knot, which validates, takes the zone."""

from __future__ import annotations

from scenario.machines import Machine
from scenario.shop import Shop, service
from scenario.waiting import wait_for

VALIDATING = """server:
    rundir: {home}
    listen: 127.0.0.1@5301
log:
  - target: stderr
    any: info
database:
    storage: {home}
zone:
  - domain: shop.example
    storage: {home}
    file: shop.example.zone
    dnssec-validation: on
"""


def validated(app: Machine, zone: str) -> bool:
    """Whether a Knot without keys, told to validate, serves the zone."""
    home = "/var/lib/knot-validating"
    app.shell(f"rm -rf {home}; install -d -o knot -g knot {home}")
    app.run("install", "-o", "knot", "/dev/stdin", f"{home}/shop.example.zone", stdin=zone)
    app.run("install", "-o", "knot", "/dev/stdin", f"{home}/knot.conf", stdin=VALIDATING.format(home=home))
    with service(app, "knot-validating", "knotd", "--config", f"{home}/knot.conf", user="knot"):
        ask = ["kdig", "@127.0.0.1", "-p", "5301", "+retry=0", "+timeout=2", "www.shop.example"]
        answer = wait_for(lambda: _decided(app.attempt(*ask).stdout), "an answer of the validating Knot", 30)
    return "status: NOERROR" in answer and "192.0.2" in answer


def _decided(answer: str) -> str:
    """Empty until Knot answers; a zone that it did not take is SERVFAIL."""
    return answer if "status:" in answer else ""


def test_a_validating_server_accepts_the_zone_that_the_clusters_keys_signed(knot: Shop) -> None:
    app = knot.machine
    answer = knot.run("knot-query")
    assert "status: NOERROR" in answer
    assert "\tRRSIG\tA 13 " in answer
    wait_for(lambda: "RRSIG" in app.run("cat", "/var/lib/knot/shop.example.zone"), "the signed zone's file", 20)
    zone = app.run("cat", "/var/lib/knot/shop.example.zone")
    assert validated(app, zone)
    assert not validated(app, zone.replace("192.0.2.2", "192.0.2.3"))


def test_the_zones_keys_are_in_the_partition_and_in_no_file(knot: Shop) -> None:
    listed = knot.run("pkcs11-tool-list")
    assert listed.count("Private Key Object; EC") >= 3  # web, and the zone's two
    keys = "find /var/lib/knot/keys -name '*.pem' 2>/dev/null | wc --lines"
    assert knot.machine.shell(keys).strip() == "0"
