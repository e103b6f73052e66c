"""Distributions of activations against numpy on the whole arrays."""

import numpy as np
import onnx
import pytest
from mitigate_kit import (
    KINDS,
    activation_nodes,
    data_of,
    exposed,
    images_of,
    one_activation,
    peaks,
    plain_run,
    residual_net,
)
from onnx import helper
from onnx_zoo import model_of, naively_flipped, small_cnn

from ftonnx.datasets import as_dataset
from ftonnx.errors import DataError
from ftonnx.export import clip_activations, find_activations
from ftonnx.inject import BitFlipRates, FaultSpace, load_model, unit_rng
from ftonnx.mitigate import activation_distributions, protect

BATCH = 6


def measured(model, images, **options):
    """Return the distributions of a model in memory."""
    data = data_of(images, np.zeros(len(images), int))
    options = {"batch_size": BATCH} | options
    return list(activation_distributions(load_model(model), data, find_activations(model), **options))


def whole(model, images, rate=0.0, seed=0):
    """Return all tensors of all activations in one array each; faulty files are written batch by batch."""
    activations = find_activations(model)
    tensors = {name for a in activations for name in (a.observed, a.output)}
    space, batches = FaultSpace.of(model), []
    for index, start in enumerate(range(0, len(images), BATCH)):
        faults = BitFlipRates(rate).draw(space, unit_rng(seed, rate, 0, index))
        places = zip(faults.target, faults.element.tolist(), faults.bit.tolist(), strict=True)
        faulty = naively_flipped(model, [(space.targets[t].tensor, e, b) for t, e, b in places])
        batches.append(plain_run(exposed(faulty, tensors), images[start : start + BATCH], sorted(tensors)))
    return {name: np.concatenate([batch[name].ravel() for batch in batches]) for name in tensors}


def check(got, values):
    """Compare one distribution with numpy on all values at once."""
    finite = values[np.isfinite(values)].astype(np.float64)
    assert got.count == values.size
    assert got.not_finite == pytest.approx(1 - finite.size / values.size, abs=1e-15)
    assert got.sparsity == pytest.approx(np.mean(values == 0), abs=1e-3)  # the optimizer's Sigmoid underflows elsewhere
    close = {"rel": 1e-5, "abs": 1e-5 * np.abs(finite).max(initial=0)}
    assert got.minimum == pytest.approx(finite.min(), **close)
    assert got.maximum == pytest.approx(finite.max(), **close)
    assert got.mean == pytest.approx(finite.mean(), **close)
    width = (finite.max() - finite.min()) / 2048
    for q, value in ((0.25, got.quartile1), (0.5, got.median), (0.75, got.quartile3)):
        exact = np.quantile(finite, q, method="inverted_cdf")
        assert -1e-5 * np.abs(finite).max() <= exact - value <= 1.01 * width + 1e-5 * np.abs(finite).max(), q
    assert len(got.edges) == len(got.histogram) + 1 == 65
    assert sum(got.histogram) == finite.size
    assert (got.edges[0], got.edges[-1]) == pytest.approx((finite.min(), finite.max()), **close)
    expected = np.histogram(finite, bins=np.linspace(finite.min(), finite.max(), 65))[0]
    assert np.abs(np.cumsum(got.histogram) - np.cumsum(expected)).max() <= 2 + finite.size // 1000


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_is_numpys_on_all_values_at_once(kind):
    """Range, mean, quartiles to a bin, share of zeros, histogram; images in batches of 6, 6 and 4."""
    model, images = residual_net(kind), images_of(16)
    rows, values = measured(model, images), whole(model, images)
    assert [(row.activation, row.rate, row.above) for row in rows] == [(f"act{i}", 0.0, None) for i in (1, 2, 3)]
    for row, activation in zip(rows, find_activations(model), strict=True):
        check(row, values[activation.output])


@pytest.mark.parametrize("rate", [1e-3, 2e-2])
def test_with_faults_the_numbers_are_those_of_faulty_files(rate):
    """One pattern per batch, drawn as in a campaign; the fault-free rows stay what they are."""
    model, images = residual_net("relu"), images_of(16)
    limits = {"act1": np.float32(3), "act3": np.linspace(1, 9, 5, dtype=np.float32).reshape(1, 5, 1, 1)}
    rows = measured(model, images, rates=(0.0, rate), thresholds=limits, seed=5)
    assert [(row.activation, row.rate) for row in rows] == [(f"act{i}", r) for r in (0.0, rate) for i in (1, 2, 3)]
    for index, r in enumerate((0.0, rate)):
        values = whole(model, images, rate=r, seed=5)
        for row, activation in zip(rows[3 * index :], find_activations(model), strict=False):
            check(row, values[activation.output])
        above1 = np.mean(values["a1"] > 3)
        above3 = np.mean(values["a3"].reshape(16, 5, -1) > limits["act3"].reshape(1, 5, 1))
        assert (rows[3 * index].above, rows[3 * index + 2].above) == pytest.approx((above1, above3), abs=2e-3)
        assert rows[3 * index + 1].above is None
    assert rows[3].maximum > rows[0].maximum


