"""Error of every quantized activation against its floating-point original."""

import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from ftonnx.quant.convert import Codes
from ftonnx.quant.report import Activation
from ftonnx.quant.sessions import Probe

__all__ = ["measure"]


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
    made_by = {name: node for node in reference.graph.node for name in node.output}
    order = [*(value.name for value in reference.graph.input), *made_by]
    tensors = [name for name in order if name in codes]
    signal, error = dict.fromkeys(tensors, 0.0), dict.fromkeys(tensors, 0.0)
    floats = Probe(reference, tensors)
    integers = Probe(quantized, list(dict.fromkeys(codes[name].tensor for name in tensors)))
    for images in batches:
        exact, coded = floats.run(images), integers.run(images)
        for name in tensors:
            difference = exact[name] - codes[name].dequantize(coded[codes[name].tensor])
            signal[name] += _power(exact[name])
            error[name] += _power(difference)
    found = []
    for name in tensors:
        place, node = codes[name], made_by.get(name)
        low, high = (float(end) for end in place.dequantize(np.array(place.limits)))
        found.append(
            Activation(
                tensor=name,
                node="" if node is None else node.name,
                op_type="" if node is None else node.op_type,
                scale=float(place.scale),
                zero_point=int(place.zero_point),
                low=low,
                high=high,
                snr_db=decibels(signal[name], error[name]),
            )
        )
    return tuple(found)


def decibels(signal: float, error: float) -> float:
    """Return 10 log10(signal / error).

    >>> decibels(1000.0, 1.0), decibels(0.0, 0.0), decibels(0.0, 1.0)
    (30.0, inf, -inf)
    """
    if error == 0:
        return math.inf
    return 10 * math.log10(signal / error) if signal else -math.inf


def _power(values: NDArray[np.float32]) -> float:
    flat = values.reshape(-1)
    return float(np.einsum("i,i->", flat, flat, dtype=np.float64))
