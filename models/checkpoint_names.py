"""The weights of one network under the names that others gave them.

What is recognised is in the tables below; the rest is an error that names it.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import Tensor

from ftonnx.errors import ModelError
from ftonnx.words import some_of

__all__ = ["Matched", "match_names"]

_log = logging.getLogger(__name__)

_PREFIXES: Final = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "encoder.", "encoder_q.")
"""Left behind by DataParallel, torch.compile, and by classes that wrap the network."""

_IN_BLOCK: Final = (
    (re.compile(r"layer\.(\d)\.convolution\."), "conv"),
    (re.compile(r"layer\.(\d)\.normalization\."), "bn"),
    (re.compile(r"shortcut\.convolution\."), "downsample.0"),
    (re.compile(r"shortcut\.normalization\."), "downsample.1"),
)
"""Parts of a block of a ResNet of transformers."""


def _of_stage(found: re.Match[str]) -> str:
    """What torchvision calls a part of a block: ``layer1.2.conv2.weight`` for stage 0, block 2, layer 1."""
    stage, block, rest = found.groups()
    for pattern, name in _IN_BLOCK:
        part = pattern.match(rest)
        if part is not None:
            number = int(part[1]) + 1 if part.groups() else ""
            rest = f"{name}{number}.{rest[part.end() :]}"
            break
    return f"layer{int(stage) + 1}.{block}.{rest}"


_RENAMED: Final = (
    # linear evaluation of SwAV, DINO
    (re.compile(r"^linear\."), "fc."),
    # SSQL
    (re.compile(r"(^|\.)(conv)(\d)\.bn_function\."), r"\1bn\3."),
    (re.compile(r"\.downsample\.bn_function\."), ".downsample.1."),
    (re.compile(r"\.downsample\.weight$"), ".downsample.0.weight"),
    # the ResNets of Hugging Face's transformers, whose numbers count from 0
    (re.compile(r"^(?:resnet\.)?embedder\.embedder\.convolution\."), "conv1."),
    (re.compile(r"^(?:resnet\.)?embedder\.embedder\.normalization\."), "bn1."),
    (re.compile(r"^(?:resnet\.)?encoder\.stages\.(\d{1,3})\.layers\.(\d{1,3})\.(.*)$"), _of_stage),
    (re.compile(r"^classifier\.1\."), "fc."),
    # torchvision's own DenseNet files
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)"), r"\1"),
)

_PROJECTION: Final = re.compile(r"(^|\.)encoder(_q)?\.(model\.)?fc\.")
"""The ``fc`` of an encoder that was pre-trained."""

_PRETRAINING: Final = re.compile(r"(projection_head|projector|predictor|prototypes\d*|encoder_k|queue|queue_ptr)(\.|$)")
"""Parts that self-supervised training adds; where one is present, an encoder's own ``fc`` is a projection too."""

_NEVER_RUN: Final = r"decoder[12]\.(backbone|layers)\.|backbone[12]\.head\.|decoder2\.(up|output)\."
"""What the authors' SwinUNet holds and never runs: encoders in its decoders, classifiers, a second output."""

_UNUSED: Final = re.compile(
    _PRETRAINING.pattern + r"|(head|AuxLogits|aux[12])\.|.*quantizer.*|(.*\.)?total_(ops|params)$|" + _NEVER_RUN
)
"""Left out without complaint: pre-training parts, auxiliary classifiers, what quantizers and profilers leave, and
what is never run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """What one file holds for a network.

    Attributes:
        tensors: By the network's own names.
        unexpected: Names that mean nothing to it.
    """

    tensors: dict[str, Tensor]
    unexpected: list[str]


def match_names(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: str | Path) -> Matched:
    """Find the network's own name for each tensor of a file."""
    # without other parts of pre-training, an encoder's fc is its classifier
    pretrained = any(_is_like(_PRETRAINING, name) for name in found)
    tensors: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    unexpected: list[str] = []
    dropped: list[str] = []
    for name, tensor in found.items():
        if pretrained and _PROJECTION.search(name):
            dropped.append(name)
            continue
        own = _own_name(name, expected)
        if own is None:
            unused = _is_like(_UNUSED, name)
            group = dropped if unused else unexpected
            group.append(name)
            continue
        # two names that mean the same weight, such as with and without a prefix
        if own in tensors:
            both = f"both {origin[own]} and {name}"
            raise ModelError(f"{path}: expected each weight once, got {both} for {own}")
        tensors[own] = tensor
        origin[own] = name
    if dropped:
        _log.info("%s: left out %s", path, some_of(dropped))
    return Matched(tensors=tensors, unexpected=unexpected)


def _is_like(pattern: re.Pattern[str], name: str) -> bool:
    """Whether the pattern fits a name, with or without its prefixes."""
    matches = map(pattern.match, _shortened(name))
    return any(matches)


def _shortened(name: str) -> Iterator[str]:
    """The name, then without its first prefix, without its first two, and so on.

    >>> list(_shortened("module.encoder.conv1.weight"))
    ['module.encoder.conv1.weight', 'encoder.conv1.weight', 'conv1.weight']
    """
    rest: str | None = name
    while rest is not None:
        yield rest
        rest = _without_prefix(rest)


def _without_prefix(name: str) -> str | None:
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return None


def _own_name(name: str, expected: Mapping[str, Tensor]) -> str | None:
    for short in _shortened(name):
        # as it is, before any renaming: the network may use such names itself
        if short in expected:
            return short
        renamed = short
        for pattern, replacement in _RENAMED:
            renamed = pattern.sub(replacement, renamed)
        if renamed in expected:
            return renamed
    return None
