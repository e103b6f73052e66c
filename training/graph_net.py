"""A prepared ONNX graph as a torch module, with fake quantization exactly where its int8 file quantizes.

Where that is, and which tensors share a scale, is read from the file that the quantizer writes, not guessed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper
from torch import Tensor, nn

from ftonnx.errors import ModelError
from ftonnx.quant import Int8Writer, Ranges, Written, channel_axis
from ftonnx.training.fake_quant import ActivationQuantizer, WeightQuantizer
from ftonnx.training.operators import OPERATORS, Attributes

__all__ = ["GraphNet"]

_LEARNT: Final = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 0}
"""Operators with weights, and the first input that may be one; those behind it are learnt too."""

_CODES: Final = {np.dtype(np.uint8): (0, 255), np.dtype(np.int8): (-128, 127)}


class GraphNet(nn.Module):
    """A floating-point graph that computes as its int8 file will."""

    def __init__(self, writer: Int8Writer, ranges: Ranges, written: Written) -> None:
        """Take the graph over.

        Args:
            writer: holds the prepared graph.
            ranges: of activations, as calibrated.
            written: the int8 file with these ranges.

        Raises:
            ModelError: the graph has an operator that is not trained here, named with its node.
        """
        super().__init__()
        graph = writer.plain.graph
        self._nodes = list(graph.node)
        self._attributes = [_attributes(node) for node in self._nodes]
        for node in self._nodes:
            if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx") or len(node.output) != 1:
                known = ", ".join(OPERATORS)
                raise ModelError(
                    f"node {node.name!r} ({node.op_type}): {known} are trained, this operator is not; "
                    "quantize without training"
                )
        self._input = graph.input[0].name
        self._output = graph.output[0].name
        self._take_tensors(writer.plain, written.proto)
        self._take_activations(writer, writer.fixed(ranges), written)

    def freeze(self) -> None:
        """Keep all ranges and scales from now on."""
        for module in self.modules():
            if isinstance(module, ActivationQuantizer | WeightQuantizer):
                module.freeze()

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images."""
        values: dict[str, Tensor] = {self._input: self._quantized(self._input, images)}
        for number, (node, attributes) in enumerate(zip(self._nodes, self._attributes, strict=True)):
            inputs = [self._value(name, values) for name in node.input]
            made = self._clipped(node, OPERATORS[node.op_type](node, attributes, inputs))
            values[node.output[0]] = self._quantized(node.output[0], made)
            for name in self._spent[number]:
                values.pop(name, None)
        return values[self._output]

    def ranges(self, calibrated: Ranges) -> Ranges:
        """Return the ranges as they are now."""
        found = dict(calibrated)
        for name, number in self._points.items():
            quantizer = self._activation(number)
            if name in found:
                found[name] = (float(quantizer.low), float(quantizer.high))
        return found

    def weight_scales(self) -> dict[str, NDArray[np.float32]]:
        """Return the scales of weights as they are now, by name."""
        return {name: self._weight(number).scale().detach().cpu().numpy() for name, number in self._quantizers.items()}

    def written_back(self, plain: onnx.ModelProto) -> onnx.ModelProto:
        """Return the prepared graph with weights and biases as they are now; weights saturate as their codes do."""
        changed = onnx.ModelProto()
        changed.CopyFrom(plain)
        scales = self.weight_scales()
        for tensor in changed.graph.initializer:
            if tensor.name not in self._parameter_numbers:
                continue
            number = self._parameter_numbers[tensor.name]
            values = self._learnt[number].detach().cpu().numpy()
            if tensor.name in scales:
                values = self._saturated(tensor.name, values, scales[tensor.name])
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))
        return changed

    def _saturated(self, name: str, values: NDArray[np.float32], scales: NDArray[np.float32]) -> NDArray[np.float32]:
        shape = [1] * values.ndim
        axis = self._axes[name]
        if axis is not None:
            shape[axis] = -1
        limits = scales.reshape(shape) * np.float32(127)
        clipped: NDArray[np.float32] = np.clip(values, -limits, limits)
        return clipped

    def _take_tensors(self, plain: onnx.ModelProto, int8: onnx.ModelProto) -> None:
        """Make parameters of weights and biases, and constants of everything else."""
        stored = {tensor.name: tensor for tensor in plain.graph.initializer}
        quantized = {tensor.name for tensor in int8.graph.initializer}
        scales = {tensor.name: list(tensor.dims) for tensor in int8.graph.initializer}
        self._learnt = nn.ParameterList()
        self._parameter_numbers: dict[str, int] = {}
        self._weights = nn.ModuleList()
        self._quantizers: dict[str, int] = {}
        self._axes: dict[str, int | None] = {}
        for node in self._nodes:
            for name in node.input[_LEARNT.get(node.op_type, len(node.input)) :]:
                if name not in stored or name in self._parameter_numbers:
                    continue
                values = torch.from_numpy(numpy_helper.to_array(stored[name]).copy())
                self._parameter_numbers[name] = len(self._learnt)
                self._learnt.append(nn.Parameter(values))
                # a bias is not: it has the scale of its sums, which 32 bits make fine enough
                if f"{name}_quantized" in quantized and values.ndim > 1:
                    axis = channel_axis(plain, name) if scales.get(f"{name}_scale") else None
                    self._quantizers[name] = len(self._weights)
                    self._axes[name] = axis
                    self._weights.append(WeightQuantizer(values, axis))
        self._constants: dict[str, str] = {}
        for number, (name, tensor) in enumerate(stored.items()):
            if name not in self._parameter_numbers:
                self._constants[name] = f"constant_{number}"
                self.register_buffer(f"constant_{number}", torch.from_numpy(numpy_helper.to_array(tensor).copy()))
        self._spent = _spent(self._nodes, {self._output})

    def _take_activations(self, writer: Int8Writer, ranges: Ranges, written: Written) -> None:
        """Make a quantizer for every scale of the file."""
        fixed = {clipping.output for clipping in writer.prepared.clippings}
        clamps = {node.input[0]: node for node in self._nodes if node.op_type in ("Relu", "Clip")}
        self._activations = nn.ModuleList()
        self._points: dict[str, int] = {}
        self._owners: dict[int, str] = {}
        self._chains: dict[str, list[int]] = {}
        numbers = {id(node): number for number, node in enumerate(self._nodes)}
        by_scale: dict[str, int] = {}
        # the owner of a scale first: it is named after it
        ordered = sorted(written.codes.items(), key=lambda item: item[1].zero_point_name != f"{item[0]}_zero_point")
        for name, codes in ordered:
            chain = []
            last = name
            while last in writer.borrowers:
                chain.append(numbers[id(clamps[last])])
                last = writer.borrowers[last]
            number = by_scale.get(codes.zero_point_name)
            if number is None:
                number = len(self._activations)
                by_scale[codes.zero_point_name] = number
                is_fixed = last in fixed
                self._activations.append(
                    ActivationQuantizer(*ranges[name], _CODES[codes.zero_point.dtype], fixed=is_fixed)
                )
                self._owners[number] = name
                self._chains[name] = chain
            self._points[name] = number
        thresholds: dict[str, Tensor] = {}
        for clipping in writer.prepared.clippings:
            thresholds[clipping.output] = torch.from_numpy(np.array(clipping.threshold))
        self._thresholds = thresholds

    def _activation(self, number: int) -> ActivationQuantizer:
        """Return a quantizer of activations by its number."""
        found = self._activations[number]
        assert isinstance(found, ActivationQuantizer)
        return found

    def _weight(self, number: int) -> WeightQuantizer:
        """Return a quantizer of weights by its number."""
        found = self._weights[number]
        assert isinstance(found, WeightQuantizer)
        return found

    def _value(self, name: str, values: Mapping[str, Tensor]) -> Tensor | None:
        if not name:
            return None
        if name in values:
            return values[name]
        if name in self._parameter_numbers:
            learnt: Tensor = self._learnt[self._parameter_numbers[name]]
            if name in self._quantizers:
                rounded: Tensor = self._weight(self._quantizers[name])(learnt)
                return rounded
            return learnt
        constant: Tensor = getattr(self, self._constants[name])
        return constant

    def _quantized(self, name: str, values: Tensor) -> Tensor:
        """Round an activation to its codes, if it has any."""
        number = self._points.get(name)
        if number is None:
            return values
        quantizer = self._activation(number)
        if self._owners[number] == name and quantizer.observing:
            seen = values.detach()
            # what its codes stand for is what the clamps behind it let through
            for clamp in self._chains[name]:
                node = self._nodes[clamp]
                rest = [self._value(each, {}) for each in node.input[1:]]
                seen = OPERATORS[node.op_type](node, self._attributes[clamp], [seen, *rest])
            quantizer.observe(seen)
        rounded: Tensor = quantizer(values)
        return rounded

    def _clipped(self, node: NodeProto, values: Tensor) -> Tensor:
        """Let a Relu that stands for a CReLU clip as its codes will: half a step above the threshold is above it."""
        threshold = self._thresholds.get(node.output[0])
        if threshold is None:
            return values
        threshold = threshold.to(values.device)
        number = self._points.get(node.output[0], self._points.get(node.input[0]))
        if number is not None:
            scale = self._activation(number).scale()
            threshold = (torch.round(threshold / scale) + 0.5) * scale
        return torch.where(values <= threshold, values, torch.zeros_like(values))


def _attributes(node: NodeProto) -> Attributes:
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        found[attribute.name] = onnx.helper.get_attribute_value(attribute)
    return found


def _spent(nodes: Sequence[NodeProto], kept: set[str]) -> list[list[str]]:
    """Return which tensors no node needs any more after each."""
    last: dict[str, int] = {}
    for number, node in enumerate(nodes):
        for name in node.input:
            last[name] = number
    spent: list[list[str]] = [[] for _ in nodes]
    for name, number in last.items():
        if name and name not in kept:
            spent[number].append(name)
    return spent
