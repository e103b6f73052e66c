"""Old files: IR version 3, old operator sets, and operators that nobody converts."""

import numpy as np
import onnx
import pytest
from onnx_zoo import model_of, random_floats
from quant_graphs import branch, conv, disagreement, head, initializers_as_inputs
from quant_kit import batches, node

from ftonnx.errors import ModelError
from ftonnx.quant import QuantSettings, quantize
from ftonnx.quant.upgrade import raise_opset

DATA = batches(2, 8)
CLOSE = 0.04
FORMATS = pytest.mark.parametrize("form", ["qdq", "qoperator"])


def settings(form, per_channel=True):
    """Return settings whose ranges are those of the data, so that nothing saturates."""
    return QuantSettings(quant_format=form, per_channel=per_channel, calibration="minmax")


def old_net():
    """Return Conv, BatchNormalization, Relu, Dropout and a head in operators that opset 7 has."""
    nodes, stored = head("d")
    return model_of(
        [
            conv("x", "a", "w"), node("BatchNormalization", ["a", "g", "h", "m", "v"], ["n"], name="norm"),
            node("Relu", ["n"], ["r"], name="relu"), node("Dropout", ["r"], ["d"], name="dropout"), *nodes,
        ],
        [
            ("w", random_floats(8, 3, 3, 3)), ("g", 1 + random_floats(8, seed=1)), ("h", random_floats(8, seed=2)),
            ("m", random_floats(8, seed=3)), ("v", 1 + random_floats(8, seed=4) ** 2), *stored,
        ],
        opset=9,
    )  # fmt: skip


@FORMATS
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11])
def test_files_of_ir_version_3_are_quantized(form, per_channel, opset):
    """Their stored tensors are inputs too, and those of the result are not."""
    model = initializers_as_inputs(old_net(), opset)
    onnx.checker.check_model(model)
    result, report = quantize(model, DATA, settings(form, per_channel))
    assert result.ir_version >= 4
    assert [value.name for value in result.graph.input] == ["x"]
    assert report.weights == 2
    assert disagreement(model, result, DATA[0]) < CLOSE


def resized(op, opset, mode, scales):
    """Return a Conv and a resizing operator of an old operator set."""
    sizes = [None, 8, *(int(8 * scale) for scale in scales)]
    return model_of(
        [conv("x", "a", "w"), node(op, ["a", "scales"], ["y"], name="larger", mode=mode)],
        [("w", random_floats(8, 3, 3, 3)), ("scales", np.float32([1, 1, *scales]))],
        outputs={"y": sizes},
        opset=opset,
    )


@pytest.mark.parametrize(("op", "opset"), [("Upsample", 9), ("Resize", 10)])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [(2, 2), (1.5, 2.5)])
def test_resized_pixels_stay_where_they_were(op, opset, mode, scales):
    """The meaning of Resize has changed since; a converter alone would move them."""
    model = resized(op, opset, mode, scales)
    result, _ = quantize(model, DATA, settings("qdq"))
    assert result.opset_import[0].version >= 13
    assert disagreement(model, result, DATA[0]) < CLOSE


def test_a_conversion_that_changes_the_outputs_is_refused():
    """Nearest pixels of a smaller image are others since opset 11."""
    model = resized("Resize", 10, "nearest", (0.5, 0.75))
    with pytest.raises(ModelError, match=r"raising the operator set changed the model's output 'y'.*export the model"):
        quantize(model, DATA, settings("qdq"))
    # nothing needs to be raised for one scale per tensor
    result, _ = quantize(model, DATA, settings("qdq", per_channel=False))
    assert disagreement(model, result, DATA[0]) < CLOSE


def test_operators_in_branches_are_raised_too():
    """The axes of a Squeeze are an input since opset 13."""
    nodes, stored = head("d")
    then = branch([node("Unsqueeze", ["a"], ["u"], axes=[0]), node("Squeeze", ["u"], ["t"], axes=[0])], "t")
    other = branch([node("Neg", ["a"], ["o"])], "o")
    model = model_of(
        [
            conv("x", "a", "w"), node("ReduceSum", ["x"], ["sum"], name="sum", keepdims=0),
            node("Greater", ["sum", "low"], ["so"], name="so"),
            node("If", ["so"], ["d"], name="if", then_branch=then, else_branch=other), *nodes,
        ],
        [("w", random_floats(8, 3, 3, 3)), ("low", np.float32(-1e6)), *stored],
        opset=11,
    )  # fmt: skip
    result, _ = quantize(model, DATA, settings("qdq"))
    assert result.opset_import[0].version >= 13
    assert disagreement(model, result, DATA[0]) < CLOSE


@pytest.mark.parametrize(
    ("bad", "opset"),
    [
        (node("ThresholdedRelu", ["r"], ["t"], name="bad", alpha=0.3), 9),
        (node("Add", ["r", "row"], ["t"], name="bad", broadcast=1, axis=1), 6),
        (node("Nonsense", ["r"], ["t"], name="bad"), 11),
    ],
    ids=lambda value: getattr(value, "op_type", value),
)
def test_an_operator_that_cannot_be_converted_is_named(bad, opset):
    """With its node, and what to do, in one line."""
    model = model_of(
        [conv("x", "a", "w"), node("Relu", ["a"], ["r"], name="relu"), bad, node("Relu", ["t"], ["y"], name="last")],
        [("w", random_floats(8, 3, 3, 3)), ("row", random_floats(8, seed=1))],
        outputs={"y": [None, 8, 8, 8]},
        opset=opset,
    )
    with pytest.raises(ModelError) as caught:
        raise_opset(model, 13)
    message = str(caught.value)
    assert message.startswith(f"opset 13 is needed, the model has {opset}, and node 'bad' ({bad.op_type}) cannot be")
    assert message.endswith("; export the model again with a newer opset")
    assert "\n" not in message
    assert caught.value.__cause__ is not None


def test_a_new_enough_model_is_returned_as_it_is():
    """The same object."""
    model = old_net()
    assert raise_opset(model, 9) is model
