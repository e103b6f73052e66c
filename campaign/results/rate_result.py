"""The outcomes at one fault rate, or of single faults in one tensor, by the task's names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ftonnx.stats.estimate import Estimate
from ftonnx.words import nine_digits, share_digits

__all__ = ["LayerResult", "RateResult", "figure_cells", "figure_names"]


class _Fractions:
    """Fractions that are read by the task's names for them."""

    __slots__ = ()

    fractions: Mapping[str, Estimate]

    def __getitem__(self, name: str) -> Estimate:
        return self.fractions[name]

    def __getattr__(self, name: str) -> Estimate:
        """Return one of the task's fractions."""
        # copying asks a value that has no fields yet for names with underscores
        if name.startswith("_") or name == "fractions" or name not in self.fractions:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return self.fractions[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class RateResult(_Fractions):
    """The outcomes at one fault rate, or of all injections, as fractions of all images with intervals.

    A fraction is read by the task's name for it, ``rate["top1"]`` or ``rate.top1``.

    Attributes:
        rate: bit-fault rate; of injections, their flips per bit.
        units: fault patterns that were run; of injections, their number.
        faults_mean: mean number of flipped bits per pattern.
        fractions: the task's fractions, such as ``top1``, ``sdc1`` and ``due``.
        interval: ``fixed-n``, or ``anytime-valid`` where the campaign could end early.
        figures: what else the task tells, by name, such as a mean error; without intervals.
        hours: since the memory was loaded, where upsets accumulate; None elsewhere.
    """

    rate: float
    units: int
    faults_mean: float
    fractions: Mapping[str, Estimate]
    interval: str = "fixed-n"
    figures: Mapping[str, float] = field(default_factory=dict)
    hours: float | None = None

    @property
    def means(self) -> dict[str, float]:
        """The fractions without their intervals."""
        return {name: estimate.mean for name, estimate in self.fractions.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, of which nine digits are alike on all processors."""
        numbers: dict[str, Any] = {
            "rate": self.rate,
            "units": self.units,
            "faults_mean": nine_digits(self.faults_mean),
            "interval": self.interval,
        }
        told = {name: nine_digits(value) for name, value in self.figures.items()}
        figures = {"figures": told} if told else {}
        hours = {} if self.hours is None else {"hours": self.hours}
        return numbers | hours | _written(self.fractions) | figures


def figure_names(rates: Iterable[RateResult]) -> list[str]:
    """Return the names of the figures that some of the rates have, in order."""
    names: dict[str, None] = {}
    for rate in rates:
        names.update(dict.fromkeys(rate.figures))
    return list(names)


def figure_cells(rate: RateResult, names: Iterable[str]) -> list[str]:
    """Return the figures as texts; an empty one where a rate has none of that name."""
    return [f"{rate.figures[name]:.4g}" if name in rate.figures else "" for name in names]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerResult(_Fractions):
    """The outcomes of single faults in one stored tensor.

    A fraction is read by the task's name for it, ``layer["sdc1"]`` or ``layer.sdc1``.

    Attributes:
        tensor: its name.
        weight: its share of the bits that can flip.
        injections: single faults that hit it.
        fractions: those of the task that stand in short tables, with a random one of its bits flipped.
    """

    tensor: str
    weight: float
    injections: int
    fractions: Mapping[str, Estimate]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        numbers: dict[str, Any] = {
            "tensor": self.tensor,
            "weight": share_digits(self.weight),
            "injections": self.injections,
        }
        return numbers | _written(self.fractions)


def _written(fractions: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: estimate.to_dict() for name, estimate in fractions.items()}
