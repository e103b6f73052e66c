"""Error of every quantized activation against its floating-point original."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from ftonnx.errors import ModelError
from ftonnx.quant.convert import Codes
from ftonnx.quant.report import Activation
from ftonnx.quant.sessions import Probe

__all__ = ["measure", "require_same_outputs"]

_SAME: Final = 1e-3  # of the largest output: sums in another order


def measure(
    reference: ModelProto, quantized: ModelProto, codes: Mapping[str, Codes], batches: Iterable[NDArray[np.float32]]
) -> tuple[Activation, ...]:
    """Run both models on the batches and sum signal and error per activation, in graph order.

    Args:
        reference: the floating-point model.
        quantized: the quantized one.
        codes: where it keeps the activations, by their names in ``reference``.
        batches: images, each batch as the models take it.
    """
    made_by = _producers(reference)
    in_order = [value.name for value in reference.graph.input]
    in_order.extend(made_by)
    tensors = [name for name in in_order if name in codes]
    ratios = _ratios(reference, quantized, codes, tensors, batches)
    found = []
    for name in tensors:
        # nothing makes the model's input
        node = made_by.get(name)
        activation = _activation(name, node, codes[name], ratios[name])
        found.append(activation)
    return tuple(found)


def require_same_outputs(model: ModelProto, converted: ModelProto, batches: Iterable[NDArray[np.float32]]) -> None:
    """Compare a model with what it was converted to.

    Raises:
        ModelError: they give different outputs.
    """
    names = [output.name for output in model.graph.output]
    originals = Probe(model, names)
    others = Probe(converted, names)
    for images in batches:
        wanted = originals.run(images)
        got = others.run(images)
        for name in names:
            _require_same(name, np.asarray(wanted[name]), np.asarray(got[name]))


def _require_same(name: str, wanted: NDArray[Any], got: NDArray[Any]) -> None:
    tolerance = _SAME * float(np.abs(wanted).max(initial=0))
    if wanted.shape == got.shape and np.allclose(wanted, got, rtol=_SAME, atol=tolerance, equal_nan=True):
        return
    raise ModelError(
        f"raising the operator set changed the model's output {name!r}: an operator's meaning has changed with it "
        "(Resize and Upsample are known for that); export the model again with opset 13 or newer"
    )


def _ratios(
    reference: ModelProto,
    quantized: ModelProto,
    codes: Mapping[str, Codes],
    tensors: Sequence[str],
    batches: Iterable[NDArray[np.float32]],
) -> dict[str, float]:
    """Return signal to error of every tensor, in decibels."""
    signal = dict.fromkeys(tensors, 0.0)
    error = dict.fromkeys(tensors, 0.0)
    # two activations may share their codes
    coded_names = dict.fromkeys(codes[name].tensor for name in tensors)
    floats = Probe(reference, tensors)
    integers = Probe(quantized, list(coded_names))
    for images in batches:
        exact = floats.run(images)
        coded = integers.run(images)
        for name in tensors:
            place = codes[name]
            original = exact[name]
            restored = place.dequantize(coded[place.tensor])
            signal[name] += _power(original)
            error[name] += _power(original - restored)
    return {name: decibels(signal[name], error[name]) for name in tensors}


def _producers(model: ModelProto) -> dict[str, NodeProto]:
    """Return which node makes a tensor, in graph order."""
    made_by = {}
    for node in model.graph.node:
        for name in node.output:
            made_by[name] = node
    return made_by


def _activation(name: str, node: NodeProto | None, place: Codes, snr_db: float) -> Activation:
    ends = place.dequantize(np.array(place.limits))
    return Activation(
        tensor=name,
        node="" if node is None else node.name,
        op_type="" if node is None else node.op_type,
        scale=float(place.scale),
        zero_point=int(place.zero_point),
        low=float(ends[0]),
        high=float(ends[1]),
        snr_db=snr_db,
    )


def decibels(signal: float, error: float) -> float:
    """Return 10 log10(signal / error).

    >>> decibels(1000.0, 1.0), decibels(0.0, 0.0), decibels(0.0, 1.0)
    (30.0, inf, -inf)
    """
    if error == 0:
        return math.inf
    if signal == 0:
        return -math.inf
    return 10 * math.log10(signal / error)


def _power(values: NDArray[np.float32]) -> float:
    flat = values.reshape(-1)
    # summed in float64 without a squared copy
    total = np.einsum("i,i->", flat, flat, dtype=np.float64)
    return float(total)
