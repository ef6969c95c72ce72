"""These tests belong to Molecule's scenario `default`: elsewhere there are no machines to look at."""

from __future__ import annotations

import os

collect_ignore_glob = [] if "MOLECULE_SCENARIO_NAME" in os.environ else ["*"]
