"""What was asked for, and which source of a preprocessing wins."""

import pytest

from ftonnx.datasets import Preprocess
from ftonnx.datasets.request import Request, Resolved
from ftonnx.errors import UsageError

MODEL = {"ftonnx.preprocess": '{"scale": 3.0, "crop": 3, "resize": 30, "mean": [3.0]}'}


def test_each_field_comes_from_the_first_source_that_says_it():
    """The caller, the file beside the data, the model, the default."""
    request = Request(preprocess=Preprocess(scale=1.0), model_metadata=MODEL)
    resolved = request.resolve(Preprocess(scale=2.0, crop=2), default=Preprocess(resize=40, std=(4.0,)))
    assert resolved.effective == Preprocess(scale=1.0, crop=2, resize=30, mean=(3.0,), std=(4.0,))


def test_a_default_is_not_taken_for_something_that_was_said():
    """A model that comes later still fills it in."""
    resolved = Request().resolve(default=Preprocess(scale=0.5))
    assert resolved.effective.scale == 0.5
    assert resolved.completed(MODEL).effective.scale == 3.0
    assert resolved.completed(None) == resolved


def test_completing_twice_keeps_the_first_model():
    """What one model said, another does not change."""
    resolved = Resolved(said=Preprocess(), default=Preprocess()).completed(MODEL)
    assert resolved.completed({"ftonnx.preprocess": '{"scale": 9.0}'}) == resolved


@pytest.mark.parametrize("split", ["a/b", "..", "-x", ""])
def test_a_split_is_a_plain_name(split):
    """It becomes a part of a path."""
    with pytest.raises(UsageError, match="split: expected a plain name"):
        Request(split=split)
