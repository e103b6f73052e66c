"""Batch sizes that a model insists on."""

import numpy as np
import onnx
import pytest

import ftonnx
from ftonnx.models import resolve
from ftonnx.sessions import Declared, fixed_batch, padded, unpadded


@pytest.mark.parametrize(("declared", "expected"), [(4, 4), (0, None), (-1, None), ("n", None)])
def test_a_batch_size_is_fixed_only_when_it_is_a_positive_number(declared, expected):
    """Exporters write a free size as a name, as nothing, or as -1."""
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3])
    dim = value.type.tensor_type.shape.dim[0]
    dim.Clear()
    setattr(dim, "dim_param" if isinstance(declared, str) else "dim_value", declared)
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [value], []))
    assert fixed_batch(model) == expected


def test_a_campaign_runs_a_model_whose_free_batch_is_written_as_minus_one():
    """A size of -1 is free in a whole campaign, not a batch of minus one image."""
    path = ftonnx.load_model(resolve("digits"))
    model = onnx.ModelProto()
    model.CopyFrom(path.proto)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    images = np.random.default_rng(0).random((5, 1, 8, 8), np.float32)
    result = ftonnx.evaluate(model, [(images, np.arange(5))], rates=[0.0], repeats=2)
    assert result.settings.batch_size == 8
    assert result.rates[0].masked.mean == 1.0


def test_the_first_input_that_is_not_stored_decides():
    """Files of IR version 3 list what they store among the inputs."""
    values = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [s, 3]) for n, s in (("w", 7), ("x", 2))]
    stored = onnx.numpy_helper.from_array(np.zeros((7, 3), np.float32), "w")
    assert fixed_batch(onnx.helper.make_model(onnx.helper.make_graph([], "g", values, [], [stored]))) == 2
    assert fixed_batch(onnx.helper.make_model(onnx.helper.make_graph([], "g", values[:1], [], [stored]))) is None
    assert fixed_batch(onnx.helper.make_model(onnx.helper.make_graph([], "g", values, [])), besides=["w"]) == 2


def test_texts_are_called_so():
    """Numpy knows them as objects."""
    value = onnx.helper.make_tensor_value_info("label", onnx.TensorProto.STRING, ["n"])
    assert Declared.of(value).text == "label: string (n)"


def test_padding_and_its_undoing():
    """A batch that is too short is filled with its last image; what belongs to no image stays whole."""
    images = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert padded(images, None) is images
    assert padded(images, 2) is images
    full = padded(images, 5)
    assert full.tolist() == [[0, 1], [2, 3], [4, 5], [4, 5], [4, 5]]
    assert unpadded(full, 3, 5).tolist() == images.tolist()
    windows = np.repeat(full, 4, axis=0)
    assert len(unpadded(windows, 3, 5)) == 12
    for whole in (np.float32(1), np.arange(7), full):
        assert unpadded(np.asarray(whole), 3, None if whole is full else 5) is not None
    assert unpadded(np.arange(7), 3, 5).tolist() == list(range(7))
