"""Clipping of weights, against numpy on the tensors of the file."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx_zoo import halved, small_cnn

from ftonnx.errors import UsageError
from ftonnx.mitigate import clip_weights


def arrays(model):
    """Return the stored tensors by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.mark.parametrize("make", [small_cnn, lambda: halved(small_cnn())], ids=["float32", "float16"])
def test_the_largest_weights_are_brought_in(make):
    """So many of each tensor as the share says, to the largest of the others; biases and the graph stay."""
    model = make()
    before = model.SerializeToString(deterministic=True)
    found = clip_weights(model, 0.9, exclude=["w2"])
    assert model.SerializeToString(deterministic=True) == before
    old, new = arrays(model), arrays(found.proto)
    changed = 0
    for name, values in old.items():
        if name not in ("w1", "w3"):
            assert new[name].tobytes() == values.tobytes()
            continue
        magnitudes = np.sort(np.abs(values).ravel())
        limit = magnitudes[int(0.9 * (len(magnitudes) - 1))]
        assert found.limits[name] == limit
        assert new[name].dtype == values.dtype
        assert (new[name] == np.minimum(np.maximum(values, -limit), limit)).all()
        changed += int((np.abs(values) > limit).sum())
    assert set(found.limits) == {"w1", "w3"}
    assert found.clipped == changed > 40
    assert found.weights == old["w1"].size + old["w3"].size
    for graph in (model.graph, found.proto.graph):
        del graph.initializer[:]
    assert model == found.proto


def test_what_cannot_be_clipped_is_refused(tmp_path):
    """A share of all or none, and integers."""
    for share in (0, 1, 1.5):
        with pytest.raises(UsageError, match="`share`: a number above 0 and below 1 was expected, got"):
            clip_weights("digits", share)
    model = small_cnn()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((16, 3, 3, 3), np.int8), "w1"))
    with pytest.raises(UsageError, match="has no weights that are floats"):
        clip_weights(model, include=["w1"])
    clip_weights("digits", 0.99).save(tmp_path / "clipped.onnx")
    assert onnx.load(tmp_path / "clipped.onnx").graph.node
