"""Torch architectures by name: build one, and what it expects as input.

Names: the table below, any classification model of torchvision, or ``PATH/file.py:factory``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ftonnx.errors import ModelError, UsageError
from ftonnx.models.extras import require

if TYPE_CHECKING:
    from torch import nn

__all__ = ["architectures", "build", "input_shape", "preprocessing"]

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


def _imagenet(name: str) -> _Architecture:
    if name != "inception_v3":
        return _Architecture(
            input_shape=(3, 224, 224), classes=1000, preprocess=_IMAGENET | {"resize": 256, "crop": 224}
        )
    # torchvision's public weights see (p - 0.5) / 0.5: there the model undoes the usual mean and std first
    return _Architecture(input_shape=(3, 299, 299), classes=1000, preprocess=_HALF | {"resize": 342, "crop": 299})


_PAPER: Final = ("resnet18", "resnet34", "resnet50", "vgg13_bn", "densenet161", "inception_v3")
_KNOWN: Final[dict[str, _Architecture]] = {
    **{name: _imagenet(name) for name in _PAPER},
    **{f"{name}-cifar": _Architecture(input_shape=(3, 32, 32), classes=10, preprocess=_CIFAR) for name in _PAPER},
    "digits": _Architecture(input_shape=(1, 8, 8), classes=10, preprocess={"scale": 1 / 16}),
    **{
        f"resnet{depth}-cifar": _Architecture(input_shape=(3, 32, 32), classes=10, preprocess=_IMAGENET)
        for depth in (20, 32, 44)
    },
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
        raise UsageError(f"{arch}: its input shape is not known here; say it, as in --input-shape 3,224,224")
    return shape


def preprocessing(arch: str) -> dict[str, Any]:
    """How images become inputs: the object for the metadata key ``ftonnx.preprocess``, empty where unknown.

    >>> preprocessing("resnet50")
    {'mean': [0.485, 0.456, 0.406], 'std': [0.229, 0.224, 0.225], 'resize': 256, 'crop': 224}

    Raises:
        ModelError: There is no such architecture.
    """
    said = _find(arch).preprocess
    return {key: list(value) if isinstance(value, tuple) else value for key, value in said.items()}


def build(
    arch: str,
    *,
    classes: int | None = None,
    weights: str | Path | Sequence[str | Path] | None = None,
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
        seed: Of fresh weights; torch's global generator is left as it was.

    Raises:
        ModelError: Unknown architecture, user code that fails, or a checkpoint that does not fit.
        UsageError: torch is missing, or ``classes`` is out of range.
    """
    if classes is not None and not 1 <= classes <= _MAX_CLASSES:
        raise UsageError(f"classes: expected 1 to {_MAX_CLASSES}, got {classes}")
    known = _find(arch)
    files = [weights] if isinstance(weights, str | Path) else weights or ()
    require("torch")
    import torch

    from ftonnx.models.checkpoints import load_checkpoint

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = _made(arch, classes if classes is not None else known.classes, trained=not files)
    net = net.eval().requires_grad_(False)
    if files:
        load_checkpoint(net, *files, name=arch)
    return net


def _find(arch: str) -> _Architecture:
    if arch in _KNOWN:
        return _KNOWN[arch]
    if _FACTORY.fullmatch(arch):
        return _Architecture(input_shape=None, classes=None)
    from ftonnx.models.torchvision_nets import classification_models, described

    others = classification_models()
    if arch in others:
        return _Architecture(**described(arch))
    if arch.endswith(".py"):
        raise ModelError(f"{arch}: which function builds the network? Write {arch}:factory")
    near = get_close_matches(arch, [*_KNOWN, *others], 4)
    close = list(dict.fromkeys([*(name for name in _KNOWN if name == f"{arch}-cifar"), *near]))[:3]
    meant = f"; did you mean {' or '.join(close)}?" if close else ""
    raise ModelError(
        f"{arch}: expected a classification model of torchvision, PATH/file.py:factory, or one of "
        f"{', '.join(_KNOWN)}{meant}"
    )


def _made(arch: str, classes: int | None, *, trained: bool) -> "nn.Module":
    """A network by its name, before any checkpoint; imports what it needs and nothing else."""
    if user := _FACTORY.fullmatch(arch):
        from ftonnx.models.factory import run_factory

        return run_factory(Path(user["path"]), user["function"], classes)
    if arch == "digits":
        from ftonnx.models.digits import digits, trained_digits

        return trained_digits() if trained and classes == 10 else digits(classes or 10)
    if arch in ("resnet20-cifar", "resnet32-cifar", "resnet44-cifar"):
        from ftonnx.models.cifar_resnet import CifarResNet

        return CifarResNet(int(arch[6:8]), classes or 10)
    from ftonnx.models.torchvision_nets import cifar_form, imagenet_form

    return cifar_form(arch, classes or 10) if arch.endswith("-cifar") else imagenet_form(arch, classes or 1000)
