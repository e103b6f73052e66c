"""What a results folder is about, and in words what two of them differ in."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ftonnx.campaign.plan.settings import Settings
from ftonnx.campaign.plan.stopping import MOST_ROUNDS
from ftonnx.campaign.store.header import DataInfo, Header, ModelInfo
from ftonnx.campaign.store.identity import Identity
from ftonnx.inject import FaultList, FaultModel, ProtectionPlan
from ftonnx.words import number

__all__ = ["Difference", "Subject", "differences"]

_SHOWN: Final = 12  # digits of a SHA-256
_WHAT_FLIPS: Final = ("format", "roles", "include", "exclude", "bits", "activations_per")
"""Settings that decide the fault space, which is not named where one of them is."""

_LISTED: Final = ("include", "exclude", "feeds", "stratum", "fault_list")
"""Settings of which every value has an option of its own, or which are the content of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a campaign is about: what decides its counts, and what model and data are called.

    Attributes:
        identity: what decides the counts.
        model: the model.
        data: the images.
    """

    identity: Identity
    model: ModelInfo
    data: DataInfo

    @classmethod
    def of(cls, header: Header) -> "Subject":
        """Return what a results folder is about."""
        return cls(identity=header.identity, model=header.model, data=header.data)


class Difference(NamedTuple):
    """One thing in which two campaigns differ.

    Attributes:
        what: the setting, or ``model``, ``data``, ``fault_space``, ``faults``, ``task``, ``versions``.
        first: what the first has, in words.
        second: what the second has.
        way_back: what to give for the first.
    """

    what: str
    first: str
    second: str
    way_back: str


def differences(first: Subject, second: Subject) -> list[Difference]:
    """Return all in which two campaigns differ, in words; the seeds that were pooled in one aside."""
    one = first.identity
    other = second.identity
    found: list[Difference] = []
    if one.model != other.model:
        found.append(_of_models(first.model, second.model))
    if one.data != other.data:
        found += _of_data(first.data, second.data)
    if one.faults.to_dict() != other.faults.to_dict():
        found += _of_faults(one.faults, other.faults)
    if one.task.to_dict() != other.task.to_dict():
        back = f"`task={one.task.text}`"
        found.append(Difference("task", f"task {one.task.text}", f"task {other.task.text}", back))
    same_bits = one.fault_space == other.fault_space
    for each in _of_settings(_settings(one.settings), _settings(other.settings)):
        # the same bits may be asked for in several ways, as by a format that is the usual one
        if not (same_bits and each.what in _WHAT_FLIPS):
            found.append(each)
    if not same_bits and not {each.what for each in found} & {"model", "protection", *_WHAT_FLIPS}:
        found.append(Difference("fault_space", "other bits that can flip", "these", "the model that ran"))
    found += _of_versions(one.versions, other.versions)
    return found


def _of_models(first: ModelInfo, second: ModelInfo) -> Difference:
    if first.path is None or first.path == second.path:
        one = f"another content of {first.path or first.name} (SHA-256 {first.sha256[:_SHOWN]})"
        return Difference("model", one, f"this one ({second.sha256[:_SHOWN]})", "the model that ran")
    return Difference("model", f"model {first.path}", f"model {second.path or second.name}", first.path)


def _of_data(first: DataInfo, second: DataInfo) -> Iterator[Difference]:
    """Yield how data sets differ by what was asked for, or else that their content does."""
    asked = _asked_of(first)
    other = _asked_of(second)
    differ = [name for name in {**asked, **other} if asked.get(name) != other.get(name)]
    if not first.source or not second.source or not differ:
        one = f"other images or labels in {first.name} ({number(first.samples)} images)"
        yield Difference("data", one, f"these ({number(second.samples)})", "the data that ran")
    else:
        for name in differ:
            yield _of_values("data", name, asked.get(name), other.get(name))


def _asked_of(data: DataInfo) -> dict[str, Any]:
    """Return what a data set was asked for, with its preprocessing, as options have it."""
    found = dict(data.source)
    return found | dict(found.pop("preprocess", {}))


def _of_faults(first: FaultModel, second: FaultModel) -> Iterator[Difference]:
    """Yield the options in which fault models of a kind differ, or say all of those of two kinds."""
    one = _options(first)
    other = _options(second)
    if type(first) is type(second):
        for name in {**one, **other}:
            if one.get(name) != other.get(name):
                yield _of_values("faults", name, one.get(name), other.get(name))
    else:
        back = ", ".join(_way_back(name, value) for name, value in one.items())
        yield Difference("faults", _all_said(one), _all_said(other), back)


def _options(faults: FaultModel) -> dict[str, Any]:
    """Return the options that ask for a fault model, written as for the command line, by name.

    >>> from ftonnx.inject import BitFlipRates, EveryBit
    >>> _options(BitFlipRates((1e-6, 1e-5))), _options(EveryBit())
    ({'rate': ['1e-06', '1e-05']}, {'exhaustive': True})
    """
    if isinstance(faults, FaultList):
        return {"fault_list": faults.sha256[:_SHOWN]}
    found: dict[str, Any] = {}
    for option, value in faults.given_options():
        if option.field is None:
            found[option.name] = True
        elif option.repeated:
            found[option.name] = [option.write(each) for each in value]
        else:
            found[option.name] = option.write(value)
    return found


def _all_said(options: Mapping[str, Any]) -> str:
    """Return options in words.

    >>> _all_said({"value_rate": ["1e-06", "1e-05"], "value": "zero"}), _all_said({"exhaustive": True})
    ('value rate 1e-06,1e-05 and value zero', 'exhaustive')
    """
    return " and ".join(name if value is True else _said(name, value) for name, value in options.items())


def _settings(settings: Settings) -> dict[str, Any]:
    """Return what is kept of settings, and what is only kept where it is not the default."""
    return settings.to_dict() | {"activations_per": settings.activations_per}


def _of_settings(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Difference]:
    for name in {**first, **second}:
        # a protection is recorded only where there is one
        value = first.get(name)
        other = second.get(name)
        if value == other:
            continue
        if name == "repeats":
            yield _of_repeats(first[name], second[name])
        elif name == "protection":
            yield _of_protections(value, other)
        else:
            yield _of_values(name, name, value, other)


def _of_repeats(first: int, second: int) -> Difference:
    if first == MOST_ROUNDS:
        one = f"{first:,} repeats at most, as a gate, `precision` and `budget` have it"
        return Difference("repeats", one, f"{second:,} repeats", "one of these")
    return Difference("repeats", f"{first:,} repeats", f"{second:,}", f"`repeats={first}`")


def _of_protections(first: Mapping[str, Any] | None, second: Mapping[str, Any] | None) -> Difference:
    way_back = "no `protection`" if first is None else "the same `protection`"
    return Difference("protection", _protection(first), _protection(second), way_back)


def _protection(plan: Mapping[str, Any] | None) -> str:
    return "no protection" if plan is None else f"protection by {ProtectionPlan.from_dict(plan).text}"


def _of_values(what: str, name: str, first: Any, second: Any) -> Difference:
    """Say how a setting differs; an empty one was not given."""
    return Difference(what, _said(name, first), _said(name, second), _way_back(name, first))


def _said(name: str, value: Any) -> str:
    """Return a setting in words."""
    words = name.replace("_", " ")
    return f"{words} {_text(value)}" if _is_given(value) else f"no {words}"


def _way_back(name: str, value: Any) -> str:
    """Return what to give for a setting."""
    if not _is_given(value):
        return f"no `{name}`"
    if name in _LISTED and len(value) > 1:
        return f"the same `{name}`"
    return f"`{name}={_text(value)}`"


def _of_versions(first: Mapping[str, str], second: Mapping[str, str]) -> Iterator[Difference]:
    for name, version in first.items():
        if version != second.get(name):
            back = f"{name} {version}"
            yield Difference("versions", back, f"{name} {second.get(name)}", back)


def _is_given(value: Any) -> bool:
    return value is not None and value != [] and value != ()


def _text(value: Any) -> str:
    """Return a setting as it is written for the command line.

    >>> _text(["weight", "bias"]), _text({"name": "sr", "value": 16000.0}), _text(8)
    ('weight,bias', 'sr=16000.0', '8')
    """
    if isinstance(value, Mapping):
        return "=".join(str(each) for each in value.values() if each is not None)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(_text, value))
    return str(value)
