"""What a fault space knows of the bits that are stored."""

import pickle

import numpy as np
import pytest
from inject_kit import space_of
from onnx_zoo import small_cnn

from ftonnx.errors import UsageError
from ftonnx.inject import FaultSpace, faulty_model


@pytest.mark.parametrize("form", ["ieee", "q15.16", "q3.4"])
def test_stored_bits_are_those_that_flips_change(form):
    """The oracle is the model file that has the flips."""
    model = small_cnn()
    # flips of exponents could make what no space takes
    space = FaultSpace.of(model, format=form, bits=range(8 if form == "q3.4" else 22))
    rng = np.random.default_rng(3)
    chosen = np.sort(rng.choice(space.bits, 200, replace=False))
    faults = space.locate(chosen)
    before = space.is_set(faults)
    after = FaultSpace.of(faulty_model(model, space, faults), format=form).is_set(faults)
    assert before.any()
    assert not before.all()
    assert (after != before).all()


def test_stored_bits_are_read_again_in_another_process():
    """Words that were read do not travel with the space."""
    space = FaultSpace.of(small_cnn())
    faults = space.locate(np.arange(0, space.bits, 7))
    again = pickle.loads(pickle.dumps(space))
    assert (again.is_set(faults) == space.is_set(faults)).all()


def test_a_space_without_a_model_knows_no_stored_bits():
    """Only a model says what is stored."""
    with pytest.raises(UsageError, match="made without a model"):
        space_of((4, np.float32)).codes(0, np.array([0]))
