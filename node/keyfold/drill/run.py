"""A drill: the newest set out of the store into a scratch SoftHSM, compared, and the canary signs (design §6)."""

from __future__ import annotations

import math
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from keyfold.backup import sets
from keyfold.backup.cluster import Agent, ClusterIdentity, ClusterState
from keyfold.backup.manifest import ArchiveEntry, Manifest
from keyfold.backup.spool import disk_error, scratch_file
from keyfold.clock import Clock, stamp
from keyfold.config import Config
from keyfold.custody.conf import write_softhsm2_conf
from keyfold.drill import canary
from keyfold.drill.evidence import FORMAT, CanaryProof, Evidence, Restored, canary_signed, digest, signed
from keyfold.drill.hsm import Hsm
from keyfold.drill.scratch import scratch_token
from keyfold.errors import KeyfoldError
from keyfold.remote import Remote
from keyfold.restore.fetch import ArchiveIndex, download, read_entries, read_index, read_objects

RECORD_KIND = "drill"
JOB = "drill"

# Of these nothing can be recorded either: the drill did not take place.
_NOT_THE_SETS = ("agent_down", "no_quorum")


class Drill:
    """Evidence goes into etcd and into `<state>/drills/`."""

    def __init__(
        self,
        agent: Agent,
        remote: Remote,
        sign: canary.Sign,
        hsm: Hsm,
        config: Config,
        clock: Clock,
    ) -> None:
        self._agent = agent
        self._cluster = ClusterState(agent)
        self._remote = remote
        self._sign = sign
        self._hsm = hsm
        self._config = config
        self._clock = clock

    def run(self) -> Evidence:
        """What was found, passed or not, after it was recorded. Nothing of the cluster is changed.

        KeyfoldError `conflict`: another drill is under way; `agent_down`, `no_quorum`, `disk`: none took place.
        """
        with self._cluster.hold(JOB, self._clock), self._place() as place:
            cluster = self._cluster.identity()
            course = _Course(self._clock.utc())
            begun = self._clock.monotonic()
            try:
                self._take(course, cluster, place)
            except KeyfoldError as error:
                if error.code in _NOT_THE_SETS:
                    raise
                course.problem = course.problem or error.what
            return self._keep(course, cluster, math.ceil(self._clock.monotonic() - begun))

    # --- the drill itself -------------------------------------------------------------------------------------

    def _take(self, course: _Course, cluster: ClusterIdentity, place: Path) -> None:
        records = self._cluster.records(sets.RECORD_KIND)
        found = sets.read_all(self._remote, cluster.signer, records)
        stored, manifest = sets.choose(found, sets.LATEST, records)
        course.set_sha256, course.manifest = stored.manifest_sha256, manifest
        course.problem = stored.problem
        for entry in manifest.partitions:
            home = place / entry.name
            with course.of(entry), _gone_after(home):
                index = self._restore(cluster, manifest, entry, home)
                course.restored.append(Restored(entry.name, len(index.objects), ""))
                if entry.name == canary.PARTITION:
                    course.canary = self._canary(cluster, entry, home, course.drill_id)
        for entry in manifest.cluster:
            with course.of(entry):
                course.restored.append(Restored(entry.name, self._read_cluster(cluster, manifest, entry), ""))
        if course.canary is None and not any(one.name == canary.PARTITION for one in course.restored):
            course.problem = course.problem or f"the set {manifest.set_id} has no canary: keyfold drill prepare"

    def _restore(self, cluster: ClusterIdentity, manifest: Manifest, entry: ArchiveEntry, home: Path) -> ArchiveIndex:
        """KeyfoldError `refused` if anything is not, byte for byte, as manifest and archive say."""
        with scratch_file(self._config.state / "spool") as ciphertext:
            download(self._remote, cluster.uuid, manifest, entry, ciphertext)
            index = read_index(ciphertext, cluster, manifest, entry)
            token = scratch_token(home, str(index.row["token_uuid"]))
            files = {item.file for item in index.objects}
            public = token.fill(read_objects(ciphertext, cluster, files))
        write_softhsm2_conf(home)
        seen = self._hsm.look(home, entry.name)
        if not seen.user_pin_set or seen.objects != public:
            raise _differs(entry, f"SoftHSM sees {seen.objects} public objects, the archive has {public}")
        # After SoftHSM has had its way with the files.
        if token.digests() != {item.file: item.digest for item in index.objects}:
            raise _differs(entry, "the files in the scratch token are not those of the archive")
        return index

    def _read_cluster(self, cluster: ClusterIdentity, manifest: Manifest, entry: ArchiveEntry) -> int:
        """How many entries the cluster's own archive has; KeyfoldError `refused` as `_restore`."""
        with scratch_file(self._config.state / "spool") as ciphertext:
            download(self._remote, cluster.uuid, manifest, entry, ciphertext)
            return sum(1 for _ in read_entries(ciphertext, cluster, manifest, entry))

    def _canary(self, cluster: ClusterIdentity, entry: ArchiveEntry, home: Path, drill_id: str) -> CanaryProof:
        record = self._cluster.records(canary.RECORD_KIND).get(entry.uuid)
        if record is None:
            raise _differs(entry, "the cluster has no record of this canary's public key: keyfold drill prepare")
        challenge = secrets.token_bytes(32)
        pin = canary.pin(self._agent, self._sign, cluster.uuid)
        signature = self._hsm.sign(home, canary.PARTITION, pin, digest(drill_id, challenge))
        proof = CanaryProof(record["public_key"], challenge.hex(), signature.hex())
        if not canary_signed(proof, drill_id):
            raise _differs(entry, "what the restored key signs does not verify under the canary's recorded public key")
        return proof

    # --- before and after -------------------------------------------------------------------------------------

    @contextmanager
    def _place(self) -> Iterator[Path]:
        """A directory of root's own for scratch tokens; what a killed drill left goes first."""
        spool = self._config.state / "spool"
        try:
            spool.mkdir(mode=0o700, exist_ok=True)
            for leftover in spool.glob("drill-*"):
                shutil.rmtree(leftover)
            place = Path(tempfile.mkdtemp(dir=spool, prefix="drill-"))
        except OSError as error:
            raise disk_error(spool, error) from error
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _keep(self, course: _Course, cluster: ClusterIdentity, seconds: int) -> Evidence:
        made = course.manifest
        evidence = Evidence(
            format=FORMAT,
            cluster_uuid=cluster.uuid,
            signing_key_fingerprint=cluster.signing_key_fingerprint,
            drill_id=course.drill_id,
            node=self._config.node,
            started=stamp(course.started),
            seconds=seconds,
            set_id="" if made is None else made.set_id,
            sequence=0 if made is None else made.sequence,
            manifest_sha256=course.set_sha256,
            set_created="" if made is None else made.created,
            partitions=tuple(course.restored),
            canary=course.canary,
            problem=course.problem,
        )
        document = signed(evidence, lambda body: self._sign(body, cluster.backup_epoch))
        self._cluster.put_record(RECORD_KIND, course.drill_id, _record(evidence, document))
        directory = self._config.state / "drills"
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
            (directory / f"{course.drill_id}.jsonl").write_bytes(document)
        except OSError as error:
            raise disk_error(directory, error) from error
        return evidence


