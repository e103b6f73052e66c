"""Checkpoints from strangers: read without running code, unwrapped, names matched, loaded strictly; needs torch.

The weights of one network come under many names: wrapped in dicts, behind prefixes of training wrappers, next to
heads that only pre-training used. What is recognised is in the tables below; the rest is an error that names it.
"""

import argparse
import logging
import pickle
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from ftonnx.errors import ModelError, describe
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
    (re.compile(r"^linear\."), "fc."),  # linear evaluation of SwAV, DINO
    (re.compile(r"(^|\.)(conv)(\d)\.bn_function\."), r"\1bn\3."),  # SSQL
    (re.compile(r"\.downsample\.bn_function\."), ".downsample.1."),
    (re.compile(r"\.downsample\.weight$"), ".downsample.0.weight"),
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)"), r"\1"),  # torchvision's own DenseNet files
)

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
    content = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    tensors = _unwrapped(content)
    if not tensors:
        holds = f"with the keys {_some(map(str, content))}" if isinstance(content, Mapping) else type(content).__name__
        raise ModelError(f"{path}: expected a state dict, got an object {holds}; save network.state_dict()")
    return {name: tensor.detach() for name, tensor in tensors.items()}


def load_checkpoint(module: nn.Module, *paths: str | Path, name: str | None = None) -> None:
    """Put the weights of one or more files, which complete each other, into a network.

    Args:
        module: The network; unchanged when this raises.
        paths: Files for ``read_state_dict``.
        name: Of the architecture, for messages.

    Raises:
        ModelError: A file is refused, names or shapes do not fit, or a weight is not finite.
    """
    expected = module.state_dict()
    given: dict[str, Tensor] = {}
    unexpected: list[str] = []
    for path in paths:
        matched, left = _matched(read_state_dict(path), expected, path)
        if twice := sorted(given.keys() & matched.keys()):
            raise ModelError(f"{path}: expected what the files before it lack, got {_some(twice)} again")
        given |= matched
        unexpected += left
    where = f"{' and '.join(map(str, paths))}: expected the weights of {name or type(module).__name__}"
    _check(given, expected, unexpected, where)
    counters = {key: value for key, value in expected.items() if key.endswith("num_batches_tracked")}
    module.load_state_dict(counters | given)


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
            warnings.simplefilter("ignore")  # about old formats
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"{path}: expected a checkpoint, but it cannot be read: {describe(error)}") from error
    except pickle.UnpicklingError as error:
        raise ModelError(f"{path}: {_why_refused(str(error))}") from error
    except Exception as error:
        raise ModelError(f"{path}: expected a torch checkpoint, but reading it failed: {describe(error)}") from error


def _why_refused(message: str) -> str:
    """What is wrong with a pickle that torch refuses to load without running code."""
    named = re.search(r"(?:GLOBAL|Unsupported global:|instantiate|class) +([\w.]+\.[\w.]+)", message)
    if named:
        return (
            f"expected tensors only, got a pickle with code ({named[1]}), which is never run here; where you trust "
            "the file, load it in torch and save network.state_dict(), or convert it to safetensors"
        )
    return "expected a torch checkpoint, got a damaged file or another kind of pickle; save network.state_dict() again"


def _unwrapped(content: Any, depth: int = 4) -> dict[str, Tensor]:
    """The dict of tensors inside the wrappers; empty where there is none."""
    if not isinstance(content, Mapping):
        return {}
    for key in _WRAPPERS if depth else ():
        if inner := _unwrapped(content.get(key), depth - 1):
            return inner
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def _matched(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: str | Path
) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors under the network's own names, and the names that mean nothing to it."""
    pretraining = any(_PRETRAINING.match(short) for name in found for short in _shortened(name))
    matched: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    unexpected: list[str] = []
    dropped: list[str] = []
    for name, tensor in found.items():
        if pretraining and re.search(r"(^|\.)encoder(_q)?\.(model\.)?fc\.", name):
            dropped.append(name)
        elif (own := _own_name(name, expected)) is None:
            (dropped if any(_UNUSED.match(short) for short in _shortened(name)) else unexpected).append(name)
        elif own in matched:
            raise ModelError(f"{path}: expected each weight once, got both {origin[own]} and {name} for {own}")
        else:
            matched[own], origin[own] = tensor, name
    if dropped:
        _log.info("%s: left out %s", path, _some(dropped))
    return matched, unexpected


def _shortened(name: str) -> Iterable[str]:
    """The name, then without its first prefix, without its first two, and so on.

    >>> list(_shortened("module.encoder.conv1.weight"))
    ['module.encoder.conv1.weight', 'encoder.conv1.weight', 'conv1.weight']
    """
    yield name
    while prefix := next((each for each in _PREFIXES if name.startswith(each)), None):
        name = name.removeprefix(prefix)
        yield name


def _own_name(name: str, expected: Mapping[str, Tensor]) -> str | None:
    for short in _shortened(name):
        if short in expected:
            return short
        renamed = short
        for pattern, replacement in _RENAMED:
            renamed = pattern.sub(replacement, renamed)
        if renamed in expected:
            return renamed
    return None


def _check(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], unexpected: Sequence[str], where: str) -> None:
    missing = [key for key in expected if key not in given and not key.endswith("num_batches_tracked")]
    if missing or unexpected:
        parts = [f"{len(keys)} {what} ({_some(keys)})" for keys, what in _named(missing, unexpected) if keys]
        raise ModelError(f"{where}, got {' and '.join(parts)}; {_advice(missing, expected)}")
    wrong = [key for key in expected if key in given and given[key].shape != expected[key].shape]
    if wrong:
        raise ModelError(f"{where}{_wrong_shapes(wrong, given, expected)}")
    bad = [key for key, tensor in given.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise ModelError(f"{where}, finite; got NaN or Inf in {_some(bad)}")


def _named(missing: Sequence[str], unexpected: Sequence[str]) -> tuple[tuple[Sequence[str], str], ...]:
    return (missing, f"missing key{_s(missing)}"), (unexpected, f"unexpected key{_s(unexpected)}")


def _s(items: Sequence[str]) -> str:
    return "" if len(items) == 1 else "s"


def _advice(missing: Sequence[str], expected: Mapping[str, Tensor]) -> str:
    if missing and set(missing) == _classifier(expected):
        return "this is a backbone without its classifier: give the file of the head as a second --weights"
    return "check the architecture"


def _classifier(expected: Mapping[str, Tensor]) -> set[str]:
    """Names of the last layer's weight and bias."""
    last = list(expected)[-1].rpartition(".")[0]
    return {key for key in expected if key.rpartition(".")[0] == last}


def _wrong_shapes(wrong: Sequence[str], given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    first = wrong[0]
    got, want = tuple(given[first].shape), tuple(expected[first].shape)
    if set(wrong) <= _classifier(expected) and got and got[1:] == want[1:]:
        return f" with {want[0]} classes, got {got[0]} ({first} {got}); add --classes {got[0]}"
    others = f", and {len(wrong) - 1} others" if len(wrong) > 1 else ""
    return f" with {first} {want}, got {got}{others}; check the architecture"


def _some(names: Iterable[str]) -> str:
    """The first few names.

    >>> _some("abcdef")
    'a, b, c, d, …'
    """
    listed = list(names)
    return ", ".join([*listed[:_SHOWN], *(["…"] if len(listed) > _SHOWN else [])])
