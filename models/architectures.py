"""Torch architectures by name: build one, and what it expects as input.

Names: the table below, any classification model of torchvision, or ``PATH/file.py:factory``.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ftonnx.errors import ModelError, UsageError
from ftonnx.models.extras import require
from ftonnx.words import did_you_mean

if TYPE_CHECKING:
    from torch import nn

__all__ = ["architectures", "build", "input_shape", "preprocess_entry", "preprocessing"]

_MAX_CLASSES: Final = 1 << 20
_IMAGENET: Final = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_HALF: Final = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
_CIFAR: Final = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2471, 0.2435, 0.2616)}
_FACTORY: Final = re.compile(r"(?P<path>.+\.py):(?P<function>[^\W\d]\w*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Architecture:
    """What is known of an architecture without torch.

    Attributes:
        input_shape: ``(channels, height, width)``, or None where only its author knows.
        preprocess: Value of ``ftonnx.preprocess``. No ``scale`` means what data sets do by themselves:
            8-bit pixels are divided by 255, floats stay.
    """

    input_shape: tuple[int, ...] | None
    classes: int | None
    preprocess: Mapping[str, Any] = field(default_factory=dict)


_IMAGENET_NET: Final = _Architecture(
    input_shape=(3, 224, 224),
    classes=1000,
    preprocess={**_IMAGENET, "resize": 256, "crop": 224},
)
# torchvision's public weights see (p - 0.5) / 0.5: there the model undoes the usual mean and std first
_INCEPTION: Final = _Architecture(
    input_shape=(3, 299, 299),
    classes=1000,
    preprocess={**_HALF, "resize": 342, "crop": 299},
)
_CIFAR_NET: Final = _Architecture(
    input_shape=(3, 32, 32),
    classes=10,
    preprocess=_CIFAR,
)
# the public weights of the small ResNets were trained with the statistics of ImageNet
_SMALL_RESNET: Final = _Architecture(
    input_shape=(3, 32, 32),
    classes=10,
    preprocess=_IMAGENET,
)
_DIGITS: Final = _Architecture(
    input_shape=(1, 8, 8),
    classes=10,
    preprocess={"scale": 1 / 16},
)
# the data set brings its images to the range that the network takes, and cuts them
_SWIN_UNET: Final = _Architecture(
    input_shape=(15, 224, 224),
    classes=8,
)
_KNOWN: Final[dict[str, _Architecture]] = {
    "resnet18": _IMAGENET_NET,
    "resnet34": _IMAGENET_NET,
    "resnet50": _IMAGENET_NET,
    "vgg13_bn": _IMAGENET_NET,
    "densenet161": _IMAGENET_NET,
    "inception_v3": _INCEPTION,
    "resnet18-cifar": _CIFAR_NET,
    "resnet34-cifar": _CIFAR_NET,
    "resnet50-cifar": _CIFAR_NET,
    "vgg13_bn-cifar": _CIFAR_NET,
    "densenet161-cifar": _CIFAR_NET,
    "inception_v3-cifar": _CIFAR_NET,
    "digits": _DIGITS,
    "resnet20-cifar": _SMALL_RESNET,
    "resnet32-cifar": _SMALL_RESNET,
    "resnet44-cifar": _SMALL_RESNET,
    "swin_unet": _SWIN_UNET,
}
_DEPTHS: Final = {
    "resnet20-cifar": 20,
    "resnet32-cifar": 32,
    "resnet44-cifar": 44,
}


def architectures() -> tuple[str, ...]:
    """The names that ftonnx knows by itself; torchvision's other classification models work by their names too."""
    return tuple(_KNOWN)


def input_shape(arch: str) -> tuple[int, ...]:
    """The ``(channels, height, width)`` that an architecture was made for.

    >>> input_shape("resnet18-cifar")
    (3, 32, 32)

    Raises:
        ModelError: There is no such architecture.
        UsageError: It is the user's own, so only its author knows.
    """
    shape = _find(arch).input_shape
    if shape is None:
        raise UsageError(f"{arch}: its input shape is not known here; say it, as in `input_shape=(3, 224, 224)`")
    return shape


def preprocessing(arch: str) -> dict[str, Any]:
    """How images become inputs: the object for the metadata key ``ftonnx.preprocess``, empty where unknown.

    >>> preprocessing("resnet50")
    {'mean': [0.485, 0.456, 0.406], 'std': [0.229, 0.224, 0.225], 'resize': 256, 'crop': 224}

    Raises:
        ModelError: There is no such architecture.
    """
    found = {}
    for key, value in _find(arch).preprocess.items():
        # JSON knows lists only
        if isinstance(value, tuple):
            value = list(value)
        found[key] = value
    return found


def preprocess_entry(arch: str, shape: tuple[int, ...]) -> dict[str, str]:
    """The metadata entry of a file: another input size moves the crop and, in proportion, the size before it.

    Args:
        arch: As for ``preprocessing``.
        shape: Of one input, ``(channels, height, width)``.

    Returns:
        ``ftonnx.preprocess`` as JSON; empty where nothing is known.

    Raises:
        ModelError: There is no such architecture.
    """
    known = preprocessing(arch)
    if not known:
        return {}
    height, width = shape[1:]
    usual = known.get("crop")
    if usual is not None and (height, width) != (usual, usual):
        known = _for_other_size(known, height, width)
    return {"ftonnx.preprocess": json.dumps(known)}


