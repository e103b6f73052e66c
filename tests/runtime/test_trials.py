"""Runs of chosen images: the same bits as whole runs with the same faults and thresholds."""

import numpy as np
import pytest
from mitigate_kit import images_of, residual_net, scalar
from onnx_zoo import bits_of

from ftonnx.export import clip_activations, thresholds_as_inputs
from ftonnx.inject import BitFlipRates, FaultSpace, load_model, unit_rng
from ftonnx.runtime import FaultySession

FEEDING = {"act1": ["w1", "b1"], "act2": ["w2"], "act3": ["w3", "b3", "w4"]}


def opened(kind):
    """Return a session on a net whose thresholds are inputs, its fault space, and twelve images."""
    clipped, _ = clip_activations(residual_net(kind), dict.fromkeys(FEEDING, scalar(5)))
    model, thresholds = thresholds_as_inputs(clipped)
    loaded = load_model(model)
    space = FaultSpace.of(loaded)
    images = images_of(12)
    return FaultySession(loaded, space, strategy="live", sample=images, extra=thresholds), space, images


@pytest.mark.parametrize("kind", ["relu", "gelu", "relu6"])
@pytest.mark.parametrize("activation", list(FEEDING))
def test_rows_of_several_patterns_are_those_of_whole_runs(kind, activation):
    """Fewer than fill a run, too, and of a pattern without faults; outputs before the cut come with them."""
    session, space, images = opened(kind)
    part = space.only(FEEDING[activation])
    patterns = [
        space.widen(BitFlipRates(rate).draw(part, unit_rng(3, rate, 0, 0)), part) for rate in (1e-2, 3e-2, 1e-9)
    ]
    varied = f"{activation}.threshold"
    trials = session.trials(patterns, varied, 5)
    golden = trials.golden(session.feeds(images))
    assert bits_of(trials.check(golden)) == bits_of(session.golden(images))
    made = [trials.faulty(golden, faults) for faults in patterns]
    chosen = [[0, 11], [3], [7, 2]]
    for limit in (0.0, 0.3, 5.0):
        for some in (chosen, [[4], [], []]):
            parts = [{n: a[rows] for n, a in each.items()} for each, rows in zip(made, some, strict=True)]
            joined = {name: np.concatenate([each[name] for each in parts]) for name in parts[0]}
            shared = {**session.extra, varied: scalar(limit)}
            clipped = trials.varied(joined, shared)
            found = trials.outputs(clipped, shared)
            session.extra[varied] = scalar(limit)
            whole = [session.run(images, faults) for faults in patterns]
            session.extra[varied] = scalar(5)
            for place, output in enumerate(found):
                expected = [run[place][rows] for run, rows in zip(whole, some, strict=True)]
                assert bits_of([output]) == bits_of([np.concatenate(expected)])


def test_where_faults_lie_behind_the_input_the_model_is_not_cut():
    """A pattern there would not be run once for all thresholds."""
    session, space, _ = opened("relu")
    part = space.only(["w2"])
    faults = space.widen(BitFlipRates(1e-2).draw(part, unit_rng(3, 1e-2, 0, 0)), part)
    assert session.trials([faults], "act1.threshold", 5) is None
    assert session.trials([faults], "act3.threshold", 5) is not None


def test_rows_of_an_image_with_one_key_give_one_output():
    """Thresholds without a value between them share it, and at 0 all patterns do; others tell rows apart."""
    session, space, images = opened("relu")
    part = space.only(FEEDING["act2"])
    patterns = [space.widen(BitFlipRates(rate).draw(part, unit_rng(3, rate, 0, 0)), part) for rate in (1e-2, 3e-2)]
    trials = session.trials(patterns, "act2.threshold", 6)
    golden = trials.golden(session.feeds(images))
    found = {}
    keys = {}
    for number, faults in enumerate(patterns):
        rows = {name: array[:6] for name, array in trials.faulty(golden, faults).items()}
        for limit in (0.0, 0.3, 1e30, 2e30):
            clipped = trials.varied(rows, {**session.extra, "act2.threshold": scalar(limit)})
            keys[number, limit] = trials.keys(clipped)
            outputs = trials.outputs(clipped, session.extra)
            for image, key in enumerate(keys[number, limit]):
                bits = [bits_of([output[image]]) for output in outputs]
                assert found.setdefault((image, key), bits) == bits
    assert keys[0, 1e30] == keys[0, 2e30]
    assert keys[0, 0.0] == keys[1, 0.0]
    assert keys[0, 1e30] != keys[1, 1e30]
    assert all(a != b for a, b in zip(keys[0, 0.0], keys[0, 1e30], strict=True))
