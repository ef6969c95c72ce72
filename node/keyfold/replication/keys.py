"""Names of keys in etcd (docs/interfaces.md §4)."""

from __future__ import annotations

PREFIX = "/keyfold/v1/"
CLUSTER = PREFIX + "cluster"
PARTITIONS = PREFIX + "partitions/"
OBJECTS = PREFIX + "objects/"
INVALIDATED = PREFIX + "invalidated/"
# What each partition holds, in figures; how its logins failed; what was purged for good.
USAGE = PREFIX + "usage/"
LOGINS = PREFIX + "logins/"
PURGED = PREFIX + "purged/"
EXPIRY = PREFIX + "expiry/"
# The newest purge whose history is still to be taken out of etcd.
HISTORY_DUE = PREFIX + "history_due"
HISTORY_LOCK = PREFIX + "history_lock"
NODES = PREFIX + "nodes/"
RECORDS = PREFIX + "records/"
AUDIT_PENDING = PREFIX + "audit/pending/"
AUDIT_LINKED = PREFIX + "audit/linked/"
AUDIT_CHAIN = PREFIX + "audit/chain/"
AUDIT_HEAD = PREFIX + "audit/head"
# Under a lease: the node that links notes into the chain.
AUDIT_WRITER = PREFIX + "audit/writer"
# Copies of offline media's private keys, sealed to the backup key, for a rebuild.
MEDIA_KEYS = PREFIX + "media_keys/"
# Under a lease: the run of a backup, a drill, or of what is done to offline media.
JOBS = PREFIX + "jobs/"
OFFICERS = PREFIX + "officers"
APPROVALS = PREFIX + "approvals/"
# Written with every change that nodes have to apply: its mod_revision is the newest they can be behind of.
HEAD = PREFIX + "head"


def partition(name: str) -> str:
    return PARTITIONS + name


def objects(name: str) -> str:
    return f"{OBJECTS}{name}/"


def live(name: str, file: str) -> str:
    return f"{OBJECTS}{name}/{file}"


def invalidated(name: str, file: str = "") -> str:
    return f"{INVALIDATED}{name}/{file}"


def usage(name: str) -> str:
    return USAGE + name


def login(name: str, user: str) -> str:
    return f"{LOGINS}{name}/{user}"


def purged(name: str, file: str = "") -> str:
    return f"{PURGED}{name}/{file}"


def node(name: str) -> str:
    return NODES + name


def records(kind: str, record: str = "") -> str:
    return f"{RECORDS}{kind}/{record}"


def audit_entry(seq: int) -> str:
    return f"{AUDIT_CHAIN}{seq:016}"


def medium_key(medium: str) -> str:
    return MEDIA_KEYS + medium


def approval(request_id: str) -> str:
    return APPROVALS + request_id


def job(name: str) -> str:
    return JOBS + name