def _for_other_size(known: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    if height != width:
        # no square can be cut: the images have to come in this shape
        return {key: value for key, value in known.items() if key not in ("resize", "crop")}
    return known | {"resize": round(known["resize"] * height / known["crop"]), "crop": height}


def build(
    arch: str,
    *,
    classes: int | None = None,
    weights: str | Path | Sequence[str | Path] | None = None,
    fresh_head: bool = False,
    seed: int = 0,
) -> "nn.Module":
    """A network in eval mode.

    Without ``weights`` it is fresh, from a seeded generator; but ``digits`` with its 10 classes is the trained
    network that ftonnx embeds.

    Args:
        arch: A name of ``architectures()``, a torchvision classification model, or ``PATH/file.py:factory``,
            which runs that file.
        classes: Size of the classifier; None for the architecture's own.
        weights: Checkpoint, or several that complete each other, such as a backbone and its linear head.
        fresh_head: Leave the classifier fresh, whatever the files say of it, so that a pre-trained backbone can be
            trained for other classes; decoders too, where the files have none.
        seed: Of fresh weights; torch's global generator is left as it was.

    Raises:
        ModelError: Unknown architecture, user code that fails, or a checkpoint that does not fit.
        UsageError: torch is missing, or ``classes`` is out of range.
    """
    if classes is not None and not 1 <= classes <= _MAX_CLASSES:
        raise UsageError(f"classes: expected 1 to {_MAX_CLASSES}, got {classes}")
    known = _find(arch)
    if classes is None:
        classes = known.classes
    files = _as_files(weights)
    require("torch")
    import torch

    from ftonnx.models.checkpoints import load_checkpoint

    # fresh weights come from the global generator, which is the caller's
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = _made(arch, classes, trained=not files)
    net = net.eval()
    # nothing here trains it
    net = net.requires_grad_(False)
    if files:
        load_checkpoint(net, *files, name=arch, fresh_head=fresh_head)
    return net


def _as_files(weights: str | Path | Sequence[str | Path] | None) -> Sequence[str | Path]:
    if weights is None:
        return ()
    if isinstance(weights, str | Path):
        return (weights,)
    return weights


def _find(arch: str) -> _Architecture:
    if arch in _KNOWN:
        return _KNOWN[arch]
    # what a function of the user builds, only the user knows
    if _FACTORY.fullmatch(arch):
        return _Architecture(input_shape=None, classes=None)
    if os.path.isfile(arch) and not arch.endswith(".py"):
        advice = f"name that one, and give the file as `weights={arch}`"
        raise ModelError(f"{arch}: the name of an architecture was expected, got a file; {advice}")
    # only now: the list needs torchvision, the names above do not
    from ftonnx.models.torchvision_nets import classification_models, described

    others = classification_models()
    if arch in others:
        return _Architecture(**described(arch))
    if arch.endswith(".py"):
        raise ModelError(f"{arch}: which function builds the network? Write {arch}:factory")
    expected = "a classification model of torchvision, PATH/file.py:factory, or one of " + ", ".join(_KNOWN)
    raise ModelError(f"{arch}: expected {expected}{_meant(arch, others)}")


def _meant(arch: str, others: Sequence[str]) -> str:
    """What an unknown name probably meant, as the end of a message."""
    names = [*_KNOWN, *others]
    close = get_close_matches(arch, names, 4)
    # whoever writes resnet20 means the form for CIFAR, far as the longer name is
    own_form = f"{arch}-cifar"
    if own_form in _KNOWN:
        close.insert(0, own_form)
    # once each, in this order
    different = list(dict.fromkeys(close))
    return did_you_mean(different[:3])


def _made(arch: str, classes: int | None, *, trained: bool) -> "nn.Module":
    """A network by its name, before any checkpoint; imports what it needs and nothing else."""
    # first, since a path may end like any name
    user = _FACTORY.fullmatch(arch)
    if user is not None:
        from ftonnx.models.factory import run_factory

        path = Path(user["path"])
        return run_factory(path, user["function"], classes)
    if arch == "digits":
        return _made_digits(classes or 10, trained=trained)
    if arch == "swin_unet":
        from ftonnx.models.swin_unet import SwinUNet

        return SwinUNet(classes or 8)
    if arch in _DEPTHS:
        from ftonnx.models.cifar_resnet import CifarResNet

        return CifarResNet(_DEPTHS[arch], classes or 10)
    from ftonnx.models.torchvision_nets import cifar_form, imagenet_form

    if arch.endswith("-cifar"):
        return cifar_form(arch, classes or 10)
    return imagenet_form(arch, classes or 1000)


def _made_digits(classes: int, *, trained: bool) -> "nn.Module":
    from ftonnx.models.digits import digits, trained_digits

    # the embedded weights have a classifier of 10 classes
    if trained and classes == 10:
        return trained_digits()
    return digits(classes)
