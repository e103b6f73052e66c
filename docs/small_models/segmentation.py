"""Networks with a class for every pixel."""

from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import helper

import ftonnx
from ftonnx.quant import QuantSettings
from small_models.base import BATCH, IMAGES, Kind, floats, ints, model_of, value

__all__ = ["KINDS"]

node = helper.make_node

_SCORES: Final = [value("y", (BATCH, 5, 8, 8))]
_SENSORS: Final = {"radar": 1, "optical": 2}
"""Channels of the image that each has."""


def _u_net(_: Path) -> onnx.ModelProto:
    nodes = [
        node("Conv", ["x", "down.w", "down.b"], ["c"], name="down", strides=[2, 2], kernel_shape=[2, 2]),
        node("Relu", ["c"], ["a"], name="relu"),
        node("ConvTranspose", ["a", "up.w"], ["u"], name="up", strides=[2, 2]),
        node("Concat", ["u", "x"], ["both"], name="skip", axis=1),
        node("Conv", ["both", "out.w", "out.b"], ["y"], name="out"),
    ]
    stored = {
        "down.w": floats(8, 3, 2, 2),
        "down.b": floats(8, seed=1),
        "up.w": floats(8, 4, 2, 2, seed=2),
        "out.w": floats(5, 7, 1, 1, seed=3),
        "out.b": floats(5, seed=4),
    }
    return model_of(nodes, stored, outputs=_SCORES)


@cache
def _swin() -> onnx.ModelProto:
    """Return a Swin block for each of two sensors, whose tokens become pixels again."""
    nodes = [node("Split", ["x", "channels"], [f"{sensor}.image" for sensor in _SENSORS], name="sensors", axis=1)]
    stored = {"channels": ints(*_SENSORS.values())}
    for number, (sensor, channels) in enumerate(_SENSORS.items()):
        nodes += _block(sensor)
        stored |= _stored(sensor, channels, 10 * number)
    nodes += [
        node("Concat", [f"{sensor}.map" for sensor in _SENSORS], ["both"], name="join", axis=1),
        node("DepthToSpace", ["both"], ["pixels"], name="expand", blocksize=2),
        node("Conv", ["pixels", "output.w"], ["y"], name="output"),
    ]
    stored["output.w"] = floats(5, 4, 1, 1, seed=30)
    return model_of(nodes, stored, outputs=_SCORES)


def _block(name: str) -> list[onnx.NodeProto]:
    """Return patches in windows of four, attention with a mask and relative positions, and an MLP with a GELU."""

    def step(op: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
        names = [f"{name}.{each}" for each in inputs.split()]
        return node(op, names, [f"{name}.{output}"], name=f"{name}.{output}_{op}", **attributes)

    return [
        step("Conv", "image patch.w patch.b", "patches", strides=[2, 2]),
        step("Reshape", "patches to_windows", "apart"),
        step("Transpose", "apart", "windows", perm=[0, 2, 4, 3, 5, 1]),
        step("Reshape", "windows to_tokens", "tokens"),
        step("LayerNormalization", "tokens norm.w norm.b", "normed"),
        step("MatMul", "normed qk.w", "queries"),
        step("Transpose", "normed", "keys", perm=[0, 1, 3, 2]),
        step("MatMul", "queries keys", "scores"),
        step("Reshape", "positions window", "table"),
        step("Transpose", "table", "bias", perm=[2, 0, 1]),
        step("Add", "scores bias", "biased"),
        step("Add", "biased mask", "masked"),
        step("Softmax", "masked", "attention"),
        step("MatMul", "attention normed", "mixed"),
        step("Add", "mixed tokens", "residual"),
        step("MatMul", "residual fc1.w", "wide"),
        step("Add", "wide fc1.b", "wider"),
        step("Gelu", "wider", "active"),
        step("MatMul", "active fc2.w", "out"),
        step("Reshape", "out to_apart", "out_apart"),
        step("Transpose", "out_apart", "together", perm=[0, 5, 1, 3, 2, 4]),
        step("Reshape", "together to_map", "map"),
    ]


def _stored(name: str, channels: int, seed: int) -> dict[str, Any]:
    mask = np.zeros((4, 4, 4), np.float32)
    # what was shifted in from the other side of the image is not looked at
    mask[-1, :2, 2:] = mask[-1, 2:, :2] = -100
    stored = {
        "patch.w": floats(8, channels, 2, 2, seed=seed),
        "patch.b": floats(8, seed=seed + 1),
        "norm.w": floats(8, seed=seed + 2),
        "norm.b": floats(8, seed=seed + 3),
        "qk.w": floats(8, 8, seed=seed + 4),
        "positions": floats(16, 1, seed=seed + 5),
        "fc1.w": floats(8, 16, seed=seed + 6),
        "fc1.b": floats(16, seed=seed + 7),
        "fc2.w": floats(16, 8, seed=seed + 8),
        "mask": mask,
        "to_windows": ints(-1, 8, 2, 2, 2, 2),
        "to_tokens": ints(-1, 4, 4, 8),
        "window": ints(4, 4, 1),
        "to_apart": ints(-1, 2, 2, 2, 2, 8),
        "to_map": ints(-1, 8, 4, 4),
    }
    return {f"{name}.{key}": array for key, array in stored.items()}


@cache
def _clipped() -> onnx.ModelProto:
    labels = np.zeros((len(IMAGES), 8, 8), np.int64)
    return ftonnx.protect(_swin(), [(IMAGES, labels)]).proto


def _quantized() -> onnx.ModelProto:
    return ftonnx.quantize(_clipped(), [IMAGES], QuantSettings(calibration="minmax")).proto


KINDS: Final = (
    Kind(name="U-Net: Conv, ConvTranspose, Concat", make=_u_net),
    Kind(name="SwinUNet block: two sensors, windows, mask, table of relative positions, GELU", make=lambda _: _swin()),
    Kind(name="the same, its GELUs clipped by `ftonnx protect`", make=lambda _: _clipped()),
    Kind(name="the same, clipped and quantized", make=lambda _: _quantized()),
)
"""By architecture, and what becomes of the paper's."""
