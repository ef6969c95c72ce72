"""The real age-plugin-keyfold on PATH, over keys in memory instead of a token."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import keyfold

# The repository's own node/, so that the plugin runs the code under test.
_NODE = Path(keyfold.__path__[0]).parent

_SCRIPT = """#!{python}
import sys
sys.path.insert(0, {node!r})
from keyfold.backup.age_plugin import serve
from keyfold.custody.memory_keys import MemorySystemKeys
keys = lambda: MemorySystemKeys(bytes.fromhex({root!r}), {cluster_uuid!r})
sys.exit(serve(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer, keys))
"""


def install(directory: Path, root: bytes, cluster_uuid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on `age` of this test finds the plugin with the keys of this cluster."""
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "age-plugin-keyfold"
    program.write_text(
        _SCRIPT.format(python=sys.executable, node=str(_NODE), root=root.hex(), cluster_uuid=cluster_uuid)
    )
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
