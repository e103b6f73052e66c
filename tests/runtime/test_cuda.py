"""Faults in models that run on CUDA; skipped where onnxruntime-gpu or a GPU is missing.

Its kernels compute other last bits than those of the CPU, so the oracle is an ordinary session on CUDA, on a file that
was flipped without ftonnx.
"""

import numpy as np
import onnxruntime
import pytest
from onnx_zoo import bits_of, naively_flipped, random_floats, small_cnn, with_half_weights
from runtime_kit import branched_cnn, norm_net

from ftonnx.campaign import evaluate
from ftonnx.errors import UsageError
from ftonnx.inject import BitFlipRates, Faults, FaultSpace, unit_rng
from ftonnx.quant import quantize
from ftonnx.runtime import STRATEGIES, FaultySession
from ftonnx.sessions import SessionOptions, open_session

PROVIDERS = ("cuda", "cpu")
IMAGES = random_floats(3, 3, 8, 8, seed=9, scale=1)
FEEDS = {"x": IMAGES}


def has_cuda():
    """Say whether ONNX Runtime runs on a GPU here."""
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return False
    try:
        on_cuda(small_cnn())
    except UsageError:
        return False
    return True


def on_cuda(model):
    """Run an ordinary session on CUDA."""
    return open_session(model.SerializeToString(), SessionOptions(providers=PROVIDERS, threads=1)).run(None, FEEDS)


pytestmark = pytest.mark.skipif(not has_cuda(), reason="needs onnxruntime-gpu and a GPU")

MODELS = {
    "fp32": small_cnn,
    "half weights": lambda: with_half_weights(small_cnn()),
    "norms": norm_net,
    "branches": branched_cnn,
    "int8": lambda: quantize(small_cnn(), [IMAGES]).proto,
}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", MODELS)
def test_a_faulty_run_is_that_of_a_session_on_a_flipped_file(name, strategy):
    """Whatever a strategy cannot do here is done by another, which says so."""
    model = MODELS[name]()
    space = FaultSpace.of(model)
    session = FaultySession(model, space, providers=PROVIDERS, strategy=strategy, sample=IMAGES)
    flips = [(space.targets[0].tensor, 5, 3), (space.targets[-1].tensor, 0, 2)]
    names = [target.tensor for target in space.targets]
    faults = Faults(*zip(*((names.index(tensor), e, b) for tensor, e, b in flips), strict=True))
    expected = on_cuda(naively_flipped(model, flips))
    golden = session.golden(IMAGES)
    for mine, theirs in zip(session.run(IMAGES, faults), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)
    assert bits_of(session.golden(IMAGES)) == bits_of(golden)
    for repeat in range(3):
        drawn = BitFlipRates(1e-3).draw(space, unit_rng(0, 1e-3, 0, repeat))
        session.run(IMAGES, drawn)
        assert bits_of(session.golden(IMAGES)) == bits_of(golden)


def test_a_campaign_on_cuda_agrees_with_one_on_the_cpu():
    """The same patterns, so accuracies differ by what the last bits decide."""
    results = [
        evaluate("digits", "digits", rates=(1e-5, 1e-4), repeats=5, providers=providers)
        for providers in (PROVIDERS, ("cpu",))
    ]
    ours, theirs = ([rate.top1.mean for rate in result.rates] for result in results)
    np.testing.assert_allclose(ours, theirs, atol=0.02)
    assert results[0].golden["top1"] == pytest.approx(results[1].golden["top1"], abs=0.01)


@pytest.mark.parametrize("roles", [("activation",), ("weight", "activation")])
@pytest.mark.parametrize("name", ["fp32", "branches", "int8"])
def test_faults_in_activations_do_what_they_do_on_the_cpu(name, roles):
    """But for the last bits; outputs without faults are those of an ordinary session on CUDA."""
    model = MODELS[name]()
    space = FaultSpace.of(model, roles=roles).for_units(len(IMAGES))
    session = FaultySession(model, space, providers=PROVIDERS, sample=IMAGES)
    other = FaultySession(model, space, sample=IMAGES)
    golden = session.golden(IMAGES)
    for mine, theirs in zip(golden, on_cuda(model), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)
    for repeat in range(3):
        faults = BitFlipRates(3e-4).draw(space.drawn, unit_rng(0, 3e-4, 0, repeat))
        # codes that rounding puts on the other side of a step differ by one
        loose = 0.2 if name == "int8" else 1e-2
        for mine, theirs in zip(session.run(IMAGES, faults), other.run(IMAGES, faults), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=loose, atol=loose)
        assert bits_of(session.golden(IMAGES)) == bits_of(golden)


@pytest.mark.parametrize("form", ["q15.16", "ieee"])
def test_flips_of_the_output_are_those_of_numpy(form):
    """Nothing follows it; opening the session has proved that flips of other activations arrive."""
    model = small_cnn()
    space = FaultSpace.of(model, format=form, roles=("activation",)).for_units(len(IMAGES))
    session = FaultySession(model, space, providers=PROVIDERS, sample=IMAGES)
    plain = on_cuda(model)
    assert bits_of(session.golden(IMAGES)) == bits_of(plain)
    last = [target.tensor for target in space.targets].index(session.outputs[0])
    faults = Faults([last] * 3, [0, 4, 9], [30, 3, 17])
    expected = plain[0].ravel().copy()
    masks = np.uint64(1) << faults.bit.astype(np.uint64)
    space.targets[last].format.flip(expected.view(np.uint32), faults.element, masks)
    assert bits_of([session.run(IMAGES, faults)[0].ravel()]) == bits_of([expected])
