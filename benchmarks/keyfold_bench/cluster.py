"""A cluster to measure: made by the real playbooks, filled by the programs in benchmarks/programs."""

from __future__ import annotations

import base64
import io
import json
import re
import secrets
import tarfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.keyfold_bench.machines import NODES, PLACE, ROOT, SET, Program, await_, keyfold, on, run
from lab.handover import user_pin
from lab.officers import OFFICERS, approve

MODULE = "/usr/lib/x86_64-linux-gnu/pkcs11/keyfold-pkcs11.so"
SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
BARE_IMAGE = "keyfold-base:13"
NODE_IMAGE = "keyfold-node:13"
BUILD_IMAGE = "keyfold-build:13"
MANY = 10_000
FEW = 100
# What a declared partition says of its subscriber; the inventory knows the key.
SUBSCRIBER = {"subscriber_key": "{{ keyfold_lab_subscriber_key }}"}
# Losing 100,000 objects on three nodes of one machine takes minutes.
_LEVEL_SECONDS = 900.0
_RECAP = re.compile(r"^(\S.*?) -+ ([0-9.]+)s$", re.MULTILINE)
_COMPILE = "cat >/tmp/sign.c; cc -O2 -I/usr/include/p11-kit-1 -o /tmp/sign /tmp/sign.c >&2 && cat /tmp/sign"


def remove() -> None:
    """No trace of the set stays: containers, network, the controller's files about it."""
    run("lab/containers.sh", "down", SET)
    run("rm", "-rf", str(ROOT / ".keyfold" / SET))


def machines(image: str) -> None:
    """Five new machines."""
    remove()
    run("lab/containers.sh", "up", SET, image)


def playbook(name: str, *arguments: str) -> tuple[float, dict[str, float]]:
    """Run a playbook on the set: its seconds, and the seconds of its slowest tasks by name."""
    begun = time.monotonic()
    output = run(
        *("ansible-playbook", "-i", "inventories/molecule", f"playbooks/{name}.yml", *arguments),
        environment={
            "MOLECULE_SCENARIO_NAME": SET,
            "ANSIBLE_STRATEGY": "mitogen_linear",
            "ANSIBLE_DEPRECATION_WARNINGS": "false",
            "ANSIBLE_NOCOLOR": "1",
        },
    )
    return time.monotonic() - begun, slowest_tasks(output)


def slowest_tasks(output: str) -> dict[str, float]:
    """The table that the callback profile_tasks prints at the end."""
    _, _, recap = output.rpartition("TASKS RECAP")
    return {name: float(seconds) for name, seconds in _RECAP.findall(recap)}


def exists() -> bool:
    return SET in run("docker", "ps", "--format", '{{.Label "keyfold.lab"}}').split()


def make() -> None:
    """The cluster as site.yml makes it, on machines with Debian's packages."""
    machines(NODE_IMAGE)
    playbook("site")


def prepare() -> None:
    """What the measurements need beside site.yml's cluster: partitions, programs, a served libsofthsm2.so."""
    playbook("partition", "--extra-vars", f"@{ROOT}/benchmarks/partitions.yml")
    _install_programs()
    _serve_plain_softhsm()


def declare(rows: Sequence[Mapping[str, Any]], tunnels: Sequence[str] = ()) -> None:
    """More partitions, beside those that the cluster has; `tunnels`: which of them the subscribers' machine reaches."""
    variables = ROOT / ".keyfold" / SET / "declare.json"
    declared = [{**row, **SUBSCRIBER} for row in rows]
    text = json.dumps({"keyfold_partitions": declared, "client_partitions": list(tunnels)})
    variables.write_text(text, encoding="utf-8")
    playbook("partition", "--extra-vars", f"@{variables}")


def _install_programs() -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path in sorted((ROOT / "benchmarks" / "programs").glob("*.py")):
            tar.add(path, arcname=f"benchmarks/programs/{path.name}")
    source = (ROOT / "benchmarks" / "programs" / "sign.c").read_bytes()
    for machine in (*NODES, "app1"):
        on(machine, "mkdir", "-p", PLACE)
        on(machine, "tar", "--extract", "--no-same-owner", f"--directory={PLACE}", given=archive.getvalue())
    compiled = f"docker run --rm --interactive {BUILD_IMAGE} sh -c '{_COMPILE}'"
    for machine in ("hsm1", "app1"):
        into = f"docker exec --interactive keyfold-{SET}-{machine} sh -c 'cat >{PLACE}/sign && chmod 755 {PLACE}/sign'"
        run("bash", "-o", "pipefail", "-c", f"{compiled} | {into}", given=source)


