"""The networks that are measured: exported once and kept in the user's cache.

Torchvision's have random weights; the ResNet-20 for CIFAR-10 is trained, where its weights are there.
"""

import os
import warnings
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.datasets import Dataset, as_dataset
from ftonnx.export import export_module
from ftonnx.models import build, input_shape, names, preprocessing, resolve
from ftonnx.quant import QuantSettings, quantize

__all__ = [
    "CLOUD_NET",
    "FILES",
    "MLP",
    "TRAINED",
    "cache_folder",
    "cifar",
    "fp16",
    "fp32",
    "images_for",
    "int4",
    "int8",
]

MLP: Final = "mlp"
"""Four products of 1,024 x 1,024 with a ReLU between them, which is what a transformer's feed-forward part does."""

TRAINED: Final = "resnet20-cifar"

CLOUD_NET: Final = "cloud_net"
"""The small segmentation network of the examples, its weights random."""

_CALIBRATION_IMAGES: Final = 8
_WIDTH: Final = 1024
_DEPTH: Final = 4
_BLOCK: Final = 32
_EXAMPLE: Final = f"{Path(__file__).parents[1] / 'examples' / 'cloud_net.py'}:{CLOUD_NET}"
_TILE: Final = (4, 96, 96)
_CIFAR: Final = Path(os.environ.get("FTONNX_SHARED", "../shared")) / "data" / "cifar10"


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


def fp16(name: str) -> Path:
    """Return the file of a network in half precision, whose images and scores stay float32."""
    return _kept(f"{name}-fp16-torch{metadata.version('torch')}", lambda: _halved(name))


def int4(name: str) -> Path:
    """Return the file of the network ``mlp``, its weights random 4-bit codes in blocks of 32 (MatMulNBits)."""
    return _kept(f"{name}-int4", _four_bits)


FILES: Final[Mapping[str, Callable[[str], Path]]] = {"fp32": fp32, "fp16": fp16, "int8": int8, "int4": int4}
"""The file of a network, by the format of its weights."""


def images_for(name: str, count: int) -> NDArray[np.float32]:
    """Return random images (count, channels, height, width) of the size that a network takes, rows for ``mlp``."""
    own = {MLP: (_WIDTH,), CLOUD_NET: _TILE}
    shape = own[name] if name in own else input_shape(name)
    return np.random.default_rng(0).standard_normal((count, *shape), np.float32)


def cifar() -> Dataset | None:
    """Return the first test images of CIFAR-10 as the trained ResNet-20 takes them; None where they are not there."""
    if not _CIFAR.exists():
        return None
    with np.load(_CIFAR / "test.npz") as stored:
        images = _normalized(stored["images"])
        labels = stored["labels"]
    return as_dataset([(images, labels)], name="cifar10")


def _normalized(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    found = preprocessing(TRAINED)
    mean, std = (np.array(found[key], np.float32).reshape(3, 1, 1) for key in ("mean", "std"))
    normalized: NDArray[np.float32] = (pixels.astype(np.float32) / 255 - mean) / std
    return normalized


def _exported(name: str) -> onnx.ModelProto:
    weights = _CIFAR / "resnet20.pth" if name == TRAINED else None
    with warnings.catch_warnings(action="ignore"):
        if name == CLOUD_NET:
            return export_module(build(_EXAMPLE), input_shape=_TILE)
        return export_module(build(name, weights=weights), input_shape=input_shape(name))


def _quantized(name: str) -> onnx.ModelProto:
    settings = QuantSettings(calibration="minmax", error_images=1)
    images = images_for(name, _CALIBRATION_IMAGES)
    if name == TRAINED:
        with np.load(_CIFAR / "train.npz") as stored:
            images = _normalized(stored["images"][:256])
    return quantize(onnx.load(fp32(name)), [images], settings).proto


def _halved(name: str) -> onnx.ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with warnings.catch_warnings(action="ignore"):
        halved: onnx.ModelProto = convert_float_to_float16(onnx.load(fp32(name)), keep_io_types=True)
    return halved


def _four_bits() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    nodes = []
    stored = []
    for layer in range(_DEPTH):
        codes = rng.integers(0, 256, (_WIDTH, _WIDTH // _BLOCK, _BLOCK // 2), np.uint8)
        # so that values keep their size from layer to layer
        scales = np.full(_WIDTH * _WIDTH // _BLOCK, 1 / (4.6 * _WIDTH**0.5), np.float32)
        stored += [onnx.numpy_helper.from_array(codes, f"w{layer}"), onnx.numpy_helper.from_array(scales, f"s{layer}")]
        given = f"r{layer - 1}" if layer else "x"
        made = f"y{layer}"
        shape = {"K": _WIDTH, "N": _WIDTH, "bits": 4, "block_size": _BLOCK}
        inputs = [given, f"w{layer}", f"s{layer}"]
        nodes.append(onnx.helper.make_node("MatMulNBits", inputs, [made], domain="com.microsoft", **shape))
        if layer < _DEPTH - 1:
            nodes.append(onnx.helper.make_node("Relu", [made], [f"r{layer}"]))
    row = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, ("batch", _WIDTH))
    graph = onnx.helper.make_graph(
        nodes,
        MLP,
        [onnx.helper.make_value_info("x", row)],
        [onnx.helper.make_value_info(made, row)],
        stored,
    )
    opsets = [onnx.helper.make_opsetid("", 21), onnx.helper.make_opsetid("com.microsoft", 1)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _kept(stem: str, make: Callable[[], onnx.ModelProto]) -> Path:
    path = cache_folder() / f"{stem}.onnx"
    if not path.exists():
        beside = path.with_suffix(".tmp")
        onnx.save(make(), beside)
        beside.replace(path)
    return path
