"""The running histogram and its error-minimising range, against torch's own observer."""

import warnings

import numpy as np
import pytest

from ftonnx.quant import RunningHistogram

torch = pytest.importorskip("torch")


def _streams():
    """Yield (name, batches); every batch of a stream is drawn anew."""
    rng = np.random.default_rng
    yield "uniform", [rng(i).uniform(-3, 5, 20000) for i in range(6)]
    yield "normal", [rng(i).normal(0, 1, 20000) for i in range(6)]
    yield "many normal", [rng(i).normal(0, 1, 500000) for i in range(2)]
    yield "half-normal with outliers", [_relu_like(rng(i)) for i in range(8)]
    yield "sparse", [np.maximum(rng(i).normal(-1.5, 1, 50000), 0) for i in range(5)]
    yield "growing", [rng(i).normal(0, 2.0**i, 5000) for i in range(8)]
    yield "growing relu", [np.maximum(rng(i).normal(0, 1.2**i, 5000), 0) for i in range(12)]
    yield "shrinking", [rng(i).normal(0, 2.0**-i, 5000) for i in range(5)]
    yield "negative", [-np.abs(rng(i).normal(3, 1, 5000)) for i in range(3)]
    yield "constant", [np.full(100, 2.5)] * 3
    yield "zero", [np.zeros(100)] * 3
    yield "constant, then not", [np.full(100, 2.5), rng(0).normal(0, 1, 1000)]
    yield "with infinities", [np.append(rng(i).normal(0, 1, 5000), [np.inf, -np.inf]) for i in range(3)]
    for seed in range(40):
        draw = rng(1000 + seed)
        yield f"mixture {seed}", [_mixture(draw) for _ in range(draw.integers(1, 9))]


def _relu_like(rng):
    values = np.abs(rng.normal(0, 1, 20000))
    values[rng.random(20000) < 0.5] = 0
    values[:3] = rng.uniform(10, 40, 3)
    return values


def _mixture(rng):
    bulk = rng.normal(rng.uniform(-2, 2), rng.uniform(0.1, 3), rng.integers(100, 30000))
    return np.concatenate([bulk, rng.standard_t(3, rng.integers(10, 5000))])


STREAMS = dict(_streams())


def _torch_observer():
    with warnings.catch_warnings(action="ignore"):
        from torch.ao.quantization import HistogramObserver

        return HistogramObserver()


@pytest.mark.parametrize("name", STREAMS)
def test_ranges_agree_with_torch_after_every_batch(name):
    """Within 1 % of the range, batch by batch, whatever the values look like."""
    ours, theirs = RunningHistogram(), _torch_observer()
    for values in STREAMS[name]:
        values = values.astype(np.float32)
        ours.update(values.reshape(-1, 1))
        with warnings.catch_warnings(action="ignore"):
            theirs(torch.from_numpy(values))
        expected = np.array([float(end) for end in theirs._non_linear_param_search()])
        width = expected[1] - expected[0]
        np.testing.assert_allclose(ours.best_range(), expected, rtol=0, atol=0.01 * width + 1e-12)


def test_every_value_is_counted_once():
    """Also when later batches widen the bins; the histogram's size does not grow."""
    histogram = RunningHistogram()
    for index in range(10):
        histogram.update(np.random.default_rng(index).normal(0, 1 + index, 1000).astype(np.float32))
        assert histogram.counts.sum() == pytest.approx(1000 * (index + 1))
        assert histogram.counts.shape == (2048,)


def test_nothing_seen_gives_an_empty_range():
    """No batch, an empty batch, and a batch of infinities only."""
    histogram = RunningHistogram()
    histogram.update(np.zeros(0, np.float32))
    histogram.update(np.full(3, np.inf, np.float32))
    assert histogram.best_range() == (0.0, 0.0)


def test_a_rare_outlier_is_cut_off_where_that_costs_less():
    """One value far out would cost all others their resolution."""
    values = np.random.default_rng(0).uniform(0, 1, 1_000_000).astype(np.float32)
    values[0] = 50.0
    histogram = RunningHistogram()
    histogram.update(values)
    low, high = histogram.best_range()

    def error(top):
        step = top / 255
        return float(((np.clip(np.rint(values / step), 0, 255) * step - values) ** 2).sum())

    assert low == pytest.approx(0, abs=1e-4)
    assert 0.9 < high < 2
    assert error(high) < error(50.0)
