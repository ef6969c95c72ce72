from __future__ import annotations

import pytest

from benchmarks.keyfold_bench.quantiles import quantile


@pytest.mark.parametrize(("fraction", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100)])
def test_a_quantile_is_the_sample_that_this_share_does_not_exceed(fraction: float, expected: int) -> None:
    assert quantile(range(100, 0, -1), fraction) == expected


def test_of_few_samples_the_largest_is_the_p99() -> None:
    assert quantile([3.0, 1.0, 2.0], 0.99) == 3.0
