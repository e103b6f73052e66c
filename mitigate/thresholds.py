"""Thresholds as values: measured by ActMax, kept in a file, and checked against the model they are for."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets import Dataset
from ftonnx.errors import DataError, ModelError, UsageError
from ftonnx.export import Activation, with_outputs, write_file
from ftonnx.inject import OnnxModel
from ftonnx.runtime import FaultySession, fixed_batch, padded

__all__ = ["SCOPES", "Thresholds", "largest_values"]

SCOPES: Final = ("node", "channel")
_SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The thresholds of one model.

    Attributes:
        method: ``actmax`` or ``clipact``.
        scope: ``node`` (one value per activation) or ``channel`` (one per channel).
        model: SHA-256 of the unprotected model.
        values: per activation name, T: shape () or (1, channels, 1, ...).
        search: how they were found: data fingerprint, settings, every evaluated point.
    """

    method: str
    scope: str
    model: str
    values: Mapping[str, NDArray[np.float32]]
    search: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; a float32 written as its shortest decimal reads back exactly."""
        values = {name: {"shape": list(t.shape), "values": t.ravel().tolist()} for name, t in self.values.items()}
        head = {"schema_version": _SCHEMA_VERSION, "method": self.method, "scope": self.scope, "model": self.model}
        return head | {"thresholds": values, "search": dict(self.search)}

    def save(self, path: str | Path) -> None:
        """Write the file, beside first, then renamed.

        Raises:
            UsageError: it cannot be written.
        """
        write_file((json.dumps(self.to_dict(), indent=1) + "\n").encode(), Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file.

        Raises:
            DataError: it is missing or not a thresholds file.
        """
        try:
            content = json.loads(Path(path).read_text())
            if content["schema_version"] != _SCHEMA_VERSION:
                raise ValueError(f"schema version {content['schema_version']}, this ftonnx reads {_SCHEMA_VERSION}")
            values = {name: _array(entry) for name, entry in content["thresholds"].items()}
            head = {key: str(content[key]) for key in ("method", "scope", "model")}
            return cls(**head, values=values, search=dict(content["search"]))
        except OSError as error:
            raise DataError(
                f"{path}: a thresholds file was expected, but it cannot be read: {error.strerror}"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise DataError(f"{path} is not a thresholds file of ftonnx protect: {error!r}") from error

    def require_for(self, model: OnnxModel) -> None:
        """Raise ModelError when these are the thresholds of another model."""
        if model.sha256 != self.model:
            raise ModelError(
                f"the thresholds were found for the model with SHA-256 {self.model[:16]}…, "
                f"{model.name} has {model.sha256[:16]}…; run the method again for this model"
            )


def _array(entry: Mapping[str, Any]) -> NDArray[np.float32]:
    shape = tuple(entry["shape"])
    with np.errstate(over="ignore"):  # what is too large for float32 becomes Inf, which is refused
        values = np.array(entry["values"], np.float32).reshape(shape)
    if any(size != 1 for axis, size in enumerate(shape) if axis != 1) or not values.size:
        raise ValueError(f"a threshold has the shape {shape}; expected () or (1, channels, 1, ...)")
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError("a threshold is negative or not finite")
    return values


def largest_values(
    model: OnnxModel, data: Dataset, activations: Sequence[Activation], *, scope: str, batch_size: int
) -> dict[str, NDArray[np.float32]]:
    """Return the largest value that each activation takes on the data (ActMax), in bounded memory.

    Args:
        model: the unprotected model.
        data: images.
        activations: which activations.
        scope: ``node`` or ``channel``.
        batch_size: images per run.

    Raises:
        ModelError: an activation never fires, or takes NaN or Inf without any fault.
    """
    if scope not in SCOPES:
        raise UsageError(f"scope {scope!r} is not known: use {', '.join(SCOPES)}")
    data = data.completed(model.metadata)
    observed = model.with_proto(with_outputs(model.proto, [a.observed for a in activations]))
    largest: dict[str, NDArray[np.float32]] = {}
    session: FaultySession | None = None
    for images, _ in data.batches(batch_size):
        images = padded(images, fixed_batch(model.proto))
        session = session or FaultySession(observed, strategy="rebuild", sample=images)
        values = session.golden(images)[-len(activations) :]
        for activation, value in zip(activations, values, strict=True):
            top = _largest(value, scope)
            largest[activation.name] = np.maximum(largest.get(activation.name, top), top)
    for name, value in largest.items():
        if not np.isfinite(value).all():
            raise ModelError(f"activation {name!r} takes NaN or Inf on this data without any fault; repair the model")
        if not (value > 0).any():
            raise ModelError(
                f"activation {name!r} never fires on these {len(data)} images, so its threshold would be 0; "
                "give more or other data"
            )
    return {name: np.maximum(value, 0) for name, value in largest.items()}


def _largest(values: NDArray[Any], scope: str) -> NDArray[np.float32]:
    """Return the largest value, over all axes or over all but the channels'."""
    if scope == "node":
        return np.asarray(values.max(), np.float32)
    axes = tuple(axis for axis in range(values.ndim) if axis != 1)
    return np.asarray(values.max(axis=axes, keepdims=True), np.float32)
