"""A token directory of a drill's own, filled out of an archive by the code that fills the nodes' own."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from keyfold.backup.archive import TOKEN_OBJECT, ArchivedObject
from keyfold.token.directory import TokenDirectory
from keyfold.token.object_file import describe, identity
from keyfold.token.softhsm import SoftHsmDirectory


class ScratchToken:
    def __init__(self, directory: TokenDirectory) -> None:
        self._directory = directory

    def fill(self, objects: Iterable[ArchivedObject]) -> int:
        """Write them; how many SoftHSM should show without the PIN."""
        public = 0
        for item in objects:
            self._directory.write(item.file, item.data, durable=False)
            public += item.file != TOKEN_OBJECT and not describe(item.data).private
        self._directory.bump()
        return public

    def digests(self) -> dict[str, str]:
        """Identity of every object file there is now; "" for one that vanished meanwhile."""
        return {name: identity(self._directory.read(name) or b"") for name in self._directory.files()}


def scratch_token(home: Path, token_uuid: str) -> ScratchToken:
    """An empty token directory below `home`, which must not exist yet."""
    home.mkdir(mode=0o700)
    directory = SoftHsmDirectory(home / "tokens" / token_uuid, os.geteuid(), os.getegid())
    directory.create()
    return ScratchToken(directory)
