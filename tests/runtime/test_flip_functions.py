"""The functions that flip bits inside a graph, against naive arithmetic on single numbers."""

import numpy as np
import onnxruntime as ort
import pytest
from activations_kit import flipped_float, node
from onnx import TensorProto, helper

from ftonnx.inject import parse_format
from ftonnx.runtime.activations.functions import DOMAIN, flip_function, mask_type, mask_values, row_function

FORMATS = {"q15.16": (15, 16), "q3.4": (3, 4), "ieee": "ieee"}
ODD = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1.17549435e-38, 3.4e38, -3.4e38, 0.5 / 65536, 1.5 / 65536]


@pytest.mark.parametrize("opset", [11, 13, 18, 26])
@pytest.mark.parametrize("name", ["q15.16", "q3.4", "ieee", "uint8", "int8", "int16"])
def test_the_function_flips_as_naive_arithmetic_does(name, opset):
    """Whether there is an operator for it or not: zeros of both signs, subnormals, ties, Inf and NaN among them."""
    is_float = name in FORMATS
    form = parse_format(name if is_float else "auto", np.dtype(np.float32 if is_float else name))
    rng = np.random.default_rng(0)
    if is_float:
        values = np.array([*ODD, *rng.normal(size=200) * 10.0 ** rng.integers(-9, 9, 200)], np.float32)
    else:
        values = rng.integers(np.iinfo(name).min, np.iinfo(name).max + 1, 200).astype(name)
    kind = helper.np_dtype_to_tensor_dtype(form.dtype)
    flip, row = flip_function(form, opset), row_function(form, opset)
    graph = helper.make_graph(
        [node(flip.name, ["x", "w", "m"], ["y"], domain=DOMAIN)],
        "g",
        [
            helper.make_tensor_value_info("x", kind, [None, 2]),
            helper.make_tensor_value_info("w", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("m", mask_type(form), [None]),
        ],
        [helper.make_tensor_value_info("y", kind, [None, 2])],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(graph, functions=[flip, row], opset_imports=imports, ir_version=10)
    session = ort.InferenceSession(model.SerializeToString())
    where = np.arange(0, len(values), 2)
    bits = rng.integers(form.bits, size=(len(where), 2))
    masks = np.bitwise_or.reduce(np.uint64(1) << bits.astype(np.uint64), axis=1)
    (got,) = session.run(None, {"x": values.reshape(-1, 2), "w": where, "m": mask_values(form, masks)})
    expected = values.copy()
    for element, own in zip(where, bits.tolist(), strict=True):
        if is_float:
            expected[element] = flipped_float(values[element], set(own), FORMATS[name])
        else:
            word = expected.view(form.word)
            word[element] ^= form.word.type(sum(1 << bit for bit in set(own)))
    got = got.reshape(-1)
    number = np.ones(len(got), bool) if not is_float else ~np.isnan(expected)
    assert got[number].tobytes() == expected[number].tobytes()
    assert np.isnan(got[~number]).all()
