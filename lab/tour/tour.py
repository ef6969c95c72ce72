"""The tour: the whole promise on a running cluster, each step held or the tour fails."""

from __future__ import annotations

import secrets
import sys
import time

import yaml

from lab.handover import subscriber_key
from lab.officers import OFFICERS, approve
from lab.tour.machines import (
    CONTROLLER,
    NODES,
    PARTITION,
    Subscriber,
    await_,
    container,
    keyfold,
    live_nodes,
    on,
    playbook,
    run,
)
from lab.tour.narration import Narrator, StepFailed

# A node that was stopped boots, joins etcd and catches up.
_CATCH_UP_SECONDS = 60.0


class Tour:
    def __init__(self, narrator: Narrator) -> None:
        self._say = narrator
        self._subscriber: Subscriber | None = None
        self._round = secrets.token_hex(2)
        self._rsa, self._ec, self._aes, self._late = (f"{kind}-{self._round}" for kind in ("rsa", "ec", "aes", "late"))

    @property
    def app(self) -> Subscriber:
        if self._subscriber is None:
            self._subscriber = Subscriber(self._say)
        return self._subscriber

    def run(self) -> None:
        self.declare()
        self.use()
        self.mirrored()
        self.node_loss()
        self.mistake()
        self.refused_export()
        self.backup()
        self.destroy()
        self.restore_one_key()
        self.restore_partition()
        self.use_again()
        self.drill()
        self.status()
        self.app.clean_up()

    def declare(self) -> None:
        with self._say.step(f"Partition {PARTITION}, package ECO, declared in inventories/local, applied"):
            self._played("controller", "partition", "what is declared")
            self._say.shows(on("hsm1", "keyfold", "partition", "list"))

    def use(self) -> None:
        app = self.app
        with self._say.step("Unmodified tools on app1 make keys in the cluster and use them"):
            for kind, label in (("rsa:3072", self._rsa), ("EC:prime256v1", self._ec)):
                generate = ("--keypairgen", "--key-type", kind, "--label", label, "--id", label.encode().hex())
                app.pkcs11_tool(f"pkcs11-tool --keypairgen --key-type {kind} --label {label}", *generate)
            app.pkcs11_tool(
                f"pkcs11-tool --keygen --key-type AES:32 --label {self._aes}",
                *("--keygen", "--key-type", "AES:32", "--label", self._aes, "--id", self._aes.encode().hex()),
            )
            key = f"pkcs11:token={PARTITION};object={self._rsa};type=private"
            request = ("req", "-new", "-key", key, "-passin", "env:KEYFOLD_PIN", "-subj", "/CN=app1.acme.example")
            app.openssl("openssl req -new: a CSR with the RSA key", *request, "-out", "request.csr")
            app.does("openssl req -verify: it is signed", "openssl", "req", "-in", "request.csr", "-verify", "-noout")
            app.openssl("openssl req -x509: a certificate for it", *request, "-x509", "-out", "certificate.pem")
            app.does("a message", "sh", "-c", "date >message.txt")
            app.openssl(
                "openssl cms -sign: the message signed with the RSA key",
                *("cms", "-sign", "-in", "message.txt", "-signer", "certificate.pem", "-inkey", key),
                *("-passin", "env:KEYFOLD_PIN", "-out", "message.cms"),
            )
            self._verify_cms()
            app.python(
                "a Python program (PyKCS11) signs with the P-256 key", "sign", self._ec, "message.txt", "before.sig"
            )

    def _verify_cms(self) -> None:
        self.app.does(
            "openssl cms -verify",
            *("openssl", "cms", "-verify", "-in", "message.cms", "-CAfile", "certificate.pem", "-purpose", "any"),
            *("-out", "/dev/null"),
        )

    def mirrored(self) -> None:
        with self._say.step("The same objects on every node"):
            label = f"mirror-{self._round}"
            self.app.pkcs11_tool(
                f"pkcs11-tool --keygen --label {label}", "--keygen", "--key-type", "AES:32", "--label", label
            )
            begun = time.monotonic()
            self._everywhere()
            self._say.did("all nodes", "have the key; asked right after app1 had its OK", time.monotonic() - begun)
            files = {node: self._object_files(node) for node in NODES}
            for node in NODES:
                self._say.did(node, f"{len(files[node])} object files of {PARTITION}")
            if len(set(files.values())) != 1:
                raise StepFailed(
                    f"the nodes hold different objects: {files}", "docker exec keyfold-hsm1 keyfold status"
                )

    def _object_files(self, node: str) -> frozenset[str]:
        listed = on(node, "sh", "-c", f"cd /var/lib/keyfold/partitions/{PARTITION}/tokens && find . -name '*.object'")
        return frozenset(listed.split())

    def _everywhere(self) -> None:
        """Wait until every live node has applied what any of them has."""

        def level() -> bool:
            live = live_nodes()
            rows = [row for row in keyfold(live[0], "status")["nodes"] if row["name"] in live]
            return all(row["agent"] == "up" and row["lag"] == 0 for row in rows)

        await_(level, _CATCH_UP_SECONDS, "every live node without lag")

    def node_loss(self) -> None:
        with self._say.step("hsm1 goes away; the application's next connection goes through hsm2"):
            begun = time.monotonic()
            run("docker", "stop", "--time", "1", container("hsm1"))
            self._say.did("hsm1", "docker stop", time.monotonic() - begun)
            self.app.python("the Python program signs", "sign", self._ec, "message.txt", "failover.sig")
            self.app.pkcs11_tool(
                f"pkcs11-tool --keygen --label {self._late}, with one node down",
                *("--keygen", "--key-type", "AES:32", "--label", self._late),
            )
            begun = time.monotonic()
            run("docker", "start", container("hsm1"))
            await_(lambda: self._up("hsm1"), _CATCH_UP_SECONDS, "hsm1's agent")
            self._everywhere()
            self._say.did("hsm1", "docker start: booted, joined, caught up", time.monotonic() - begun)
            if self._object_files("hsm1") != self._object_files("hsm2"):
                raise StepFailed(
                    "hsm1 did not catch up with hsm2", "docker exec keyfold-hsm1 journalctl -u keyfold-agent"
                )

    def _up(self, node: str) -> bool:
        """Asked on the node itself: what the others know of it is as old as its last heartbeat."""
        try:
            return not keyfold(node, "status")["problem"]
        except StepFailed:
            return False

    def mistake(self) -> None:
        with self._say.step("A key pair destroyed by mistake comes back, with two officers' approval"):
            for kind in ("privkey", "pubkey"):
                self.app.pkcs11_tool(
                    f"pkcs11-tool --delete-object --type {kind} --label {self._ec}",
                    *("--delete-object", "--type", kind, "--label", self._ec),
                )
            if self._ec in self.app.labels():
                raise StepFailed(f"{self._ec} is still there", "docker exec keyfold-hsm1 keyfold status")
            plan = keyfold("hsm1", "object", "reactivate", PARTITION, "--label", self._ec, "--dry-run")
            request = {
                "kind": "reactivate",
                "cluster": keyfold("hsm1", "cluster", "info")["cluster"]["uuid"],
                "partition": PARTITION,
                "ticket": f"TOUR-{self._round}",
                "reason": "destroyed by mistake",
                "requested_by": "the tour",
                "files": plan["files"],
            }
            signed = approve(CONTROLLER, f"reactivate-{self._round}", request)
            self._officers_signed()
            self._played(
                *("hsm1", "reactivate", "both halves"),
                *("-e", f"reactivate_partition={PARTITION}", "-e", f"reactivate_files={','.join(plan['files'])}"),
                *("-e", f"reactivate_request={signed}", "-e", "confirm=yes"),
            )
            self._everywhere()
            self.app.python("it verifies the signature of step 2", "verify", self._ec, "message.txt", "before.sig")
            self.app.python("and signs", "sign", self._ec, "message.txt", "reactivated.sig")

    def refused_export(self) -> None:
        with self._say.step("An export that the partition's policy forbids is refused"):
            self.app.refused(
                f"keyfold-subscriber export --label {self._rsa}: refused, key_extract is off",
                "key_extract",
                *("keyfold-subscriber", "--partition", PARTITION, "export", "--label", self._rsa),
                *("--to", subscriber_key(CONTROLLER), "--output", "stolen.age"),
            )

    def backup(self) -> None:
        with self._say.step("The daily backup, now"):
            self._played("hsm3", "backup", "to store1, over WebDAV")
            self._say.shows(on("hsm3", "keyfold", "backup", "list"))

    def destroy(self) -> None:
        with self._say.step("The application destroys its keys through the API"):
            for label, kinds in (
                (self._rsa, ("privkey", "pubkey")),
                (self._ec, ("privkey", "pubkey")),
                (self._aes, ("secrkey",)),
            ):
                for kind in kinds:
                    self.app.pkcs11_tool(
                        f"pkcs11-tool --delete-object --type {kind} --label {label}",
                        *("--delete-object", "--type", kind, "--label", label),
                    )
            self._everywhere()
            if gone := self.app.labels() & {self._rsa, self._ec, self._aes}:
                raise StepFailed(
                    f"still there after being destroyed: {gone}", "docker exec keyfold-hsm1 keyfold status"
                )
            live = {row["file"] for row in keyfold("hsm2", "object", "list", PARTITION)["objects"]}
            for node in NODES:
                here = {path.rpartition("/")[2] for path in self._object_files(node)}
                if here != live:
                    raise StepFailed(f"{node} still has {here - live}", f"docker exec keyfold-{node} keyfold status")
                self._say.did(node, "they are gone")

    def restore_one_key(self) -> None:
        with self._say.step(f"One key pair comes back from the WebDAV store: {self._rsa}, approved by two officers"):
            self._restore("one-key", "--label", self._rsa)
            back = self.app.labels() & {self._rsa, self._ec, self._aes}
            if back != {self._rsa}:
                raise StepFailed(f"restored: {back}, not {self._rsa} alone", "docker exec keyfold-hsm3 keyfold status")
            self._verify_cms()

    def restore_partition(self) -> None:
        with self._say.step(f"And all that partition {PARTITION} lost, with a preview first"):
            self._restore("partition", preview=True)
            missing = {self._rsa, self._ec, self._aes, self._late} - self.app.labels()
            if missing:
                raise StepFailed(f"not restored: {missing}", "docker exec keyfold-hsm3 keyfold backup list")

    def _restore(self, name: str, *keys: str, preview: bool = False) -> None:
        """As docs/runbooks/restore.md has it: the operator's request, the officers' signatures, the playbook."""
        about = ("--ticket", f"TOUR-{self._round}", "--reason", "destroyed by mistake", "--requested-by", "the tour")
        draft = keyfold("hsm3", "restore", "request", "--partition", PARTITION, *keys, *about)
        request = approve(CONTROLLER, f"restore-{name}-{self._round}", yaml.safe_load(draft["request"]))
        self._officers_signed()
        if preview:
            self._played("hsm3", "restore", "the preview", "-e", f"request={request}", "--check", "--diff")
        self._played("hsm3", "restore", "the restore", "-e", f"request={request}", "-e", "confirm=yes")
        self._everywhere()

    def _officers_signed(self) -> None:
        self._say.did("officers", f"{' and '.join(OFFICERS)} sign the request (ssh-keygen -Y sign)")

    def _played(self, machine: str, name: str, what: str, *arguments: str) -> None:
        """A playbook, said with the time it took."""
        begun = time.monotonic()
        playbook(name, *arguments)
        self._say.did(machine, f"ansible-playbook playbooks/{name}.yml: {what}", time.monotonic() - begun)

    def use_again(self) -> None:
        with self._say.step("The restored keys verify the old signatures and make new ones"):
            self.app.python(
                "the Python program verifies its signature of step 2", "verify", self._ec, "message.txt", "before.sig"
            )
            self._verify_cms()
            self.app.python("it signs anew", "sign", self._ec, "message.txt", "after.sig")
            self.app.python("and verifies that", "verify", self._ec, "message.txt", "after.sig")
            key = f"pkcs11:token={PARTITION};object={self._rsa};type=private"
            request = ("req", "-new", "-key", key, "-passin", "env:KEYFOLD_PIN", "-subj", "/CN=app1.acme.example")
            self.app.openssl("openssl req -new: another CSR with the RSA key", *request, "-out", "another.csr")

    def drill(self) -> None:
        with self._say.step("A drill: the newest set into a scratch SoftHSM; its canary key signs"):
            self._played("hsm3", "drill", "held, and passed")
            self._say.shows(on("hsm3", "keyfold", "drill", "list"))

    def status(self) -> None:
        with self._say.step("keyfold status"):
            self._say.shows(on("hsm1", "keyfold", "status"))


def main() -> int:
    narrator = Narrator()
    begun = time.monotonic()
    try:
        Tour(narrator).run()
    except StepFailed as error:
        print(
            f"\nerror: the tour stopped: {error}\n  not done: the remaining steps\n  next:     {error.look}",
            file=sys.stderr,
        )
        return 1
    print(f"\nEvery step held; the tour took {time.monotonic() - begun:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
