"""A model whose runs without faults differ is refused before any fault is injected."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_zoo import model_of, random_floats, stored
from weights_kit import MODELS

from ftonnx.errors import ModelError
from ftonnx.runtime import FaultySession
from ftonnx.runtime.determinism import require_same_outputs
from ftonnx.runtime.strategies.from_file import RebuildFromFile
from ftonnx.runtime.strategies.live import Live
from ftonnx.runtime.strategies.rebuild import Rebuild

node = helper.make_node
X = random_floats(4, 3, 8, 8)
KINDS = {"live": Live, "rebuild": Rebuild, "file": RebuildFromFile}


def classifier(*noise, initializers=(), value="f"):
    """Return Flatten, some nodes, MatMul to 5 classes; ``value`` enters the MatMul."""
    nodes = [node("Flatten", ["x"], ["f"]), *noise, node("MatMul", [value, "w"], ["y"], name="fc")]
    return model_of(nodes, [("w", random_floats(192, 5)), *initializers])


def noisy(**seed):
    """Return a classifier with a noise layer."""
    noise = [
        node("RandomNormalLike", ["f"], ["n"], name="noise", scale=0.1, **seed),
        node("Add", ["f", "n"], ["a"]),
    ]
    return classifier(*noise, value="a")


def dropped(switch):
    """Return a classifier with a dropout; comparing the images with a huge number says whether it is on."""
    nodes = [
        node("ReduceMax", ["x"], ["m"], keepdims=0),
        node(switch, ["m", "huge"], ["on"]),
        node("Dropout", ["f", "half", "on"], ["d"], name="drop", seed=1),
    ]
    return classifier(
        *nodes, initializers=[stored("half", np.float32(0.5)), stored("huge", np.float32(1e9))], value="d"
    )


@pytest.mark.parametrize("strategy", ["auto", "live", "rebuild"])
@pytest.mark.parametrize("seed", [{}, {"seed": 1.0}])
def test_a_node_that_draws_random_numbers_is_refused_by_name(strategy, seed):
    """Whether it has a seed or not: a session draws on at every run."""
    with pytest.raises(ModelError, match=r"not deterministic: node 'noise' \(RandomNormalLike\) draws") as refused:
        FaultySession(noisy(**seed), strategy=strategy, sample=X, threads=1)
    assert refused.value.exit_code == 4
    assert "\n" not in str(refused.value)


def test_noise_that_hardly_ever_shows_is_refused_too():
    """Bernoulli of probability 1e-9: two runs are equal, a million are not."""
    rare = [node("RandomUniformLike", ["f"], ["u"], name="u"), node("Less", ["u", "p"], ["l"])]
    rare += [node("Cast", ["l"], ["n"], to=TensorProto.FLOAT), node("Add", ["f", "n"], ["a"])]
    model = classifier(*rare, initializers=[stored("p", np.float32(1e-9))], value="a")
    with pytest.raises(ModelError, match=r"node 'u' \(RandomUniformLike\) draws random numbers"):
        FaultySession(model, sample=X, threads=1)


def test_several_random_nodes_are_named_up_to_three():
    """The others are counted."""
    noise = [node("RandomNormalLike", ["f"], [f"n{i}"], name=f"noise{i}") for i in range(5)]
    model = classifier(*noise, node("Sum", ["f", *(f"n{i}" for i in range(5))], ["a"]), value="a")
    with pytest.raises(
        ModelError, match=r"nodes 'noise0' \(\S+\), 'noise1' \(\S+\), 'noise2' \(\S+\) and 2 more draw "
    ):
        FaultySession(model, sample=X, threads=1)


def test_noise_that_nobody_uses_is_no_obstacle():
    """Nor is dropout that is off, by default, or by an input."""
    unused = node("RandomNormalLike", ["f"], ["n"], name="noise")
    session = FaultySession(classifier(unused), strategy="live", sample=X, threads=1)
    assert session.fallback is None
    off = node("Dropout", ["f", "", "no"], ["d"], name="drop")
    FaultySession(classifier(off, initializers=[stored("no", np.array(False))], value="d"), sample=X, threads=1)
    FaultySession(dropped("Greater"), sample=X, threads=1)


@pytest.mark.parametrize("strategy", ["live", "rebuild"])
def test_a_dropout_that_turns_out_to_be_on_is_refused_by_name(strategy):
    """The file does not say so, two runs do."""
    with pytest.raises(ModelError, match=r"differ \(output 0 by up to .*node 'drop' \(Dropout\) may draw"):
        FaultySession(dropped("Less"), strategy=strategy, sample=X, threads=1)


@pytest.mark.parametrize("kind", KINDS)
def test_runs_that_differ_are_refused_whatever_the_strategy_and_the_cause(monkeypatch, kind):
    """The message says how much, in how many images, and what to do."""
    runs = iter(range(100))
    original = KINDS[kind].golden

    def golden(self, feeds):
        outputs = original(self, feeds)
        outputs[0][1, 2] += next(runs)
        return outputs

    monkeypatch.setattr(KINDS[kind], "golden", golden)
    # of a weight that is computed with, the optimizer keeps nothing: no other strategy is possible
    hidden = MODELS["weight norm"]()
    model = hidden.model if kind == "file" else classifier()
    images = hidden.feeds["x"] if kind == "file" else X
    with pytest.raises(
        ModelError, match=r"output 0 by up to 1, in 1 of 2 images.*no node that is known to be random.*one thread"
    ):
        FaultySession(model, strategy="auto" if kind == "file" else kind, sample=images, threads=1)


def test_a_difference_in_bits_alone_counts_and_equal_nans_do_not():
    """-0 is not 0 in memory; a NaN equals itself."""
    model = classifier()
    scores = np.array([[np.nan, 0.0], [1.0, 2.0]], np.float32)
    require_same_outputs(model, [scores], [scores.copy()])
    with pytest.raises(ModelError, match="output 0 by values that are NaN, Inf or a zero's sign, in 1 of 2 images"):
        require_same_outputs(model, [scores], [scores * np.float32([[1, -1], [1, 1]])])
    with pytest.raises(ModelError, match=r"output 1 of shapes \(2, 2\) and \(1, 2\)"):
        require_same_outputs(model, [scores, scores], [scores, scores[:1]])


def test_outputs_that_are_no_tensors_of_numbers_are_compared_by_value():
    """Classifiers from scikit-learn return texts and maps too, which are new objects at every run."""
    nodes = [
        node("Flatten", ["x"], ["f"]),
        node("MatMul", ["f", "w"], ["y"]),
        node("ArgMax", ["y"], ["k"], axis=1, keepdims=0),
        node("LabelEncoder", ["k"], ["label"], domain="ai.onnx.ml", keys_int64s=[0, 1], values_strings=["cat", "dog"]),
        node("ZipMap", ["y"], ["map"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]),
    ]
    entry = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    outputs = [
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2]),
        helper.make_tensor_value_info("label", TensorProto.STRING, ["n"]),
        helper.make_value_info("map", helper.make_sequence_type_proto(entry)),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [stored("w", random_floats(192, 2))])
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = FaultySession(model, strategy="live", sample=X, threads=1)
    assert session.fallback is None
    scores, labels, maps = session.golden(X)
    require_same_outputs(model, [scores, labels, maps], session.golden(X))
    with pytest.raises(ModelError, match="output 1, which holds no numbers"):
        require_same_outputs(model, [scores, labels], [scores, np.full_like(labels, "cow")])
    with pytest.raises(ModelError, match="output 2, which holds no numbers"):
        require_same_outputs(model, [scores, labels, maps], [scores, labels, maps[::-1]])
