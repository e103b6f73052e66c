"""ONNX Runtime's quantizer of the operator format, with the scales of weights and biases kept in step.

A bias has the scale of its input times that of its weight. Where the bias would not fit into 32 bits with it, the
weight gets a larger one.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer

__all__ = ["OperatorQuantizer"]


class OperatorQuantizer(ONNXQuantizer):  # type: ignore[misc]
    """Writes QLinearConv and the like; takes the arguments of its base."""

    def __init__(self, *args: Any, **options: Any) -> None:
        # by bias: input and weight
        self._partners: dict[str, tuple[str, str]] = {}
        super().__init__(*args, **options)

    def quantize_bias_static(self, bias_name: str, input_name: str, weight_name: str, beta: float = 1.0) -> Any:
        """Quantize a bias, and keep in mind what its scale was made of."""
        self._partners[bias_name] = (input_name, weight_name)
        return super().quantize_bias_static(bias_name, input_name, weight_name, beta)

    def _adjust_weight_scale_for_int32_bias(self, input_scale: Any, weight_scale: Any, *rest: Any) -> Any:
        # the base writes into the array, which onnx gives read-only
        return super()._adjust_weight_scale_for_int32_bias(input_scale, np.array(weight_scale), *rest)

    def _requantize_weight(self, weight_name: str, new_scale: NDArray[np.float32]) -> None:
        """Give a weight a larger scale, and the biases of earlier nodes that share it the codes that go with it."""
        super()._requantize_weight(weight_name, new_scale)
        for bias, (entry, weight) in self._partners.items():
            if weight == weight_name and bias in self.quantized_value_map:
                self._requantize_bias(bias, entry, new_scale)

    def _requantize_bias(self, bias: str, entry: str, weight_scale: NDArray[np.float32]) -> None:
        values = numpy_helper.to_array(self._tensor(bias)).astype(np.float64)
        input_scale = numpy_helper.to_array(self._tensor(self.quantized_value_map[entry].scale_name))
        codes = np.rint(values / (input_scale * weight_scale))
        stored = self._tensor(self.quantized_value_map[bias].q_name)
        changed = numpy_helper.from_array(codes.astype(np.int32), stored.name)
        stored.CopyFrom(changed)

    def _tensor(self, name: str) -> TensorProto:
        found: TensorProto = self.model.get_initializer(name)
        return found