def _serve_plain_softhsm() -> None:
    """Partition `plain` gets the path of every partition with SoftHSM's own library at its end."""
    directory = "/etc/systemd/system/keyfold-partition-plain@.service.d"
    dropin = f"[Service]\nExecStart=\nExecStart=/usr/bin/p11-kit remote --provider {SOFTHSM} pkcs11:token=plain\n"
    for node in ("hsm1", "hsm2"):
        on(node, "mkdir", "-p", directory)
        on(node, "tee", f"{directory}/bench.conf", given=dropin)
        on(node, "systemctl", "daemon-reload")


def pin(partition: str) -> str:
    return user_pin(ROOT / ".keyfold" / SET, partition)


def home(partition: str) -> str:
    return f"/var/lib/keyfold/partitions/{partition}"


def as_partition(partition: str, configuration: str | None = None) -> tuple[str, ...]:
    """The start of a command line: run the rest as the partition's user, with its token or `configuration`'s."""
    conf = configuration or f"{home(partition)}/softhsm2.conf"
    return "runuser", "--user", f"kf-{partition}", "--", "env", f"SOFTHSM2_CONF={conf}", "PYTHONDONTWRITEBYTECODE=1"


def python(machine: str, partition: str, program: str, *arguments: str, configuration: str | None = None) -> Program:
    """A Python program of benchmarks/programs, as the partition's user, logged in with its PIN."""
    module = f"benchmarks.programs.{program}"
    command = (*as_partition(partition, configuration), "python3", "-m", module, *arguments)
    return Program(machine, *command, first_line=pin(partition))


def fill(partition: str, count: int) -> None:
    """Bring a partition to at least `count` objects on every node."""
    there = objects(partition)
    if there < FEW:
        command = (*as_partition(partition), "python3", "-m", "benchmarks.programs.fill", MODULE, partition)
        on("hsm1", "env", f"--chdir={PLACE}", *command, str(FEW - there), given=pin(partition) + "\n")
    if count > max(there, FEW):
        _multiply(partition, count)
    level()


def _approval(partition: str) -> dict[str, Any]:
    """Of a restore to this partition; no backup set is read, so it names none there is."""
    request = {
        "kind": "restore",
        "cluster": keyfold("hsm1", "cluster", "info")["cluster"]["uuid"],
        "partition": partition,
        "ticket": f"BENCH-{secrets.token_hex(4)}",
        "reason": "a benchmark needs many objects",
        "requested_by": "the benchmark",
        "set": "20000101T000000Z-00000000",
        "manifest_sha256": "00" * 32,
        "mode": "merge",
    }
    return approved(request)


def approved(request: Mapping[str, Any]) -> dict[str, Any]:
    """The request as the agent takes it, signed by the throw-away officers."""
    signed = approve(ROOT / ".keyfold" / SET, "bench", request)
    signatures = [signed.with_name(f"{signed.name}.{officer}.sig").read_text("ascii") for officer in OFFICERS]
    return {"request": base64.b64encode(signed.read_bytes()).decode(), "signatures": signatures}


def fill_with_data(partition: str, count: int) -> None:
    """Bring a partition to at least `count` objects on every node, all but a few of them data objects of 1 to 4 KB."""
    there = objects(partition)
    if there >= count:
        return
    if there == 0:
        make = (*as_partition(partition), "python3", "-m", "benchmarks.programs.fill_data", MODULE, partition)
        on("hsm1", "env", f"--chdir={PLACE}", *make, given=pin(partition) + "\n")
    _multiply(partition, count)
    level()


def _multiply(partition: str, count: int) -> None:
    command = ("python3", "-m", "benchmarks.programs.multiply", partition, str(count))
    on("hsm1", "env", f"--chdir={PLACE}", *command, given=json.dumps(_approval(partition)))


def objects(partition: str) -> int:
    """Live objects of a partition, its token.object not counted."""
    return next(int(row["objects"]) for row in _partitions() if row["name"] == partition) - 1


def has(partition: str) -> bool:
    return any(row["name"] == partition for row in _partitions())


def _partitions() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = keyfold("hsm1", "partition", "list")["partitions"]
    return rows


def level() -> None:
    """Wait until every node has what etcd has."""
    await_(lambda: all(is_level(row) for row in keyfold("hsm1", "status")["nodes"]), _LEVEL_SECONDS, "a level cluster")


def is_level(row: dict[str, object]) -> bool:
    return row["agent"] == "up" and row["lag"] == 0 and not row.get("problem")
