"""A partition of a backup as a new one beside it. Pure.

SoftHSM encrypts a token's objects under a key that token.object holds, so the new partition has the backup's
token.object, with its PINs, under another label and serial number. Its UUIDs follow from the request: an interrupted
restore goes on with the same partition.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from keyfold.backup.archive import TOKEN_OBJECT
from keyfold.restore.fetch import ArchiveIndex
from keyfold.token.object_file import identity, with_token_name


def beside(index: ArchiveIndex, name: str, request_id: str, created: str) -> ArchiveIndex:
    """The archive as that of a new partition `name`. `request_id`: hex; `created`: RFC 3339."""
    row: Mapping[str, Any] = index.row
    token_uuid = _uuid(request_id, "token")
    row = {**row, "name": name, "uuid": _uuid(request_id, "partition"), "token_uuid": token_uuid, "created": created}
    if index.token is None:
        return replace(index, row=row)
    data = with_token_name(index.token.data, name, token_uuid.replace("-", "")[:16])
    objects = tuple(
        replace(item, digest=identity(data), size=len(data)) if item.file == TOKEN_OBJECT else item
        for item in index.objects
    )
    return replace(index, row=row, objects=objects, token=replace(index.token, data=data))


def _uuid(request_id: str, what: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"keyfold {what} {request_id}"))