class _Course:
    """What is known so far."""

    def __init__(self, started: datetime) -> None:
        self.started = started
        self.drill_id = f"{started.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        self.manifest: Manifest | None = None
        self.set_sha256 = ""
        self.restored: list[Restored] = []
        self.canary: CanaryProof | None = None
        self.problem = ""

    @contextmanager
    def of(self, entry: ArchiveEntry) -> Iterator[None]:
        """Within, what is wrong with the archive is noted and keeps the others from nothing."""
        try:
            yield
        except KeyfoldError as error:
            if error.code in _NOT_THE_SETS:
                raise
            self.restored.append(Restored(entry.name, 0, error.what))


@contextmanager
def _gone_after(home: Path) -> Iterator[None]:
    try:
        yield
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _record(evidence: Evidence, document: bytes) -> dict[str, Any]:
    """The document itself, and what figures and lists need without parsing it."""
    return {
        "document": document.decode("ascii"),
        "passed": evidence.passed,
        "started": evidence.started,
        "seconds": evidence.seconds,
        "node": evidence.node,
        "set_id": evidence.set_id,
    }


def _differs(entry: ArchiveEntry, reason: str) -> KeyfoldError:
    return KeyfoldError(
        "refused",
        f"{entry.name}: {reason}",
        not_done="the drill did not pass",
        next_step="docs/runbooks/drill.md",
    )
