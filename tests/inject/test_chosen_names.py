"""Patterns of names: what they keep, what they add, and what they are refused for."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_zoo import model_of, naively_flipped, ort_run, random_floats, small_cnn
from weights_kit import MODELS, floats, node

from ftonnx.errors import ModelError, UsageError
from ftonnx.inject import Faults, FaultSpace, faulty_model

MASKED = MODELS["relative position bias"]


def found(model, **options):
    """Return (tensor, role) of every target."""
    return [(target.tensor, target.role) for target in FaultSpace.of(model, **options).targets]


def test_a_pattern_with_a_role_adds_what_no_rule_finds():
    """Behind what rules find, which stays as it is; the fingerprint tells."""
    hidden = MASKED()
    assert found(hidden.model, include=["mask=bias"]) == [*hidden.targets, ("mask", "bias")]
    plain = FaultSpace.of(hidden.model)
    added = FaultSpace.of(hidden.model, include=["mask=bias"])
    assert added.targets[:-1] == plain.targets
    assert (added.targets[-1].node, added.targets[-1].op_type) == ("masked", "Add")
    assert added.fingerprint != plain.fingerprint
    assert added.fingerprint != FaultSpace.of(hidden.model, include=["mask=weight"]).fingerprint
    assert {each.tensor for each in plain.left_out} - {each.tensor for each in added.left_out} == {"mask"}
    assert added.coverage.elements == plain.coverage.elements


def test_added_tensors_come_in_the_order_of_storage():
    """Not of the patterns; one that two of them match is added as the first says."""
    model = MODELS["prepared input"]().model
    order = [tensor.name for tensor in model.graph.initializer if tensor.name in ("mean", "factor", "deviation")]
    expected = [("prompt", "bias"), ("w1", "weight"), *((name, "scale") for name in order)]
    assert found(model, include=["deviation=scale", "[mf]*=scale", "mean=bias"]) == expected


def test_a_plain_pattern_filters_what_rules_find_and_nothing_else():
    """With an adding one beside it, whose tensors it does not touch."""
    hidden = MASKED()
    assert found(hidden.model, include=["w?", "mask=bias"]) == [("wq", "weight"), ("wk", "weight"), ("mask", "bias")]
    assert found(hidden.model, include=["*=bias"], exclude=["w?", "head", "tokens", "middle", "root"]) == [
        ("bias", "bias"), ("mask", "bias"),
    ]  # fmt: skip


def test_what_is_a_target_already_is_not_added_again():
    """It keeps its role and its place; one whose role was not chosen is added."""
    hidden = MASKED()
    assert found(hidden.model, include=["bias=weight", "wq=weight"]) == hidden.targets
    assert found(hidden.model, roles=["weight"], include=["bias=scale"]) == [
        ("wq", "weight"), ("wk", "weight"), ("head", "weight"), ("bias", "scale"),
    ]  # fmt: skip


def test_a_space_of_added_tensors_alone_is_one():
    """Where no rule finds anything that was asked for."""
    hidden = MASKED()
    assert found(hidden.model, include=["mask=bias"], roles=["scale"]) == [("mask", "bias")]


def test_flips_in_added_tensors_arrive_in_copies_of_the_model_too():
    """As flips in the file's bytes do; a tensor that nothing reads changes nothing."""
    hidden = MASKED()
    hidden.model.graph.initializer.append(numpy_helper.from_array(floats(3), "spare"))
    space = FaultSpace.of(hidden.model, include=["mask=bias", "spare=weight"])
    assert [target.tensor for target in space.targets[-2:]] == ["mask", "spare"]
    copy = onnx.ModelProto.FromString(hidden.model.SerializeToString())
    assert [tensor.name for tensor in space.tensors(copy)] == [target.tensor for target in space.targets]
    first = len(space.targets) - 2
    for target, name in ((first, "mask"), (first + 1, "spare")):
        flipped = faulty_model(copy, space, Faults([target], [2], [20]))
        naive = naively_flipped(hidden.model, [(name, 2, 20)])
        assert flipped.SerializeToString() == naive.SerializeToString()
        (output,) = ort_run(naive, hidden.feeds)
        (golden,) = ort_run(hidden.model, hidden.feeds)
        assert np.array_equal(output, golden) == (name == "spare")


def test_parts_of_a_space_know_added_tensors():
    """Faults of a part are faults of the whole."""
    hidden = MASKED()
    space = FaultSpace.of(hidden.model, include=["mask=bias"])
    part = space.only(["mask"])
    assert [target.tensor for target in part.targets] == ["mask"]
    wide = space.widen(Faults([0], [1], [2]), part)
    assert wide.target.tolist() == [len(space.targets) - 1]
    assert part.tensors(hidden.model)[0].name == "mask"


def test_all_tensors_of_one_name_are_added():
    """Branches may store different tensors under one name."""

    def branch(name, seed):
        return helper.make_graph(
            [node("Max", ["x", "w"], ["o"])], name, [],
            [helper.make_tensor_value_info("o", onnx.TensorProto.FLOAT, (None, 3, 8, 8))],
            [numpy_helper.from_array(floats(8, 8, seed=seed), "w")],
        )  # fmt: skip

    model = model_of(
        [
            node("ReduceSum", ["x"], ["sum"], keepdims=0),
            node("Greater", ["sum", "zero"], ["positive"]),
            node("If", ["positive"], ["o"], then_branch=branch("then", 1), else_branch=branch("else", 2)),
            node("MatMul", ["o", "last"], ["y"]),
        ],
        [("zero", np.float32(0)), ("last", random_floats(8, 5))],
        outputs={"y": (None, 3, 8, 5)},
    )
    space = FaultSpace.of(model, include=["w=weight"])
    assert [target.tensor for target in space.targets] == ["last", "w", "w"]
    stored = sorted(numpy_helper.to_array(tensor)[0, 0] for tensor in space.tensors(model)[1:])
    assert stored == sorted(floats(8, 8, seed=seed)[0, 0] for seed in (1, 2))


def test_a_name_may_have_an_equals_sign_of_its_own():
    """Only a role behind the last one adds."""
    model = small_cnn()
    model.graph.initializer[0].name = model.graph.node[0].input[1] = "a=b"
    model.graph.initializer.append(numpy_helper.from_array(floats(3), "c=d"))
    assert found(model, include=["a=*"]) == [("a=b", "weight")]
    assert found(model, include=["a=b", "c=d=bias"]) == [("a=b", "weight"), ("c=d", "bias")]


@pytest.mark.parametrize(
    ("include", "message"),
    [
        (["mask"], r"matches only tensors that are no weights by rule, such as 'mask'; `include='mask=weight'` adds"),
        (["w?", "m*"], r"`include='m\*=weight'` adds them, or another role of weight, bias, scale, zero_point"),
        (["nothing=weight"], "adds nothing: the model stores no tensor of such a name"),
        (["mask=weigth"], "names no role, of weight, bias, scale, zero_point; did you mean weight"),
    ],
)
def test_a_pattern_that_cannot_do_what_it_says_is_refused(include, message):
    """One line that says how to write it."""
    with pytest.raises(UsageError, match=message) as caught:
        FaultSpace.of(MASKED().model, include=include)
    assert "\n" not in str(caught.value)


def test_a_tensor_without_bits_that_can_flip_is_refused():
    """Conditions have no format."""
    with pytest.raises(ModelError, match="'chosen'"):
        FaultSpace.of(MODELS["moved"]().model, include=["chosen=weight"])
    with pytest.raises(ModelError, match=r"'infinite' holds NaN or Inf"):
        FaultSpace.of(MODELS["masks"]().model, include=["infinite=bias"])
