"""What each thing a server can do means for backups: a table, and the worst of it as the grade. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

GOOD, ADAPT, REFUSE = "good", "adapt", "refuse"
_ORDER = (GOOD, ADAPT, REFUSE)


@dataclass(frozen=True, slots=True)
class Observation:
    """What a probe saw. `outcome`: a word of the table below; `detail`: figures, for people."""

    probe: str
    outcome: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """An observation in plain words."""

    probe: str
    outcome: str
    happened: str
    means: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Grade:
    """`verdict`: the worst of the findings. `write_once`: what was stored is safe from the writer's own identity."""

    verdict: str
    write_once: bool
    findings: tuple[Finding, ...]

    @property
    def adaptations(self) -> list[str]:
        """What Keyfold does, or cannot promise, because of this server."""
        return [one.means for one in self.findings if one.verdict == ADAPT]


_UNIQUE = "every set and archive has a random name of its own, so Keyfold never writes to a name twice"
_LAST = "a set counts only by its manifest, which is uploaded last and has every archive's hash"
_NOT_ONCE = "not write-once: an attacker with the writer identity can destroy backups"

# probe → outcome → (what happened, what it means, verdict)
TABLE: Mapping[str, Mapping[str, tuple[str, str, str]]] = {
    "tls_version": {
        "TLSv1.3": ("it speaks TLS 1.3", "nobody in between reads or alters", GOOD),
        "TLSv1.2": ("it speaks only TLS 1.2", "safe, and older than Keyfold's own store", ADAPT),
        "older": ("it speaks only old TLS", "the connection cannot be trusted", REFUSE),
    },
    "client_certificate": {
        "demanded": ("a client without a certificate got nothing", "only known identities come near", GOOD),
        "not_demanded": ("a client without a certificate was served", "anybody can read or write there", REFUSE),
    },
    "clock": {
        "agrees": ("its clock agrees with this node's", "ages of sets are true", GOOD),
        "off": ("its clock is off by more than an hour", "expiry refuses to run until its clock is right", ADAPT),
        "absent": ("it does not say what time it is", "ages of sets come from its listing alone", ADAPT),
    },
    "make_collection": {
        "made": ("MKCOL made a collection", "every set gets one", GOOD),
        "failed": ("MKCOL was refused", "Keyfold cannot store a set", REFUSE),
    },
    "read_after_write": {
        "same": ("what was stored was read back", "archives can be verified", GOOD),
        "different": ("something else was read back than was stored", "it loses or alters data", REFUSE),
        "failed": ("it could not be stored or read back", "Keyfold cannot store a set", REFUSE),
    },
    "content_length": {
        "honoured": ("exactly the announced length was stored", "a short archive cannot pass for a whole one", GOOD),
        "wrong": ("the size it tells is not the size that was stored", "its listing cannot be trusted", REFUSE),
    },
    "listing": {
        "true": ("PROPFIND lists what is there, with sizes and times", "sets are found, and their age is known", GOOD),
        "no_time": ("PROPFIND tells no times", "expiry cannot work there", ADAPT),
        "wrong": ("PROPFIND does not list what was stored", "Keyfold cannot find its sets", REFUSE),
    },
    "receive_time": {
        "its_own": ("the writer cannot choose a file's time", "expiry goes by true ages", GOOD),
        "forged": ("the writer can choose a file's time", "an attacker can hasten or delay expiry by age", ADAPT),
    },
    "aborted_put_new": {
        "nothing": ("an aborted upload left nothing", "no partial files", GOOD),
        "partial": ("an aborted upload left a partial file", _LAST, ADAPT),
    },
    "plain_put_over": {
        "refused": ("a plain PUT could not overwrite", "what is stored stays", GOOD),
        "overwrites": ("a plain PUT overwrote a file", _NOT_ONCE, ADAPT),
    },
    "aborted_put_over": {
        "impossible": ("nothing can be overwritten at all", "what is stored stays", GOOD),
        "kept": ("an aborted overwrite kept the old file", "what is stored stays", GOOD),
        "destroyed": ("an aborted overwrite destroyed the old file", _UNIQUE, ADAPT),
    },
    "no_clobber": {
        "refused": ("`If-None-Match: *` kept the old file", "creating never overwrites", GOOD),
        "overwrites": ("`If-None-Match: *` was ignored, the file overwritten", _UNIQUE, ADAPT),
    },
    "no_clobber_race": {
        "one": ("of many that create one name at once, one won", "creating is atomic", GOOD),
        "several": ("of many that create one name at once, several won", _UNIQUE, ADAPT),
        "none": ("of many that create one name at once, none won", "try again when it is less busy", ADAPT),
    },
    "move_no_overwrite": {
        "refused": ("MOVE with `Overwrite: F` kept the old file", "what is stored stays", GOOD),
        "denied": ("the writer may not MOVE", "what is stored stays", GOOD),
        "overwrites": ("MOVE with `Overwrite: F` overwrote a file", _NOT_ONCE, ADAPT),
    },
    "mkcol_race": {
        "one": ("of many that make one collection at once, one won", "MKCOL could serve as a lock", GOOD),
        "several": ("of many that make one collection at once, several won", _UNIQUE, ADAPT),
        "none": ("of many that make one collection at once, none won", "try again when it is less busy", ADAPT),
    },
    "content_range_put": {
        "refused": ("a partial PUT (Content-Range) was refused", "files are whole", GOOD),
        "accepted": (
            "a partial PUT (Content-Range) was taken",
            "Keyfold never sends one, and hashes what is there",
            ADAPT,
        ),
    },
    "range_get": {
        "part": ("it delivers parts of a file", "not needed", GOOD),
        "whole": ("it delivers only whole files", "Keyfold reads whole files anyway", GOOD),
        "failed": ("it cannot deliver a part of a file", "Keyfold reads whole files anyway", GOOD),
    },
    "chunked_put": {
        "stored": ("an upload of unknown length was stored", "not needed", GOOD),
        "refused": ("an upload of unknown length was refused", "Keyfold always announces the length", GOOD),
        "corrupted": ("an upload of unknown length was stored wrongly", "Keyfold always announces the length", ADAPT),
    },
    "quota": {
        "told": ("it tells how much space is left (RFC 4331)", "a full store is seen coming", GOOD),
        "not_told": ("it does not tell how much space is left", "watch the store's disk: a full one fails a run", GOOD),
    },
    "delete": {
        "refused": ("the writer may not delete", "what is stored stays", GOOD),
        "allowed": ("the writer may delete", _NOT_ONCE, ADAPT),
    },
}

_WRITE_ONCE = {("plain_put_over", "refused"), ("no_clobber", "refused"), ("delete", "refused")}


def grade(observations: Iterable[Observation]) -> Grade:
    """Findings in the order of the table. A probe without an observation was not reached: that is no good grade."""
    seen = {one.probe: one for one in observations}
    findings = [_finding(seen[probe]) for probe in TABLE if probe in seen]
    findings += [_missing(probe) for probe in TABLE if probe not in seen]
    verdict = max((one.verdict for one in findings), key=_ORDER.index)
    once = {(one.probe, one.outcome) for one in findings}
    moved = ("move_no_overwrite", "overwrites") in once
    return Grade(verdict, once >= _WRITE_ONCE and not moved, tuple(findings))


def _finding(seen: Observation) -> Finding:
    happened, means, verdict = TABLE[seen.probe][seen.outcome]
    return Finding(seen.probe, seen.outcome, f"{happened} ({seen.detail})" if seen.detail else happened, means, verdict)


def _missing(probe: str) -> Finding:
    return Finding(probe, "not_reached", "this could not be probed", "nothing is known, so nothing is trusted", REFUSE)
