"""Fault patterns as data, and faulty copies of models, against a bit-by-bit oracle."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_zoo import model_of, naively_flipped, small_cnn

from ftonnx.errors import UsageError
from ftonnx.inject import Faults, FaultSpace, faulty_model, list_faults


def test_faults_are_sorted_by_target_element_and_bit():
    """Whatever order they are given in."""
    faults = Faults([1, 0, 1, 1], [5, 9, 5, 2], [3, 0, 1, 7])
    assert list(zip(faults.target.tolist(), faults.element.tolist(), faults.bit.tolist(), strict=True)) == [
        (0, 9, 0),
        (1, 2, 7),
        (1, 5, 1),
        (1, 5, 3),
    ]
    assert (len(faults), repr(faults)) == (4, "Faults(4 bits in 2 tensors)")


def test_columns_have_narrow_types_even_when_empty():
    """int32, int64 and uint8, as documented."""
    for faults in (Faults.none(), Faults([0], [0], [0])):
        types = faults.target.dtype, faults.element.dtype, faults.bit.dtype
        assert types == (np.int32, np.int64, np.uint8)


def test_the_same_bit_twice_is_refused():
    """Two flips would cancel and the count would lie."""
    with pytest.raises(UsageError, match="listed twice"):
        Faults([0, 1, 0], [4, 4, 4], [2, 2, 2])


@pytest.mark.parametrize(
    "columns",
    [
        ([0], [0, 1], [0]),
        ([[0]], [[0]], [[0]]),
        (0, 0, 0),
        ([-1], [0], [0]),
        ([0], [-1], [0]),
        ([0], [0], [-1]),
        ([0], [0], [64]),
        ([0], [0], [300]),
        ([0], [0], np.array([300])),  # would wrap to 44
        ([2**31], [0], [0]),
        ([0], [0.5], [0]),
        (["a"], [0], [0]),
    ],
)
def test_columns_that_are_no_indices_are_refused(columns):
    """Instead of wrapped, truncated or broadcast; the message is one line."""
    with pytest.raises(UsageError) as caught:
        Faults(*columns)
    assert "\n" not in str(caught.value)


@given(st.sets(st.tuples(st.integers(0, 3), st.integers(0, 6), st.integers(0, 63)), max_size=30))
def test_masks_hold_every_bit_once(bits):
    """Per target, distinct ascending elements with the OR of their bits; targets ascend too."""
    expected: dict[tuple[int, int], int] = {}
    for target, element, bit in bits:
        expected[target, element] = expected.get((target, element), 0) | 1 << bit
    faults = Faults(*([column[i] for column in bits] for i in range(3)))
    groups = [(t, e.tolist(), m.tolist()) for t, e, m in faults.masks()]
    assert [t for t, _, _ in groups] == sorted({t for t, _ in expected})
    assert all(elements == sorted(set(elements)) for _, elements, _ in groups)
    assert {(t, e): m for t, es, ms in groups for e, m in zip(es, ms, strict=True)} == expected


def typed_model():
    """Return a model whose MatMul weights are stored in many types, each read through a Cast."""
    types = {
        "f32": TensorProto.FLOAT, "f16": TensorProto.FLOAT16, "f64": TensorProto.DOUBLE,
        "bf16": TensorProto.BFLOAT16, "i8": TensorProto.INT8, "u8": TensorProto.UINT8,
        "i32": TensorProto.INT32, "i4": TensorProto.INT4, "u4": TensorProto.UINT4,
    }  # fmt: skip
    nodes, tensors = [], []
    values = np.array([1, -2, 3, 0, 5, -6, 7, 1, 2], np.float32)  # nine: odd for packed types
    for name, data_type in types.items():
        numbers = np.abs(values) if name.startswith("u") else values
        tensors.append(numpy_helper.from_array(numbers.astype(helper.tensor_dtype_to_np_dtype(data_type)), name))
        nodes += [
            helper.make_node("Cast", [name], [f"{name}_f"], to=TensorProto.FLOAT),
            helper.make_node("Reshape", [f"{name}_f", "shape"], [f"{name}_s"]),
            helper.make_node("MatMul", ["x", f"{name}_s"], [f"{name}_y"]),
        ]
        tensors[-1].dims[:] = [9]
    tensors.append(numpy_helper.from_array(np.array([3, 3]), "shape"))
    nodes.append(helper.make_node("Sum", [f"{name}_y" for name in types], ["y"]))
    return model_of(nodes, tensors, inputs={"x": (None, 3)}, opset=21)


@pytest.mark.parametrize(("format_name", "fixed"), [("auto", (15, 16)), ("q7.8", (7, 8)), ("ieee", None)])
@given(data=st.data())
def test_a_faulty_model_differs_in_the_listed_bits_only(format_name, fixed, data):
    """Every stored type, byte for byte against flips made one at a time."""
    model = typed_model()
    space = FaultSpace.of(model, format=format_name, exclude=["bf16"] if fixed else [])
    picked = {}
    for index in data.draw(st.lists(st.integers(0, len(space.targets) - 1), min_size=1, max_size=6)):
        element = data.draw(st.integers(0, 8))
        picked[index, element] = data.draw(st.integers(0, space.targets[index].format.bits - 1))
    faults = Faults([t for t, _ in picked], [e for _, e in picked], list(picked.values()))
    flips = [(space.targets[t].tensor, e, b) for (t, e), b in picked.items()]
    before = model.SerializeToString()
    result = faulty_model(model, space, faults)
    assert result.SerializeToString() == naively_flipped(model, flips, fixed).SerializeToString()
    assert model.SerializeToString() == before


def test_values_in_typed_fields_flip_like_raw_bytes():
    """float_data and int32_data are as good as raw_data."""
    w = helper.make_tensor("w", TensorProto.FLOAT, [2, 2], [1.0, 2.0, 3.0, 4.0])
    h = helper.make_tensor("h", TensorProto.FLOAT16, [2, 2], [1.0, 2.0, 3.0, 4.0])
    q = helper.make_tensor("q", TensorProto.INT4, [2, 2], [1, -2, 3, -4])
    assert not any(t.HasField("raw_data") for t in (w, h, q))
    nodes = [helper.make_node("MatMul", ["x", name], [f"{name}_y"]) for name in ("w", "h", "q")]
    model = model_of(nodes, [w, h, q], inputs={"x": (None, 2)}, outputs=["w_y"])
    space = FaultSpace.of(onnx_unchecked(model))
    result = faulty_model(model, space, Faults([0, 1, 2], [0, 1, 3], [31, 16, 0]))
    onnx.checker.check_model(result)  # it refuses tensors that keep both forms
    values = [numpy_helper.to_array(t).astype(np.float32).ravel().tolist() for t in result.graph.initializer]
    assert values == [[-32767.0, 2, 3, 4], [1, 3, 3, 4], [1, -2, 3, -3]]


def onnx_unchecked(model):
    """Return the model: onnx's checker does not infer types, so mixed MatMul types pass it."""
    onnx.checker.check_model(model)
    return model


