"""The real age-plugin-keyfold on PATH, over keys in memory or in a token of this test."""

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
{imports}
sys.exit(serve(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer, lambda: {keys}))
"""


def install(directory: Path, root: bytes, cluster_uuid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on `age` of this test finds the plugin with the keys of this cluster, in memory."""
    imports = "from keyfold.custody.memory_keys import MemorySystemKeys"
    _install(directory, imports, f"MemorySystemKeys(bytes.fromhex({root.hex()!r}), {cluster_uuid!r})", monkeypatch)


def install_with_media(
    directory: Path, root: bytes, cluster_uuid: str, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `install`, and with the offline media whose private scalars the JSON file `media` has, at that moment."""
    imports = "import json\nfrom pathlib import Path\nfrom keyfold.custody.memory_keys import MemorySystemKeys"
    there = f"json.loads(Path({str(media)!r}).read_text())"
    keys = f"MemorySystemKeys(bytes.fromhex({root.hex()!r}), {cluster_uuid!r}, (1,), {there})"
    _install(directory, imports, keys, monkeypatch)


def install_on_token(directory: Path, softhsm2_conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on `age` of this test finds the plugin with the keys in this system token, PIN from the credential."""
    imports = (
        "from pathlib import Path\n"
        "from keyfold.config import credential\n"
        "from keyfold.custody.token_keys import TokenSystemKeys"
    )
    keys = f"TokenSystemKeys(Path({str(softhsm2_conf)!r}), 'system', credential('system.pin'))"
    _install(directory, imports, keys, monkeypatch)


def _install(directory: Path, imports: str, keys: str, monkeypatch: pytest.MonkeyPatch) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "age-plugin-keyfold"
    program.write_text(_SCRIPT.format(python=sys.executable, node=str(_NODE), imports=imports, keys=keys))
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
