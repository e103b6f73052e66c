"""The models that the onnx package ships: a fault space or one clean line for each."""

from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from ftonnx.errors import ModelError
from ftonnx.inject import FaultSpace

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
MODELS = sorted(DATA.glob("*/*.onnx")) + sorted(DATA.glob("*/*/model.onnx"))


def test_the_package_ships_models():
    """The next test would pass on an empty list."""
    assert len(MODELS) > 100


@pytest.mark.parametrize("path", MODELS, ids=lambda p: str(p.relative_to(DATA)))
def test_a_model_of_the_onnx_package_has_a_fault_space_or_is_refused_in_one_line(path):
    """Files of every age: IR versions from 3, operator sets from 6."""
    graph = onnx.load(path).graph
    floats = {t.name: t for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    floats |= {n.output[0]: n.attribute[0].t for n in graph.node if n.op_type == "Constant"}
    try:
        space = FaultSpace.of(path)
    except ModelError as error:
        message = str(error)
    else:
        assert space.targets
        for target in space.targets:
            assert numpy_helper.to_array(floats[target.tensor]).size == target.elements > 0
        assert space.bits == 32 * space.elements
        return
    assert "no bit to flip" in message
    assert "\n" not in message
    linear = [n for n in graph.node if n.op_type in ("Conv", "Gemm", "MatMul", "BatchNormalization", "PRelu")]
    assert not any(name in floats for n in linear for name in n.input)


@pytest.mark.parametrize("name", ["test_Conv2d", "test_Linear", "test_BatchNorm2d_eval", "test_PReLU_2d_multiparam"])
def test_every_stored_tensor_of_a_converted_layer_is_a_target(name):
    """One layer per file: all it stores is weights and biases."""
    path = DATA / "pytorch-converted" / name / "model.onnx"
    model = onnx.load(path)
    stored = {t.name for t in model.graph.initializer}
    assert {target.tensor for target in FaultSpace.of(path).targets} == stored
