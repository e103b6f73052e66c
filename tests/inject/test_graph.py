"""What can flip where weights are hidden: behind shape operators, in arithmetic, among buffers."""

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper
from onnx_zoo import naively_flipped, ort_run
from weights_kit import MODELS

from ftonnx.inject import ROLES, Faults, FaultSpace, faulty_model

SMALL_NUMBERS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8, TensorProto.UINT8}


@pytest.mark.parametrize("case", MODELS)
def test_hidden_weights_are_targets_and_buffers_are_none(case):
    """Exactly these tensors with these roles, in graph order."""
    hidden = MODELS[case]()
    space = FaultSpace.of(hidden.model)
    assert [(target.tensor, target.role) for target in space.targets] == hidden.targets


@pytest.mark.parametrize("case", MODELS)
def test_every_stored_tensor_is_a_target_or_left_out_with_a_reason(case):
    """None is in both, none in neither; the elements add up."""
    hidden = MODELS[case]()
    space = FaultSpace.of(hidden.model)
    targets = {target.tensor for target in space.targets}
    others = {each.tensor: each for each in space.left_out}
    stored = {tensor.name: tensor for tensor in hidden.model.graph.initializer}
    assert targets.isdisjoint(others)
    assert targets | others.keys() == stored.keys()
    sizes = {name: numpy_helper.to_array(tensor).size for name, tensor in stored.items()}
    assert space.coverage.elements == sum(sizes.values())
    doubtful = {}
    for name, each in others.items():
        assert each.elements == sizes[name]
        if sizes[name] > 1 and stored[name].data_type in SMALL_NUMBERS:
            doubtful[name] = each.reason
    assert doubtful == hidden.left_out


@pytest.mark.parametrize("case", MODELS)
def test_a_flip_in_every_target_changes_what_the_runtime_computes(case):
    """As a flip in the file's bytes does, run by an ordinary session."""
    hidden = MODELS[case]()
    space = FaultSpace.of(hidden.model)
    (golden,) = ort_run(hidden.model, hidden.feeds)
    for index, target in enumerate(space.targets):
        bit = 18 if target.format.bits == 32 else 6
        elements = range(target.elements)
        faults = Faults([index] * len(elements), elements, [bit] * len(elements))
        naive = naively_flipped(hidden.model, [(target.tensor, element, bit) for element in elements])
        flipped = faulty_model(hidden.model, space, faults)
        assert flipped.SerializeToString() == naive.SerializeToString()
        (found,) = ort_run(naive, hidden.feeds)
        assert np.isfinite(found).all()
        assert not np.array_equal(found, golden), target.tensor


def test_scales_behind_hidden_weights_are_targets_on_request():
    """Those of the (de)quantizers on the way, once each."""
    hidden = MODELS["quantized"]()
    space = FaultSpace.of(hidden.model, roles=ROLES)
    wanted = [(target.tensor, target.role) for target in space.targets]
    assert [each for each in wanted if each not in hidden.targets] == [("s", "scale"), ("z", "zero_point")]
    assert len(wanted) == len(hidden.targets) + 2


def test_the_step_of_weights_that_a_dynamic_one_is_multiplied_with_is_a_scale():
    """No weight, which it would be behind any other product."""
    model = MODELS["integers"]().model
    scales = [target.tensor for target in FaultSpace.of(model, roles=["scale"]).targets]
    assert scales == ["s", "one", "steps"]
