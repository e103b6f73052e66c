"""Small files that say much: refused in a line before anything walks through them, or read in linear time."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_zoo import model_of, random_floats
from work_kit import calls_of

from ftonnx.errors import ModelError, UsageError
from ftonnx.inject import FaultSpace, load_model
from ftonnx.limits import LIMITS, NODES

node = helper.make_node
OPSETS = [helper.make_opsetid("", 20), helper.make_opsetid("f", 1)]


def rows(nodes, stored=(), **more):
    """Return a model from (batch, 4) to (batch, 4) with a weight ``w``."""
    weight = numpy_helper.from_array(random_floats(4, 4), "w")
    return model_of(nodes, [weight, *stored], inputs={"x": ("n", 4)}, outputs={"y": ("n", 4)}, **more)


def function(name, nodes):
    """Return a function from ``a`` to ``b``."""
    return helper.make_function("f", name, ["a"], ["b"], nodes, OPSETS)


def doubling(levels):
    """Return a model whose one call is 2^levels nodes when inlined."""
    functions = [function("F0", [node("Relu", ["a"], ["b"])])]
    for level in range(1, levels + 1):
        called = f"F{level - 1}"
        calls = [node(called, ["a"], ["t"], domain="f"), node(called, ["t"], ["b"], domain="f")]
        functions.append(function(f"F{level}", calls))
    model = rows([node("MatMul", ["x", "w"], ["m"]), node(f"F{levels}", ["m"], ["y"], domain="f")])
    return with_functions(model, functions)


def with_functions(model, functions):
    """Return a model with functions."""
    model.functions.extend(functions)
    del model.opset_import[:]
    model.opset_import.extend(OPSETS)
    return model


def refusal(model):
    """Return why a model is refused."""
    with pytest.raises(ModelError) as caught:
        load_model(model)
    return str(caught.value)


@pytest.mark.parametrize("levels", [20, 40, 60])
def test_functions_that_inline_to_too_much_are_refused(levels):
    """2^60 nodes are counted, and not walked through."""
    assert "nodes when its functions are inlined: the limit is 25,000" in refusal(doubling(levels))


def test_many_calls_of_a_long_function_count_each_time():
    """No function is too long by itself, and the graph has few nodes."""
    long = function("F", [node("Relu", ["a"], [f"t{step}"]) for step in range(500)] + [node("Relu", ["a"], ["b"])])
    calls = [node("F", ["m"], [f"y{call}"], domain="f") for call in range(400)]
    nodes = [node("MatMul", ["x", "w"], ["m"]), *calls, node("Relu", ["y0"], ["y"])]
    assert "it has 200,402 nodes when its functions are inlined" in refusal(with_functions(rows(nodes), [long]))


def test_what_subgraphs_of_functions_store_counts_in_every_call():
    """They are looked up anew wherever the function is called."""
    stored = [numpy_helper.from_array(random_floats(1), f"b{place}") for place in range(600)]
    output = onnx.ValueInfoProto(name="o")
    branch = helper.make_graph([node("Relu", ["a"], ["o"])], "branch", [], [output], stored)
    choice = node("If", ["a"], ["b"], then_branch=branch, else_branch=branch)
    calls = [node("F", ["m"], [f"y{call}"], domain="f") for call in range(200)]
    nodes = [node("MatMul", ["x", "w"], ["m"]), *calls, node("Relu", ["y0"], ["y"])]
    assert "nodes when its functions are inlined" in refusal(with_functions(rows(nodes), [function("F", [choice])]))


def test_a_limit_is_raised_and_lowered_by_its_variable(monkeypatch):
    """The message says so."""
    monkeypatch.setenv(NODES.variable, "1000")
    assert refusal(doubling(10)).endswith("the limit is 1,000, and FTONNX_LIMIT_NODES=N sets another")
    monkeypatch.setenv(NODES.variable, "2000")
    assert load_model(doubling(10)).proto.functions


@pytest.mark.parametrize("value", ["", "many", "-1", "1e6", "9" * 30, "٣"])
def test_a_variable_that_holds_no_number_is_named(monkeypatch, value):
    """Nothing else would tell why the limit is another than meant."""
    monkeypatch.setenv(NODES.variable, value)
    with pytest.raises(UsageError, match="FTONNX_LIMIT_NODES: a whole number was expected"):
        load_model(doubling(2))


def test_long_names_are_refused_and_not_quoted_whole():
    """Wherever they stand."""
    long = "n" * 20_000
    for nodes in (
        [node("MatMul", ["x", "w"], ["y"], name=long)],
        [node(long, ["x", "w"], ["y"])],
        [node("MatMul", ["x", "w"], [long]), node("Relu", [long], ["y"])],
    ):
        message = refusal(rows(nodes))
        assert "has 20,000 letters" in message
        assert len(message) < 300


def test_values_of_too_many_axes_are_refused():
    """No array of numpy has so many."""
    model = rows([node("MatMul", ["x", "w"], ["y"])])
    model.graph.value_info.append(helper.make_tensor_value_info("v", TensorProto.FLOAT, [1] * 100_000))
    assert refusal(model) == "value 'v' has 100,000 axes, numpy knows up to 64"


def test_limits_are_in_the_pages():
    """Each with its variable and its usual value."""
    page = (Path(__file__).parents[2] / "docs" / "limits.md").read_text()
    for limit in LIMITS:
        assert f"| `{limit.variable}` | {limit.usual:,} | {limit.what} |" in page


def test_a_constant_made_of_one_tensor_in_many_ways_is_looked_at_once():
    """Eighty sums of a value with itself are 2^80 ways from the bias to its use."""
    sums = [node("Add", [f"c{step}", f"c{step}"], [f"c{step + 1}"]) for step in range(80)]
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Neg", ["b"], ["c0"]), *sums, node("Add", ["m", "c80"], ["y"])]
    space = FaultSpace.of(rows(nodes, [numpy_helper.from_array(random_floats(4), "b")]))
    assert [(target.tensor, target.role) for target in space.targets] == [("w", "weight"), ("b", "bias")]


@pytest.mark.parametrize("shape", ["joined once", "joined step by step"])
def test_the_work_grows_with_the_file(shape):
    """Counted in calls, not in seconds: twice the file is at most 2.3 times the work."""
    few = calls_of(lambda: FaultSpace.of(_constants(shape, 100)))
    many = calls_of(lambda: FaultSpace.of(_constants(shape, 200)))
    assert many < 2.3 * few


def _constants(shape, count):
    """Return a model in which a constant of many tensors has many readers, or many constants are made of ever more."""
    tensors = [numpy_helper.from_array(random_floats(4, seed=place), f"b{place}") for place in range(count)]
    names = [tensor.name for tensor in tensors]
    first = node("MatMul", ["x", "w"], ["v0"])
    last = node("Relu", [f"v{count}"], ["y"])
    adds = [node("Add", [f"v{step}", "c"], [f"v{step + 1}"]) for step in range(count)]
    if shape == "joined once":
        return rows([node("Sum", names, ["c"]), first, *adds, last], tensors)
    steps = [node("Add", [f"c{step}", names[step]], [f"c{step + 1}"]) for step in range(count)]
    adds = [node("Add", [f"v{step}", f"c{step + 1}"], [f"v{step + 1}"]) for step in range(count)]
    return rows([node("Identity", ["b0"], ["c0"]), *steps, first, *adds, last], tensors)


def test_too_many_ways_from_stored_tensors_are_refused(monkeypatch):
    """Each of n quantizers of a constant of n parts asks of n tensors what they are: n² answers, which may differ."""
    monkeypatch.setenv("FTONNX_LIMIT_CONSTANT_WAYS", "1000")
    count = 60
    tensors = [numpy_helper.from_array(random_floats(4, seed=place), f"b{place}") for place in range(count)]
    names = [tensor.name for tensor in tensors]
    steps = [numpy_helper.from_array(random_floats(), f"s{place}") for place in range(count)]
    nodes = [node("MatMul", ["x", "w"], ["v0"]), node("Concat", names, ["c"], axis=0)]
    for place in range(count):
        nodes += [
            node("QuantizeLinear", ["c", f"s{place}"], [f"q{place}"]),
            node("DequantizeLinear", [f"q{place}", f"s{place}"], [f"d{place}"]),
            node("Add", [f"v{place}", f"d{place}"], [f"v{place + 1}"]),
        ]
    nodes.append(node("Relu", [f"v{count}"], ["y"]))
    with pytest.raises(ModelError, match="too many ways: the limit is 1,000"):
        FaultSpace.of(rows(nodes, tensors + steps))
