"""Files that break a rule of form, and that ONNX Runtime reads: so does ftonnx, with the same bits."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_zoo import bits_of, model_of, naively_flipped, ort_run, random_floats, small_cnn, stored

from ftonnx.inject import Faults, FaultSpace, load_model
from ftonnx.inject.normal_form import normal_form
from ftonnx.runtime import FaultySession

node = helper.make_node
X = random_floats(3, 3, 8, 8, seed=9)


def late():
    """Return a model whose last node makes what the first one reads."""
    model = small_cnn()
    model.graph.node.add(op_type="Identity", input=["x"], output=["late"], name="late")
    model.graph.node[0].input[0] = "late"
    return model


def unnamed():
    """Return a model whose graph has no name."""
    model = small_cnn()
    model.graph.ClearField("name")
    return model


def of_ir_version(version, *, listed=()):
    """Return a model of an old IR version that lists only some stored tensors among its inputs."""
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"]), node("Relu", ["c"], ["r"]), node("GlobalAveragePool", ["r"], ["y"]),
    ]  # fmt: skip
    model = model_of(
        nodes, [("w", random_floats(5, 3, 3, 3)), ("b", random_floats(5))], opset=8, outputs={"y": ("n", 5, 1, 1)}
    )
    model.ir_version = version
    for tensor in model.graph.initializer:
        if tensor.name in listed:
            model.graph.input.append(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims))
    return model


def without_import():
    """Return a model with an operator of ONNX Runtime's own whose domain it does not import."""
    model = small_cnn()
    for each in model.graph.node:
        if each.op_type == "Relu":
            each.op_type = "Gelu"
            each.domain = "com.microsoft"
    return model


def without_shapes():
    """Return a model that does not say what its output looks like."""
    model = small_cnn()
    model.graph.output[0].ClearField("type")
    return model


MENDED = {
    "unsorted": late,
    "unnamed": unnamed,
    "IR 3, nothing listed": lambda: of_ir_version(3),
    "IR 3, some listed": lambda: of_ir_version(3, listed=("b",)),
    "IR 2": lambda: of_ir_version(2),
    "IR 1, all listed": lambda: of_ir_version(1, listed=("w", "b")),
    "not imported": without_import,
    "undeclared output": without_shapes,
}


@pytest.mark.parametrize("make", MENDED.values(), ids=MENDED)
@pytest.mark.parametrize("strategy", ["live", "rebuild"])
def test_what_onnx_runtime_reads_runs_with_the_same_bits(tmp_path, make, strategy):
    """From a file and from memory, without faults and with one in every target; the source stays as it is."""
    model = make()
    before = model.SerializeToString(deterministic=True)
    path = tmp_path / "m.onnx"
    path.write_bytes(before)
    packed = strategy == "rebuild"
    for source in (path, model):
        space = FaultSpace.of(source, format="ieee")
        session = FaultySession(source, space, strategy=strategy)
        assert session.fallback is None
        assert bits_of(session.golden(X)) == bits_of(ort_run(model, {"x": X}, prepack=packed))
        for index, target in enumerate(space.targets):
            last = target.elements - 1
            flipped = naively_flipped(model, [(target.tensor, last, 30)], fixed=None)
            faulty = session.run(X, Faults([index], [last], [30]))
            assert bits_of(faulty) == bits_of(ort_run(flipped, {"x": X}, prepack=packed))
    assert model.SerializeToString(deterministic=True) == before


def test_a_sound_model_stays_the_same_object():
    """No copy is made where nothing is to be done; an old file whose stored tensors are listed is sound."""
    for model in (small_cnn(), of_ir_version(3, listed=("w", "b"))):
        assert normal_form(model) is model
        assert load_model(model).proto is model


def test_the_fault_space_is_that_of_the_file():
    """The same bits under the same names, in the order in which the nodes of the file use them."""
    assert FaultSpace.of(late()).fingerprint == FaultSpace.of(small_cnn()).fingerprint


def test_the_hash_is_that_of_the_file(tmp_path):
    """Not that of what it was mended to."""
    path = tmp_path / "m.onnx"
    path.write_bytes(late().SerializeToString())
    loaded = load_model(path)
    loaded.check_unchanged()
    loaded.release()
    onnx.checker.check_model(loaded.proto)


def test_weights_in_the_branches_of_an_old_file_are_read():
    """A branch has no inputs in which they could be listed."""
    branches = {}
    for name, sign in (("then", 1), ("else", -1)):
        output = helper.make_tensor_value_info(f"{name}.y", TensorProto.FLOAT, None)
        weight = stored(f"{name}.w", sign * random_floats(4, 4))
        branches[f"{name}_branch"] = helper.make_graph(
            [node("MatMul", ["x", f"{name}.w"], [f"{name}.y"])], name, [], [output], [weight]
        )
    model = model_of(
        [node("If", ["p"], ["y"], **branches)], [("p", np.array(False))],
        inputs={"x": ("n", 4)}, outputs={"y": ("n", 4)}, opset=8,
    )  # fmt: skip
    model.ir_version = 3
    model.graph.input.append(helper.make_tensor_value_info("p", TensorProto.BOOL, ()))
    x = random_floats(3, 4, seed=5)
    assert [target.tensor for target in FaultSpace.of(model).targets] == ["else.w", "then.w"]
    np.testing.assert_allclose(FaultySession(model).golden(x)[0], x @ -random_floats(4, 4), atol=1e-6)


def test_an_unsorted_constant_of_gigantic_shape_is_refused():
    """Also where the node that makes it comes before its shape."""
    shape = node("Constant", [], ["s"], value=numpy_helper.from_array(np.array([2**38]), "s"))
    model = model_of(
        [node("ConstantOfShape", ["s"], ["big"], name="bomb"), shape, node("Add", ["x", "big"], ["y"])],
        inputs={"x": ("n", 4)},
    )
    with pytest.raises(Exception, match="bomb"):
        load_model(model)
