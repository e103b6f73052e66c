"""What is told by values: masks and grids, and what only looks like one."""

import numpy as np
import pytest
from onnx_zoo import model_of, random_floats
from weights_kit import floats, node

from ftonnx.inject import FaultSpace

LOWER = np.tril(np.ones((8, 8), np.float32))


def reason_of(values, operator="Add", *, behind_linear=False):
    """Return why a stored operand is left out; None where it can flip."""
    first = node("MatMul", ["x", "w1"], ["a"]) if behind_linear else node("Relu", ["x"], ["a"])
    nodes = [first, node(operator, ["a", "operand"], ["b"]), node("MatMul", ["b", "w2"], ["y"])]
    stored = [("w1", random_floats(8, 8)), ("operand", values), ("w2", random_floats(8, 8))]
    space = FaultSpace.of(model_of(nodes, stored))
    return {each.tensor: each.reason for each in space.left_out}.get("operand")


@pytest.mark.parametrize("behind_linear", [False, True])
@pytest.mark.parametrize(
    ("values", "operator", "is_mask"),
    [
        ((LOWER - 1) * 100, "Add", True),
        ((LOWER - 1) * 50, "Add", True),
        ((LOWER - 1) * 49, "Add", False),
        (np.where(LOWER == 0, np.finfo(np.float32).min, 0), "Add", True),
        (np.where(LOWER == 0, -np.arange(8) - 100, 0), "Add", True),
        ((1 - LOWER) * 10000, "Sub", True),
        (LOWER, "Mul", True),
        (2 * LOWER, "Mul", False),
        (np.where(LOWER == 0, -100, 0.01), "Add", False),
        (np.where(LOWER == 0, -100.3, 0) + np.eye(8) * 200, "Add", False),
        (np.zeros((8, 8)), "Add", False),
        (np.ones((8, 8)), "Mul", False),
        (np.full((8, 8), -100), "Add", False),
        (np.array([0, -100, 0, 0, -100, 0, 0, 0]), "Add", False),
        (np.array([0, 1, 0, 0, 1, 1, 1, 0]).reshape(1, 1, 8), "Mul", False),
    ],
)
def test_a_mask_has_two_axes_and_two_kinds_of_values(values, operator, is_mask, behind_linear):
    """Zero, and far from it to one side; or zero and one. A vector is a bias or a scale whatever it holds."""
    found = reason_of(np.asarray(values, np.float32), operator, behind_linear=behind_linear)
    assert found == ("mask" if is_mask else None)


@pytest.mark.parametrize(
    ("values", "is_grid"),
    [
        (np.arange(8), True),
        (np.arange(64).reshape(8, 8) + 0.5, True),
        (np.repeat([8.0, 16.0, 32.0, 64.0], 2), True),
        (np.arange(8) / 4, False),
        (floats(8), False),
        (np.ones(8), False),
        (np.repeat([-1.0, 1.0], 4), False),
    ],
)
def test_a_grid_counts(values, is_grid):
    """Whole and half numbers, of more than two values; behind a linear operator even these are its bias."""
    assert reason_of(np.asarray(values, np.float32)) == ("grid or anchors" if is_grid else None)
    assert reason_of(np.asarray(values, np.float32), behind_linear=True) is None


@pytest.mark.parametrize("shape", [(8,), (3, 1, 8), (1, 1, 1, 8)])
def test_behind_the_last_layer_one_value_per_channel_is_a_weight(shape):
    """As gamma of a last normalization; what differs from place to place is an anchor."""

    def reasons(operand):
        nodes = [
            node("MatMul", ["x", "w1"], ["a"]), node("Sigmoid", ["a"], ["b"]), node("Mul", ["b", "operand"], ["y"]),
        ]  # fmt: skip
        space = FaultSpace.of(model_of(nodes, [("w1", random_floats(8, 8)), ("operand", operand)]))
        return [each.reason for each in space.left_out]

    long_axes = [size for size in shape if size > 1]
    assert reasons(random_floats(*shape)) == ([] if len(long_axes) == 1 else ["grid or anchors"])
