"""A page of docs/ as its reader uses it: the named blocks are run, or installed, word for word.

A fence's first line says language and name, "```sh NAME"; a name that is an absolute path is a file's.
"""

from __future__ import annotations

import re
from pathlib import Path

_FENCE = re.compile(r"^```(?P<language>\w*) *(?P<name>\S*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> dict[str, str]:
    """Text by name. ValueError if a block has no name, or a name is there twice."""
    found: dict[str, str] = {}
    for fence in _FENCE.finditer(page.read_text(encoding="utf-8")):
        name = fence["name"]
        if not name or name in found:
            raise ValueError(f"{page.name}: a block's name {name!r} is missing or there twice: {fence['text'][:60]!r}")
        found[name] = fence["text"]
    return found
