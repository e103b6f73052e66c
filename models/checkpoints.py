"""Checkpoints from strangers: read without running code, unwrapped, names matched, loaded strictly; needs torch.

The weights of one network come under many names: wrapped in dicts, behind prefixes of training wrappers, next to
heads that only pre-training used. What is recognised is in the tables below; the rest is an error that names it.
"""

import argparse
import logging
import pickle
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from ftonnx.errors import ModelError, describe
from ftonnx.files import reason_unread
from ftonnx.models.extras import require

__all__ = ["load_checkpoint", "read_state_dict"]

_log = logging.getLogger(__name__)

_WRAPPERS: Final = (
    "state_dict", "model_state_dict", "model_state", "model_weights", "model", "teacher", "net", "network", "weights",
)  # fmt: skip
"""Keys of a checkpoint under which the weights lie, the first one found wins."""

_PREFIXES: Final = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "encoder.", "encoder_q.")
"""Left behind by DataParallel, torch.compile, and by classes that wrap the network."""

_RENAMED: Final = (
    # linear evaluation of SwAV, DINO
    (re.compile(r"^linear\."), "fc."),
    # SSQL
    (re.compile(r"(^|\.)(conv)(\d)\.bn_function\."), r"\1bn\3."),
    (re.compile(r"\.downsample\.bn_function\."), ".downsample.1."),
    (re.compile(r"\.downsample\.weight$"), ".downsample.0.weight"),
    # torchvision's own DenseNet files
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)"), r"\1"),
)

_CODE: Final = re.compile(r"(?:GLOBAL|Unsupported global:|instantiate|class) +([\w.]+\.[\w.]+)")
"""Where torch's refusal of a pickle names what it would have had to call."""

_PROJECTION: Final = re.compile(r"(^|\.)encoder(_q)?\.(model\.)?fc\.")
"""The ``fc`` of an encoder that was pre-trained."""

_PRETRAINING: Final = re.compile(r"(projection_head|projector|predictor|prototypes\d*|encoder_k|queue|queue_ptr)(\.|$)")
"""Parts that self-supervised training adds; where one is present, an encoder's own ``fc`` is a projection too."""

_UNUSED: Final = re.compile(
    _PRETRAINING.pattern + r"|(head|AuxLogits|aux[12])\.|.*quantizer.*|(.*\.)?total_(ops|params)$"
)
"""Left out without complaint: pre-training parts, auxiliary classifiers, what quantizers and profilers leave."""

_SHOWN: Final = 4


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a ``.pth``, ``.pt``, ``.pth.tar`` or ``.safetensors`` file, by the names they have there.

    Code in a pickle is never run: such a file is refused.

    Raises:
        ModelError: The file is missing, damaged, holds code, or holds no tensors.
        UsageError: safetensors is not installed.
    """
    path = Path(path)
    # by its suffix: the two formats share no mark at their beginning
    content = _content(path)
    tensors = _unwrapped(content)
    if not tensors:
        holds = _described(content)
        raise ModelError(f"{path}: expected a state dict, got an object {holds}; save network.state_dict()")
    return {name: tensor.detach() for name, tensor in tensors.items()}


def _content(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return _safetensors(path)
    return _pickled(path)


def _described(content: object) -> str:
    """What a file without tensors holds, for a message."""
    if not isinstance(content, Mapping):
        return type(content).__name__
    keys = [str(key) for key in content]
    return f"with the keys {_some(keys)}"


def load_checkpoint(module: nn.Module, *paths: str | Path, name: str | None = None) -> None:
    """Put the weights of one or more files, which complete each other, into a network.

    Args:
        module: The network; unchanged when this raises.
        paths: Files for ``read_state_dict``.
        name: Of the architecture, for messages.

    Raises:
        ModelError: A file is refused, names or shapes do not fit, or a weight is not finite.
    """
    # the network is touched only after everything was checked
    expected = module.state_dict()
    given: dict[str, Tensor] = {}
    unexpected: list[str] = []
    for path in paths:
        found = read_state_dict(path)
        matched = _matched(found, expected, path)
        # of two files with the same weight, nobody knows which one is meant
        twice = given.keys() & matched.tensors.keys()
        if twice:
            again = _some(sorted(twice))
            raise ModelError(f"{path}: expected what the files before it lack, got {again} again")
        given.update(matched.tensors)
        unexpected.extend(matched.unexpected)
    files = " and ".join(map(str, paths))
    network = name or type(module).__name__
    where = f"{files}: expected the weights of {network}"
    _check(given, expected, unexpected, where)
    # many files leave the counters of batches out, and inference does not use them
    state = {key: value for key, value in expected.items() if _is_counter(key)}
    state.update(given)
    module.load_state_dict(state)


def _safetensors(path: Path) -> Mapping[str, Tensor]:
    require("safetensors")
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:
        raise ModelError(f"{path}: expected a safetensors file, but reading it failed: {describe(error)}") from error


def _pickled(path: Path) -> Any:
    try:
        # DINO keeps its parsed options in the file: plain attributes, no code
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            # about old formats
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        reason = reason_unread(error, path)
        raise ModelError(f"{path}: expected a checkpoint, but it cannot be read: {reason}") from error
    # code, or no checkpoint at all
    except pickle.UnpicklingError as error:
        raise ModelError(f"{path}: {_why_refused(str(error))}") from error
    except Exception as error:
        raise ModelError(f"{path}: expected a torch checkpoint, but reading it failed: {describe(error)}") from error


def _why_refused(message: str) -> str:
    """What is wrong with a pickle that torch refuses to load without running code."""
    named = _CODE.search(message)
    if named is None:
        got = "a damaged file or another kind of pickle"
        return f"expected a torch checkpoint, got {got}; save network.state_dict() again"
    return (
        f"expected tensors only, got a pickle with code ({named[1]}), which is never run here; "
        "where you trust the file, load it in torch and save network.state_dict(), "
        "or convert it to safetensors"
    )


def _unwrapped(content: Any, depth: int = 4) -> dict[str, Tensor]:
    """The dict of tensors inside the wrappers; empty where there is none."""
    if not isinstance(content, Mapping):
        return {}
    # a file from a stranger may hold itself
    if depth > 0:
        for key in _WRAPPERS:
            inner = _unwrapped(content.get(key), depth - 1)
            if inner:
                return inner
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Matched:
    """What one file holds for a network.

    Attributes:
        tensors: By the network's own names.
        unexpected: Names that mean nothing to it.
    """

    tensors: dict[str, Tensor]
    unexpected: list[str]


def _matched(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: str | Path) -> _Matched:
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
        _log.info("%s: left out %s", path, _some(dropped))
    return _Matched(tensors=tensors, unexpected=unexpected)


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


def _check(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], unexpected: Sequence[str], where: str) -> None:
    # the whole list of names first, then shapes, then values: each needs what is before it
    missing = _missing(given, expected)
    if missing or unexpected:
        got = _counted(missing, unexpected)
        advice = _advice(missing, expected)
        raise ModelError(f"{where}, got {got}; {advice}")
    wrong = _of_another_shape(given, expected)
    if wrong:
        raise ModelError(f"{where}{_wrong_shapes(wrong, given, expected)}")
    bad = _not_finite(given)
    if bad:
        raise ModelError(f"{where}, finite; got NaN or Inf in {_some(bad)}")


def _missing(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    missing = []
    for key in expected:
        if key not in given and not _is_counter(key):
            missing.append(key)
    return missing


def _is_counter(key: str) -> bool:
    """Whether a name is that of a BatchNorm's number of batches."""
    return key.endswith("num_batches_tracked")


