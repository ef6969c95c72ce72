"""Destroyed objects, quota and login lockout with real etcd, SoftHSM, ssh-keygen and the agents' sockets."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.live_cluster import PIN, LiveCluster, LiveNode, wait_for
from support.ssh import SshKey

from keyfold.clock import stamp
from keyfold.errors import KeyfoldError
from keyfold.replication import keys
from keyfold.store.errors import Compacted

pytestmark = pytest.mark.container

MODULE = os.environ.get("KEYFOLD_PKCS11_MODULE", str(Path(__file__).parents[2] / "pkcs11" / "keyfold-pkcs11.so"))
ROOM = 6000


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def cluster(directory: Path) -> Iterator[LiveCluster]:
    live = LiveCluster(directory)
    live.add_partition("acme")
    live.add_partition("small", max_size_bytes=ROOM)
    live.add_partition("guarded", max_failures=10)
    yield live
    live.stop()


@pytest.fixture(scope="module")
def officers(cluster: LiveCluster, tmp_path_factory: pytest.TempPathFactory) -> list[SshKey]:
    home = tmp_path_factory.mktemp("officers")
    found = [SshKey.make(home / name, "-t", "ed25519") for name in ("ada", "grace")]
    rows = [{"name": name, "key": key.public} for name, key in zip(("ada", "grace"), found, strict=True)]
    cluster.nodes[0].client.call("officers_apply", officers=rows, required=2, check=False)
    return found


class Approvals:
    def __init__(self, cluster: LiveCluster, officers: list[SshKey]) -> None:
        self._cluster = cluster
        self._officers = officers
        self._ticket = 0

    def __call__(self, kind: str, files: list[str]) -> dict[str, Any]:
        self._ticket += 1
        fields = {
            "kind": kind,
            "cluster": self._cluster.uuid,
            "partition": "acme",
            "ticket": f"T-{self._ticket}",
            "reason": "a test",
            "requested_by": "operator",
            "expires": stamp(datetime.now(UTC) + timedelta(days=1)),
            "files": files,
        }
        raw = yaml.safe_dump(fields).encode()
        return {
            "request": b64encode(raw).decode(),
            "signatures": [officer.sign(raw) for officer in self._officers],
        }


@pytest.fixture
def approve(cluster: LiveCluster, officers: list[SshKey]) -> Approvals:
    return Approvals(cluster, officers)


def tool(node: LiveNode, partition: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Stock pkcs11-tool on a node, through the module."""
    return subprocess.run(
        ["pkcs11-tool", "--module", MODULE, "--login", "--pin", PIN, *arguments],
        env=node.environment(partition),
        capture_output=True,
        text=True,
        check=False,
    )


def done(completed: subprocess.CompletedProcess[str]) -> str:
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


def destroyed_pair(cluster: LiveCluster, label: str, key_id: str) -> list[str]:
    """A key pair made on the first node and destroyed on the second; its files."""
    one, two, _ = cluster.nodes
    pair = ("--label", label, "--id", key_id)
    done(tool(one, "acme", "--keypairgen", "--key-type", "EC:prime256v1", *pair))
    wait_for(lambda: label in tool(two, "acme", "--list-objects").stdout, what="the key")
    for kind in ("privkey", "pubkey"):
        done(tool(two, "acme", "--delete-object", "--type", kind, *pair))
    rows = one.client.call("object_list", partition="acme", invalidated=True)["objects"]
    return sorted(row["file"] for row in rows if row["label"] == label.encode().hex())


def test_a_destroyed_key_pair_comes_back_on_every_node_and_signs(
    cluster: LiveCluster, approve: Approvals, tmp_path: Path
) -> None:
    files = destroyed_pair(cluster, "mistake", "0a")
    client = cluster.nodes[2].client
    private = next(
        row["file"]
        for row in client.call("object_list", partition="acme", invalidated=True)["objects"]
        if row["file"] in files and row["class"] == 3
    )
    plan = client.call("object_reactivate", partition="acme", files=[private], check=True)
    assert plan["files"] == files
    reply = client.call("object_reactivate", partition="acme", files=[private], approval=approve("reactivate", files))
    cluster.wait("acme", reply["revision"])
    (tmp_path / "data").write_bytes(b"x" * 32)
    where = ["--mechanism", "ECDSA", "--id", "0a", "--input-file", str(tmp_path / "data")]
    for node in cluster.nodes:
        assert len(re.findall(r"label: +mistake$", tool(node, "acme", "--list-objects").stdout, re.MULTILINE)) == 2
        done(tool(node, "acme", "--sign", *where, "--output-file", str(tmp_path / "signature")))
        done(tool(node, "acme", "--verify", *where, "--signature-file", str(tmp_path / "signature")))


