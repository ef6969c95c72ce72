"""Quantiles by nearest rank: always a value that was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence


def quantile(values: Sequence[float], fraction: float) -> float:
    """The smallest of `values` (at least one) that is not exceeded by `fraction` of them; 0 < fraction ≤ 1."""
    return sorted(values)[math.ceil(fraction * len(values)) - 1]
