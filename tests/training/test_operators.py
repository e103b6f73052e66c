"""Operators in torch against ONNX Runtime, attribute by attribute; those of segmentation networks."""

import numpy as np
import onnx
import pytest
from onnx_zoo import model_of, ort_run, random_floats

from ftonnx.errors import ModelError

torch = pytest.importorskip("torch")

from ftonnx.training.operators import OPERATORS  # noqa: E402

X = random_floats(2, 4, 5, 6, seed=1)


def both(op, *stored, **attributes):
    """Return what torch and ONNX Runtime make of X and stored inputs; an input that is left out is None."""
    names = ["x", *("" if value is None else f"i{number}" for number, value in enumerate(stored))]
    given = {name: value for name, value in zip(names[1:], stored, strict=True) if name}
    node = onnx.helper.make_node(op, names, ["y"], op.lower(), **attributes)
    inputs = [torch.from_numpy(X), *(None if value is None else torch.from_numpy(value) for value in stored)]
    said = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    found = OPERATORS[op](node, said, inputs)
    (expected,) = ort_run(model_of([node], list(given.items()), inputs={"x": X.shape}), {"x": X})
    return found.numpy(), expected


W = random_floats(4, 3, 3, 2, seed=2)
B = random_floats(3, seed=3)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"strides": [2, 3]},
        {"strides": [2, 2], "pads": [1, 0, 0, 1]},
        {"strides": [3, 2], "output_padding": [2, 1], "pads": [1, 1, 1, 0]},
        {"dilations": [2, 1]},
    ],
)
def test_a_transposed_convolution(attributes):
    """With uneven padding, which is cut from its result."""
    found, expected = both("ConvTranspose", W, B, **attributes)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_transposed_convolution_in_groups_without_a_bias():
    """Each from its own channels."""
    found, expected = both("ConvTranspose", random_floats(4, 2, 2, 2, seed=4), group=2, strides=[2, 2])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


SCALES = {
    "doubled": (np.float32([1, 1, 2, 2]), None),
    "odd": (np.float32([1, 1, 1.5, 2.3]), None),
    "shrunk": (np.float32([1, 1, 0.6, 0.5]), None),
    "to a size": (None, np.int64([2, 4, 7, 11])),
    "to one": (None, np.int64([2, 4, 1, 1])),
}
COORDINATES = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("coordinates", COORDINATES)
def test_a_linear_resize(scales, coordinates):
    """Up and down, by factors and to sizes."""
    found, expected = both("Resize", None, *SCALES[scales], mode="linear", coordinate_transformation_mode=coordinates)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_a_nearest_resize(scales, coordinates, rounding):
    """To the last bit."""
    found, expected = both(
        "Resize", None, *SCALES[scales], nearest_mode=rounding, coordinate_transformation_mode=coordinates
    )
    np.testing.assert_array_equal(found, expected)


def test_torchs_own_interpolation_is_what_its_exporter_writes():
    """The two forms that U-Nets use, worked by hand: pixels 1 and 3, doubled."""
    node = onnx.helper.make_node("Resize", ["x", "", "s"], ["y"])
    inputs = [torch.tensor([[[1.0, 3.0]]]), None, torch.tensor([1.0, 1.0, 2.0])]
    nearest = {"coordinate_transformation_mode": b"asymmetric", "nearest_mode": b"floor"}
    linear = {"coordinate_transformation_mode": b"pytorch_half_pixel", "mode": b"linear"}
    assert OPERATORS["Resize"](node, nearest, inputs).tolist() == [[[1, 1, 3, 3]]]
    assert OPERATORS["Resize"](node, linear, inputs).tolist() == [[[1, 1.5, 2.5, 3]]]


@pytest.mark.parametrize(
    ("op", "attributes", "message"),
    [
        ("Resize", {"mode": b"cubic"}, r"node 'resize' \(Resize\): mode=cubic is not trained; nearest, linear are"),
        ("Resize", {"coordinate_transformation_mode": b"tf_crop_and_resize"}, "mode=tf_crop_and_resize is not trained"),
        ("Resize", {"antialias": 1}, "antialias is not trained; leave it out"),
        ("Resize", {"axes": [2, 3]}, "axes is not trained"),
        ("ConvTranspose", {"output_shape": [1, 1]}, r"\(ConvTranspose\): output_shape is not trained"),
        ("ConvTranspose", {"auto_pad": b"SAME_UPPER"}, "auto_pad=SAME_UPPER is not trained; give pads"),
    ],
)
def test_what_is_not_trained_is_named_with_its_node(op, attributes, message):
    """In one line."""
    node = onnx.helper.make_node(op, ["x"], ["y"], op.lower())
    inputs = [torch.from_numpy(X), torch.from_numpy(W), torch.from_numpy(B)]
    with pytest.raises(ModelError, match=message):
        OPERATORS[op](node, attributes, inputs)
