"""Checkpoints from strangers: names matched, loaded strictly; needs torch.

The weights of one network come under many names: wrapped in dicts, behind prefixes of training wrappers, next to
heads that only pre-training used. ``checkpoint_files`` reads and unwraps, ``checkpoint_names`` matches names.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from ftonnx.errors import ModelError
from ftonnx.models.checkpoint_files import read_state_dict
from ftonnx.models.checkpoint_names import match_names
from ftonnx.models.classifier import classifier_names
from ftonnx.words import some_of

__all__ = ["load_checkpoint"]

_SWAV_FEATURES: Final = 8192


def load_checkpoint(module: nn.Module, *paths: str | Path, name: str | None = None, fresh_head: bool = False) -> None:
    """Put the weights of one or more files, which complete each other, into a network.

    Args:
        module: The network; unchanged when this raises.
        paths: Files for ``read_state_dict``.
        name: Of the architecture, for messages.
        fresh_head: Leave the classifier as it is, whatever the files say of it: it is to be trained, for other classes
            maybe.

    Raises:
        ModelError: A file is refused, names or shapes do not fit, or a weight is not finite.
    """
    # the network is touched only after everything was checked
    expected = module.state_dict()
    given: dict[str, Tensor] = {}
    unexpected: list[str] = []
    for path in paths:
        tensors = read_state_dict(path)
        found = match_names(tensors, expected, path)
        # of two files with the same weight, nobody knows which one is meant
        twice = given.keys() & found.tensors.keys()
        if twice:
            again = some_of(sorted(twice))
            raise ModelError(f"{path}: expected what the files before it lack, got {again} again")
        given.update(found.tensors)
        unexpected.extend(found.unexpected)
    if fresh_head:
        given |= {key: expected[key] for key in classifier_names(module)}
        given |= _later(module, given)
    files = " and ".join(map(str, paths))
    network = name or type(module).__name__
    where = f"{files}: expected the weights of {network}"
    _check(module, given, unexpected, where)
    # many files leave the counters of batches out, and inference does not use them
    state = {key: value for key, value in expected.items() if _is_counter(key)}
    state.update(given)
    module.load_state_dict(state)


def _check(module: nn.Module, given: Mapping[str, Tensor], unexpected: Sequence[str], where: str) -> None:
    expected = module.state_dict()
    # the whole list of names first, then shapes, then values: each needs what is before it
    missing = _missing(given, expected)
    if missing or unexpected:
        got = _counted(missing, unexpected)
        advice = _advice(missing, module, _later(module, given))
        raise ModelError(f"{where}, got {got}; {advice}")
    wrong = _of_another_shape(given, expected)
    if wrong:
        raise ModelError(f"{where}{_wrong_shapes(wrong, given, module)}")
    bad = _not_finite(given)
    if bad:
        raise ModelError(f"{where}, finite; got NaN or Inf in {some_of(bad)}")


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
        parts.append(f"{count} {kind} key{ending} ({some_of(keys)})")
    return " and ".join(parts)


def _advice(missing: Sequence[str], module: nn.Module, later: Mapping[str, Tensor]) -> str:
    if missing and set(missing) == set(later):
        return "this is a pre-trained backbone; give the file of the whole network, or train the rest (`fresh_head`)"
    if missing and set(missing) == classifier_names(module):
        return (
            "this is a backbone without its classifier: give the file of the head as a second one of `weights`, or "
            "train one for your classes"
        )
    return "check the architecture"


def _later(module: nn.Module, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that pre-training has none of, where all of them are missing."""
    beginnings: tuple[str, ...] = getattr(module, "trained_later", ())
    if not beginnings:
        return {}
    later = {key: tensor for key, tensor in module.state_dict().items() if key.startswith(beginnings)}
    are_there = later.keys() & given.keys()
    return later if are_there <= classifier_names(module) else {}


def _wrong_shapes(wrong: Sequence[str], given: Mapping[str, Tensor], module: nn.Module) -> str:
    first = wrong[0]
    found = given[first]
    wanted = module.state_dict()[first]
    got = tuple(found.shape)
    want = tuple(wanted.shape)
    # other classes are the usual reason, and easy to say
    only_classifier = set(wrong) <= classifier_names(module)
    same_features = len(got) > 0 and got[1:] == want[1:]
    if only_classifier and same_features:
        classes = got[0]
        return f" with {want[0]} classes, got {classes} ({first} {got}); add `classes={classes}`"
    if only_classifier and got[1:] == (_SWAV_FEATURES,):
        return (
            f" with {want}, got {got}: a head on the {_SWAV_FEATURES} features that SwAV's evaluation takes with "
            "--global_avg false; use one that was trained with --global_avg true"
        )
    others = ""
    number = len(wrong) - 1
    if number > 0:
        others = f", and {number} others"
    return f" with {first} {want}, got {got}{others}; check the architecture"