def test_nan_and_infinities_are_counted_apart():
    """The numbers are of the finite values; NaN and Inf are above any threshold."""
    steps, _ = activation_nodes("relu", "l", "y", "act")
    model = model_of(
        [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Log", ["c"], ["l"]), *steps],
        [("w", np.ones((1, 1, 1, 1), np.float32))],
        inputs={"x": ("batch", 1, 4, 4)},
    )
    images = np.abs(images_of(16, (1, 4, 4))) * 3
    images[3, 0, 0] = -1
    rows = measured(model, images, thresholds={"act": np.float32(1)})
    values = plain_run(model, images)["y"].ravel()
    assert np.isnan(values).sum() == 4
    check(rows[0], values)
    assert rows[0].above == np.mean(~(values <= 1))
    rows = measured(model, -images, thresholds={"act": np.float32(1)})
    assert rows[0].not_finite == 1 - 4 / 256
    (only,) = measured(model, -np.abs(images[:2]))
    assert (only.not_finite, only.count, only.sparsity, sum(only.histogram)) == (1.0, 32, 0.0, 0)
    assert all(np.isnan(value) for value in (only.minimum, only.maximum, only.mean, only.median, only.quartile1))


@pytest.mark.parametrize("value", [-1.0, 0.0, 0.5, 1e30])
def test_an_activation_with_one_value_only_has_a_histogram_too(value):
    """One that never fires is all zeros."""
    (row,) = measured(one_activation("relu"), np.full((3, 1, 4, 4), value, np.float32))
    kept = float(np.float32(max(value, 0)))
    assert (row.minimum, row.quartile1, row.median, row.quartile3, row.maximum) == (kept,) * 5
    assert row.mean == pytest.approx(kept)
    assert (sum(row.histogram), row.histogram[0]) == (48, 48)
    assert np.all(np.diff(row.edges) > 0)


def test_the_share_above_a_threshold_is_that_before_clipping():
    """Behind a clipped activation nothing is above; what it compares is its input."""
    images = np.linspace(-4, 4, 32, dtype=np.float32).reshape(2, 1, 4, 4)
    for kind in ("relu", "elu", "relu6"):
        limit = {"act": np.float32(2)}
        (before,) = measured(one_activation(kind), images, thresholds=limit)
        clipped, _ = clip_activations(one_activation(kind), limit)
        names = {"relu": "act", "elu": "act/ClipAbove", "relu6": "act/CReLU"}
        after = {row.activation: row for row in measured(clipped, images, thresholds={names[kind]: np.float32(2)})}
        assert before.above == after[names[kind]].above == 8 / 32
        assert after[names[kind]].maximum <= 2 < before.maximum


def test_a_model_that_insists_on_a_batch_size_gets_it():
    """The images that fill up the last batch are not counted."""
    fixed = residual_net("relu")
    for value in (*fixed.graph.input, *fixed.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = BATCH
    onnx.checker.check_model(fixed)
    assert measured(fixed, images_of(16)) == measured(residual_net("relu"), images_of(16))


def test_the_same_seed_gives_the_same_numbers():
    """And another one others, where there are faults."""
    first, again, other = (
        [row.to_dict() for row in measured(residual_net("relu"), images_of(8), rates=(0.0, 1e-2), seed=seed)]
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first[:3] == other[:3]
    assert first[3:] != other[3:]


def test_memory_does_not_grow_with_the_data():
    """Peaks for 4 and for 40 batches of a stream that is made as it is read."""
    model = load_model(small_cnn())
    options = {"rates": (0.0, 1e-3), "batch_size": 16}
    few, many = peaks(
        lambda data: list(activation_distributions(model, data, find_activations(model.proto), **options)), 4, 40
    )
    assert many < 1.3 * few


def _two_inputs(batch):
    """Return a net of two inputs: the sum of a (batch, 3) and b (batch, 3), scaled, behind a Relu."""
    nodes = [
        helper.make_node("Add", ["a", "b"], ["s"]),
        helper.make_node("MatMul", ["s", "w"], ["m"]),
        helper.make_node("Relu", ["m"], ["y"], name="act"),
    ]
    weights = [("w", np.diag(np.float32([2, 3, 4])))]
    return model_of(nodes, weights, inputs={"a": (batch, 3), "b": (batch, 3)}, outputs={"y": (batch, 3)})


def test_images_of_a_filled_batch_count_with_several_inputs_too():
    """The last of two batches of 4 holds one row."""
    a = np.arange(15, dtype=np.float32).reshape(5, 3)
    data = as_dataset([({"a": a, "b": a}, np.zeros(5, int))])
    model = _two_inputs(4)
    (row,) = activation_distributions(load_model(model), data, find_activations(model), batch_size=4)
    assert (row.count, row.maximum, row.mean) == (15, 112.0, (2 * a * [2, 3, 4]).mean())


@pytest.mark.parametrize(
    "work", [protect, lambda m, d: list(activation_distributions(m, d, find_activations(m.proto)))]
)
def test_an_input_without_data_is_refused(work):
    """Only a campaign feeds constants."""
    rows = np.ones((5, 3), np.float32)
    data = as_dataset([({"a": rows}, np.zeros(5, int))])
    model = load_model(_two_inputs("n"))
    with pytest.raises(
        DataError, match=r"for all 2 inputs of .* got none for 'b'; constants are fed in campaigns only"
    ):
        work(model, data)
