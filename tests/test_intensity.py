"""Quantiles are numpy's."""

import numpy as np
import pytest

from medq_vlm.intensity import linear_quantiles, median


@pytest.mark.parametrize("count", [1, 2, 7, 50_000])
def test_quantiles_are_linear_between_ranks(count: int) -> None:
    values = np.random.default_rng(count).normal(50, 9, count).astype(np.float32)
    shares = (0.0, 0.005, 0.3, 0.995, 1.0)
    assert linear_quantiles(values, shares) == pytest.approx(np.quantile(values, shares).tolist(), rel=1e-6)
    assert median(values.reshape(1, -1)) == pytest.approx(float(np.median(values)), rel=1e-6)