def test_listed_faults_show_tensor_index_bit_and_both_values():
    """Before and after all flips of the pattern, in the values a run uses."""
    model = small_cnn()
    space = FaultSpace.of(model)
    weights = numpy_helper.to_array(model.graph.initializer[0]).ravel()
    records = list_faults(model, space, Faults([0, 0, 1], [7, 7, 2], [16, 17, 31]))
    assert [(r.tensor, r.index, r.bit) for r in records] == [("w1", 7, 16), ("w1", 7, 17), ("b1", 2, 31)]
    assert records[0].before == records[1].before == float(weights[7])
    assert records[0].after == records[1].after
    assert {abs(records[0].after - records[0].before) > 0.9, records[2].after < -30000} == {True} or (
        records[2].before < 0 < 30000 < records[2].after
    )
    assert model.SerializeToString() == small_cnn().SerializeToString()


def test_a_flip_into_a_signalling_nan_is_listed_without_a_warning():
    """1.0 with exponent bit 30 and mantissa bit 0 flipped."""
    model = model_of(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [("w", np.ones((2, 2), np.float32))],
        inputs={"x": (None, 2)},
    )
    records = list_faults(model, FaultSpace.of(model, format="ieee"), Faults([0, 0], [0, 0], [30, 0]))
    assert [np.isnan(record.after) for record in records] == [True, True]


@pytest.mark.parametrize(("target", "element", "bit"), [(6, 0, 0), (0, 432, 0), (0, 0, 32), (1, 16, 0), (5, 10**12, 0)])
def test_faults_outside_the_space_are_refused(target, element, bit):
    """By every function that applies them; the message says which bit does not exist."""
    model, faults = small_cnn(), Faults([target], [element], [bit])
    space = FaultSpace.of(model)
    for use in (faulty_model, list_faults):
        with pytest.raises(UsageError, match="does not exist"):
            use(model, space, faults)


def test_no_faults_leave_the_model_as_it_is():
    """Byte for byte."""
    model = small_cnn()
    copy = faulty_model(model, FaultSpace.of(model), Faults.none())
    assert copy.SerializeToString() == model.SerializeToString()
    assert list_faults(model, FaultSpace.of(model), Faults.none()) == []


def test_a_faulty_copy_of_a_copy_finds_the_same_tensors():
    """A space is of a model's content, not of one object: flipping twice restores integers."""
    model = model_of(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        [("w", np.arange(-4, 5, dtype=np.int8).reshape(3, 3))],
        inputs={"x": (None, 3)},
        outputs={"y": (None, 3)},
        element=TensorProto.INT8,
    )
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT32
    space = FaultSpace.of(model)
    faults = Faults([0, 0], [0, 8], [7, 1])
    twice = faulty_model(faulty_model(model, space, faults), space, faults)
    assert twice.SerializeToString() == model.SerializeToString()
