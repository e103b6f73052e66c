"""Thresholds as values: measured by ActMax, kept in a file, and checked against the model they are for."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.inputs import fitted
from ftonnx.datasets import Dataset
from ftonnx.errors import DataError, ModelError, UsageError, describe
from ftonnx.export import ON_EXCEED, Activation, check_on_exceed, with_outputs
from ftonnx.files import read_document, reason_unread, write_file
from ftonnx.inject import OnnxModel
from ftonnx.runtime import FaultySession
from ftonnx.sessions import fixed_batch, padded
from ftonnx.words import near, parsed_json

__all__ = ["SCOPES", "Thresholds", "check_scope", "largest_values"]

SCOPES: Final = ("node", "channel", "neuron", "hybrid")
"""What has a threshold of its own: an activation, each of its channels, each of its elements (as in FitAct), or the
elements of the last activation and all others as wholes (as in ProAct)."""
Floats = NDArray[np.float32]
_SCHEMA_VERSION: Final = 1


def check_scope(scope: str) -> None:
    """Raise UsageError for what is no scope."""
    if scope not in SCOPES:
        raise UsageError(f"scope {scope!r} is not known: use {', '.join(SCOPES)}{near(str(scope), SCOPES)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The thresholds of one model.

    Attributes:
        method: ``actmax`` or ``clipact``.
        scope: one of ``SCOPES``.
        model: SHA-256 of the unprotected model.
        values: per activation name, T: shape (), (1, channels, 1, ...), or (1, ...) with the shape of an image's part.
        on_exceed: what a value above T becomes: ``zero``, or T (``clamp``).
        search: how they were found: data fingerprint, settings, every evaluated point.
    """

    method: str
    scope: str
    model: str
    values: Mapping[str, Floats]
    on_exceed: str = "zero"
    search: Mapping[str, Any] = field(default_factory=dict)

    def in_form(self, on_exceed: str) -> Self:
        """Return the same thresholds in a form: ``zero``, or ``clamp``.

        Raises:
            UsageError: the form is not known.
        """
        check_on_exceed(on_exceed)
        return replace(self, on_exceed=on_exceed)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; a float32 written as its shortest decimal reads back exactly."""
        entries = {}
        for name, threshold in self.values.items():
            entries[name] = {
                "shape": list(threshold.shape),
                "values": threshold.ravel().tolist(),
            }
        return {
            "schema_version": _SCHEMA_VERSION,
            "method": self.method,
            "scope": self.scope,
            "on_exceed": self.on_exceed,
            "model": self.model,
            "thresholds": entries,
            "search": dict(self.search),
        }

    def save(self, path: str | Path) -> None:
        """Write the file, beside first, then renamed.

        Raises:
            UsageError: it cannot be written.
        """
        text = json.dumps(self.to_dict(), indent=1)
        content = f"{text}\n"
        write_file(content.encode(), Path(path))

    def __repr__(self) -> str:
        count = len(self.values)
        return f"Thresholds({self.method}, scope {self.scope!r}, {count} activations, on exceed {self.on_exceed})"

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file.

        Raises:
            DataError: it is missing or not a thresholds file.
        """
        try:
            content = parsed_json(read_document(path))
            return cls.from_dict(content)
        except OSError as error:
            reason = reason_unread(error, Path(path))
            raise DataError(f"{path}: a thresholds file was expected, but it cannot be read: {reason}") from error
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise DataError(f"{path} is not a thresholds file of ftonnx protect: {describe(error)}") from error

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Return the thresholds of which these are the JSON values.

        Raises:
            ValueError: a value is not as ``to_dict`` writes it; missing ones are a KeyError.
        """
        version = content["schema_version"]
        if version != _SCHEMA_VERSION:
            raise ValueError(f"schema version {version}, this ftonnx reads {_SCHEMA_VERSION}")
        values = {}
        for name, entry in content["thresholds"].items():
            values[name] = _array(entry)
        return cls(
            method=str(content["method"]),
            scope=str(content["scope"]),
            # files of version 0.1 do not say
            on_exceed=_on_exceed(content.get("on_exceed", "zero")),
            model=str(content["model"]),
            values=values,
            search=dict(content["search"]),
        )

    def require_for(self, model: OnnxModel) -> None:
        """Raise ModelError when these are the thresholds of another model."""
        if model.sha256 != self.model:
            raise ModelError(
                f"the thresholds were found for the model with SHA-256 {self.model[:16]}…, "
                f"{model.name} has {model.sha256[:16]}…; run the method again for this model"
            )


def _on_exceed(value: Any) -> str:
    if value not in ON_EXCEED:
        raise ValueError(f"on_exceed is {value!r}; expected {' or '.join(ON_EXCEED)}")
    return str(value)


def _array(entry: Mapping[str, Any]) -> Floats:
    shape = tuple(entry["shape"])
    # what is too large for float32 becomes Inf, which is refused
    with np.errstate(over="ignore"):
        flat = np.array(entry["values"], np.float32)
    values = flat.reshape(shape)
    if shape[:1] not in ((), (1,)) or not values.size:
        raise ValueError(f"a threshold has the shape {shape}; expected (), or 1 for the images and then an image's")
    finite = np.isfinite(values).all()
    if not finite or (values < 0).any():
        raise ValueError("a threshold is negative or not finite")
    return values


def largest_values(
    model: OnnxModel, data: Dataset, activations: Sequence[Activation], *, scope: str, batch_size: int
) -> dict[str, Floats]:
    """Return the largest value that each activation takes on the data (ActMax), in bounded memory.

    Args:
        model: the unprotected model.
        data: images.
        activations: which activations.
        scope: one of ``SCOPES``.
        batch_size: images per run.

    Raises:
        ModelError: an activation never fires, or takes NaN or Inf without any fault.
    """
    check_scope(scope)
    data = fitted(data, model)
    observed = [activation.observed for activation in activations]
    probe = model.with_proto(with_outputs(model.proto, observed))
    fixed = fixed_batch(model.proto)
    largest: dict[str, Floats] = {}
    session: FaultySession | None = None
    for images, _ in data.batches(batch_size):
        filled = padded(images, fixed)
        if session is None:
            session = FaultySession(probe, strategy="rebuild", sample=filled)
        outputs = session.golden(filled)
        # the model's own outputs come first
        values = outputs[-len(activations) :]
        for activation, value in zip(activations, values, strict=True):
            top = _largest(value, _own_scope(scope, is_last=activation is activations[-1]))
            before = largest.get(activation.name, top)
            largest[activation.name] = np.maximum(before, top)
    for name, value in largest.items():
        _check_largest(name, value, len(data))
    # a channel that never fires gets 0, also where all its values are negative
    return {name: np.maximum(value, 0) for name, value in largest.items()}


def _check_largest(name: str, value: Floats, images: int) -> None:
    if not np.isfinite(value).all():
        raise ModelError(f"activation {name!r} takes NaN or Inf on this data without any fault; repair the model")
    if not (value > 0).any():
        raise ModelError(
            f"activation {name!r} never fires on these {images} images, so its threshold would be 0; "
            "give more or other data"
        )


def _largest(values: NDArray[Any], scope: str) -> Floats:
    """Return the largest value: over all axes, over all but the channels', or over the images."""
    if scope == "node":
        return np.asarray(values.max(), np.float32)
    axes = tuple(axis for axis in range(values.ndim) if axis == 0 or (scope == "channel" and axis != 1))
    largest = values.max(axis=axes, keepdims=True)
    return np.asarray(largest, np.float32)


def _own_scope(scope: str, *, is_last: bool) -> str:
    """Return the scope of one activation, of which the last one may have another than the rest."""
    if scope != "hybrid":
        return scope
    return "neuron" if is_last else "node"