def _of_another_shape(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    wrong = []
    for key, tensor in expected.items():
        found = given.get(key)
        if found is not None and found.shape != tensor.shape:
            wrong.append(key)
    return wrong


def _not_finite(given: Mapping[str, Tensor]) -> list[str]:
    bad = []
    for key, tensor in given.items():
        # a NaN would make every golden output NaN
        finite = torch.isfinite(tensor)
        if not bool(finite.all()):
            bad.append(key)
    return bad


def _counted(missing: Sequence[str], unexpected: Sequence[str]) -> str:
    """How many keys are missing and how many unexpected, with the first few of each."""
    parts = []
    for kind, keys in (("missing", missing), ("unexpected", unexpected)):
        count = len(keys)
        if count == 0:
            continue
        ending = "" if count == 1 else "s"
        parts.append(f"{count} {kind} key{ending} ({_some(keys)})")
    return " and ".join(parts)


def _advice(missing: Sequence[str], expected: Mapping[str, Tensor]) -> str:
    lacks_classifier = set(missing) == _classifier(expected)
    if missing and lacks_classifier:
        return "this is a backbone without its classifier: give the file of the head as a second one of `weights`"
    return "check the architecture"


def _classifier(expected: Mapping[str, Tensor]) -> set[str]:
    """Names of the last layer's weight and bias."""
    # a state dict is in the order of the layers
    names = list(expected)
    last = _layer(names[-1])
    return {key for key in names if _layer(key) == last}


def _layer(key: str) -> str:
    return key.rpartition(".")[0]


def _wrong_shapes(wrong: Sequence[str], given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    first = wrong[0]
    found = given[first]
    wanted = expected[first]
    got = tuple(found.shape)
    want = tuple(wanted.shape)
    # other classes are the usual reason, and easy to say
    only_classifier = set(wrong) <= _classifier(expected)
    same_features = len(got) > 0 and got[1:] == want[1:]
    if only_classifier and same_features:
        classes = got[0]
        return f" with {want[0]} classes, got {classes} ({first} {got}); add `classes={classes}`"
    others = ""
    number = len(wrong) - 1
    if number > 0:
        others = f", and {number} others"
    return f" with {first} {want}, got {got}{others}; check the architecture"


def _some(names: Iterable[str]) -> str:
    """The first few names.

    >>> _some("abcdef")
    'a, b, c, d, …'
    """
    listed = list(names)
    shown = listed[:_SHOWN]
    if len(listed) > _SHOWN:
        shown.append("…")
    return ", ".join(shown)