def test_what_was_purged_is_in_no_database_and_no_history(
    cluster: LiveCluster, approve: Approvals, directory: Path
) -> None:
    store = cluster.nodes[0].service.store
    files = destroyed_pair(cluster, "regret", "0b")
    before = store.revision()
    items = [store.get(keys.invalidated("acme", file)) for file in files]
    sealer = cluster.nodes[0].service.registry.sealer("acme")
    sealed = [item.value for item in items if item is not None]
    plain = [sealer.open(item.key, item.value).data for item in items if item is not None]
    assert len(sealed) == 2
    database = directory / "etcd" / "member" / "snap" / "db"
    wait_for(lambda: all(value in database.read_bytes() for value in sealed), what="the values in etcd's database")

    client = cluster.nodes[1].client
    reply = client.call("object_purge", partition="acme", files=files, approval=approve("purge", files))
    assert reply["history"]["problems"] == {}
    cluster.wait("acme", reply["revision"])
    with pytest.raises(Compacted):
        store.get(keys.invalidated("acme", files[0]), revision=before)
    assert not any(value in database.read_bytes() for value in sealed)
    for node in cluster.nodes:
        kept = [path for path in node.config.state.rglob("*") if path.is_file()]
        assert any(path.name == "base.sqlite" for path in kept)
        for path in kept:
            content = path.read_bytes()
            # Without the generation counter, which is each node's own.
            assert not any(value[8:] in content for value in plain), path
    with pytest.raises(KeyfoldError, match="only in a backup"):
        client.call("object_reactivate", partition="acme", labels=["regret"], check=True)


def test_nodes_that_fill_a_partition_together_never_pass_its_quota(cluster: LiveCluster) -> None:
    def fill(job: int) -> int:
        made = tool(cluster.nodes[job % 3], "small", "--keygen", "--key-type", "AES:32", "--label", f"k{job}")
        return made.returncode

    with ThreadPoolExecutor(3) as pool:
        codes = list(pool.map(fill, range(30)))
    assert 0 in codes
    assert any(codes)
    row = next(row for row in cluster.nodes[0].client.call("partition_list")["partitions"] if row["name"] == "small")
    objects = cluster.nodes[0].client.call("object_list", partition="small")["objects"]
    assert row["live_bytes"] == sum(one["size"] for one in objects) <= ROOM
    assert row["objects"] == len(objects) == codes.count(0) + 1
    for node in cluster.nodes:
        wait_for(
            lambda node=node: (
                {path.name for path in node.home("small").glob("tokens/*/*.object")} == {one["file"] for one in objects}
            ),
            what="nothing left behind",
        )


class Login:
    """The module's side of a login, one connection."""

    def __init__(self, node: LiveNode) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(node.config.agent_socket))
        self._lines = self._socket.makefile("rb")

    def ask(self, op: str, **request: Any) -> dict[str, Any]:
        self._socket.sendall(json.dumps({"op": op, "partition": "guarded", "user": "user", **request}).encode() + b"\n")
        reply: dict[str, Any] = json.loads(self._lines.readline())
        return reply

    def guess(self, *, ok: bool) -> bool:
        begun = self.ask("login_begin")
        if begun["ok"]:
            self.ask("login_result", ok=ok)
        else:
            assert begun["code"] in ("locked", "conflict"), begun
        return bool(begun["ok"])

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


def test_failed_logins_lock_on_all_nodes_are_shown_and_lifted(cluster: LiveCluster) -> None:
    logins = [Login(node) for node in cluster.nodes for _ in range(20)]

    def attack(login: Login) -> int:
        return sum(login.guess(ok=False) for _ in range(5))

    with ThreadPoolExecutor(len(logins)) as pool:
        let_through = sum(pool.map(attack, logins))
    assert 10 <= let_through <= 10 + 2 * 8
    for node in cluster.nodes:
        row = next(row for row in node.client.call("partition_list")["partitions"] if row["name"] == "guarded")
        assert set(row["locked"]) == {"user"}
    assert cluster.nodes[2].client.call("partition_unlock", partition="guarded")["unlocked"] == ["user"]
    for login in logins:
        wait_for(lambda login=login: login.guess(ok=True), what="the login")
        login.close()


def test_a_correct_login_writes_nothing_to_etcd(cluster: LiveCluster) -> None:
    store = cluster.nodes[0].service.store
    login = Login(cluster.nodes[0])
    assert login.guess(ok=True)
    before = store.get(keys.login("guarded", "user"))
    started = time.monotonic()
    for _ in range(200):
        assert login.guess(ok=True)
    print(f"added to a correct login: {(time.monotonic() - started) * 5:.2f} ms")
    assert store.get(keys.login("guarded", "user")) == before
    login.close()
