"""README.txt on a medium: what it is, for whoever finds it. Pure."""

from __future__ import annotations

from datetime import datetime

from keyfold.media.register import Medium, dead_by

NAME = "README.txt"


def text(medium: Medium, cluster: str, cluster_uuid: str, set_id: str) -> bytes:
    """In ASCII; nothing in it is secret."""
    dead = dead_by(datetime.fromisoformat(medium.created))
    return f"""Keyfold offline medium {medium.id} ({medium.name})

Cluster      {cluster} ({cluster_uuid})
Backup set   {set_id}
Partitions   {", ".join(medium.partitions)}
Made         {medium.created} for {medium.ticket}
Opens until  {medium.due}
Dead by      {dead:%Y-%m-%d}: no copy of its key is left anywhere, opened vault or not

What is here is encrypted to a key that only this cluster has, and that the cluster destroys on the day above.
On a node of the cluster:

    keyfold media verify {medium.id}
    keyfold restore request --medium {medium.id} ...

The directory {cluster_uuid}/{set_id} is a backup set as docs/formats.md describes it.
""".encode("ascii", "replace")
