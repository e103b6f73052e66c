"""Sessions with faults in weights that the optimizer folds, computes with, or copies."""

import numpy as np
import pytest
from onnx_zoo import bits_of, naively_flipped, ort_run
from weights_kit import MODELS

from ftonnx.inject import Faults, FaultSpace
from ftonnx.runtime import FaultySession


def flips_of(space):
    """Return a flip in the first, the middle and the last element of every target."""
    flips = []
    for number, target in enumerate(space.targets):
        bit = 17 if target.format.bits == 32 else 5
        places = {0, target.elements // 2, target.elements - 1}
        flips += [(number, element, bit) for element in sorted(places)]
    return flips


@pytest.mark.parametrize("case", MODELS)
def test_a_session_runs_flips_in_hidden_weights_as_a_flipped_file_does(case):
    """Each and all: bit for bit as a session with the same options does, and as an ordinary one up to rounding."""
    hidden = MODELS[case]()
    space = FaultSpace.of(hidden.model)
    session = FaultySession(hidden.model, space, sample=hidden.feeds["x"])
    golden = bits_of(session.golden(hidden.feeds["x"]))
    flips = flips_of(space)
    for chosen in (*([flip] for flip in flips), flips):
        faults = Faults(*zip(*chosen, strict=True))
        named = [(space.targets[number].tensor, element, bit) for number, element, bit in chosen]
        flipped = naively_flipped(hidden.model, named)
        found = session.run(hidden.feeds["x"], faults)
        same = ort_run(flipped, hidden.feeds, prepack=session.options.prepack)
        assert bits_of(found) == bits_of(same)
        np.testing.assert_allclose(found[0], ort_run(flipped, hidden.feeds)[0], rtol=1e-4, atol=1e-5)
    assert bits_of(session.golden(hidden.feeds["x"])) == golden


def test_a_weight_that_is_computed_with_is_run_from_a_flipped_file():
    """The optimizer leaves no place for it; the session says so."""
    hidden = MODELS["weight norm"]()
    session = FaultySession(hidden.model)
    assert session.strategy == "rebuild"
    assert "the optimizer left no place for 'v'" in session.fallback


@pytest.mark.parametrize("case", ["LSTM behind Slice and Concat", "class token, places, LayerNorm, layer scale"])
def test_gates_that_are_reordered_and_tokens_that_are_repeated_are_flipped_in_place(case):
    """They have moved, and are found there, in every copy."""
    hidden = MODELS[case]()
    session = FaultySession(hidden.model, strategy="live")
    assert (session.strategy, session.fallback) == ("live", None)
