from __future__ import annotations

import sys
from pathlib import Path

# The benchmarks are no installed package; benchmarks/run puts the checkout on the path as well.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
