"""The networks that are measured: torchvision's, with random weights, exported once and kept in the user's cache."""

import os
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.export import export_module
from ftonnx.models import build, input_shape, names, resolve
from ftonnx.quant import QuantSettings, quantize

__all__ = ["cache_folder", "fp32", "images_for", "int8"]

_CALIBRATION_IMAGES = 8


def cache_folder() -> Path:
    """Return the folder that holds exported networks and the peers' environment between runs."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root / "ftonnx-benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fp32(name: str) -> Path:
    """Return the file of a network in FP32, such as ``resnet50``, ``resnet18-cifar``, or the embedded ``digits``."""
    if name in names():
        return resolve(name)
    return _kept(f"{name}-torch{metadata.version('torch')}", lambda: _exported(name))


def int8(name: str) -> Path:
    """Return the file of a network quantized on random images (QDQ, int8 weights, per channel)."""
    return _kept(
        f"{name}-int8-torch{metadata.version('torch')}-onnxruntime{metadata.version('onnxruntime')}",
        lambda: _quantized(name),
    )


def images_for(name: str, count: int) -> NDArray[np.float32]:
    """Return random images (count, channels, height, width) of the size that a network takes."""
    return np.random.default_rng(0).standard_normal((count, *input_shape(name)), np.float32)


def _exported(name: str) -> onnx.ModelProto:
    with warnings.catch_warnings(action="ignore"):
        return export_module(build(name), input_shape=input_shape(name))


def _quantized(name: str) -> onnx.ModelProto:
    settings = QuantSettings(calibration="minmax", error_images=1)
    return quantize(onnx.load(fp32(name)), [images_for(name, _CALIBRATION_IMAGES)], settings).proto


def _kept(stem: str, make: Callable[[], onnx.ModelProto]) -> Path:
    path = cache_folder() / f"{stem}.onnx"
    if not path.exists():
        beside = path.with_suffix(".tmp")
        onnx.save(make(), beside)
        beside.replace(path)
    return path
