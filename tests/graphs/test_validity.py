"""onnx's checker, and what it is not asked about."""

import onnx
import pytest
from onnx_zoo import small_cnn

from ftonnx.graphs import check_valid


@pytest.mark.parametrize("which", ["input", "output"])
@pytest.mark.parametrize("missing", ["shape", "type"])
def test_an_input_or_output_needs_no_declaration(which, missing):
    """ONNX Runtime infers it; the model stays as it is."""
    model = small_cnn()
    value = getattr(model.graph, which)[0]
    if missing == "shape":
        value.type.tensor_type.ClearField("shape")
    else:
        value.ClearField("type")
    before = model.SerializeToString()
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(model)
    check_valid(model)
    assert model.SerializeToString() == before


def test_everything_else_is_asked():
    """With or without a declaration."""
    model = small_cnn()
    model.graph.node[0].op_type = "Convolve"
    with pytest.raises(onnx.checker.ValidationError, match="Convolve"):
        check_valid(model)
    model.graph.output[0].ClearField("type")
    with pytest.raises(onnx.checker.ValidationError, match="Convolve"):
        check_valid(model)
