"""The single faults of a published list."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from ftonnx.errors import UsageError
from ftonnx.inject.fault_models.base import FaultModel
from ftonnx.inject.fault_models.options import Option
from ftonnx.inject.fault_models.published_faults import Places, PublishedFaults, refuse_folded
from ftonnx.inject.faults import Faults
from ftonnx.inject.model_file import OnnxModel
from ftonnx.inject.space import FaultSpace

__all__ = ["FaultList"]


@dataclass(frozen=True, slots=True)
class FaultList(FaultModel):
    """Given single faults of torch modules' weights, one after the other; they flip bits of IEEE floats.

    Attributes:
        faults: the list; None where only its fingerprint is known, as in a results folder.
        sha256: the list's fingerprint.
    """

    name: ClassVar[str] = "fault-list"
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            flag="--fault-list",
            field="faults",
            metavar="FILE.csv",
            type=Path,
            help="In place of rates: the single faults of a file with the columns Injection,Layer,TensorIndex,Bit "
            "(bits of IEEE floats).",
        ),
    )

    faults: PublishedFaults | None = field(compare=False)
    sha256: str = ""
    _kept: list[tuple[FaultSpace, Places]] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Take the list's fingerprint."""
        if self.faults is not None:
            object.__setattr__(self, "sha256", self.faults.sha256)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a CSV file, see ``PublishedFaults.read``.

        Raises:
            UsageError: there is no such file.
            DataError: the file is no such list; the message names the line.
        """
        return cls(PublishedFaults.read(path))

    @property
    def is_single_bit(self) -> bool:
        """It is."""
        return True

    @property
    def chances(self) -> str:
        """See ``FaultModel.chances``."""
        return "Only the bits of the published list flip, one at a time; nothing else does."

    def levels(self, space: FaultSpace) -> tuple[float, ...]:
        """Return one bit's share of N, once every fault has been found in the space."""
        self._places(space)
        return (1 / space.bits,)

    def patterns(self, space: FaultSpace) -> int:
        """Return the length of the list."""
        return len(self._known())

    def format_for(self, wanted: str) -> str:
        """Return ``ieee``, whose bits the list means."""
        if wanted not in ("auto", "ieee"):
            raise UsageError(f"a fault list flips bits of IEEE floats: format ieee was expected, got {wanted}")
        return "ieee"

    def check_model(self, model: OnnxModel) -> None:
        """Refuse a model whose weights are not those of its torch network."""
        refuse_folded(model)

    def to_dict(self) -> dict[str, Any]:
        """Return what the list is, not what stands in it."""
        return {"name": self.name, "sha256": self.sha256}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return a list of which only the fingerprint is known, so that nothing can be drawn from it."""
        return cls(None, values["sha256"])

    @classmethod
    def from_options(cls, values: Mapping[str, Any]) -> Self:
        """Read the file."""
        return cls.read(values["faults"])

    def arguments(self) -> list[str]:
        """Return the option with a stand-in for the file, whose name is not known."""
        return ["--fault-list", "FILE.csv"]

    def _pattern(self, space: FaultSpace, level: float, rng: np.random.Generator, index: int) -> Faults:
        """Return the fault with the number ``index``; nothing is random."""
        places = self._places(space)
        one = slice(index, index + 1)
        return Faults(places.target[one], places.element[one], places.bit[one])

    def _places(self, space: FaultSpace) -> Places:
        # A campaign draws from one space, so the places in the last one are kept.
        for known, places in self._kept:
            if known is space:
                return places
        found = self._known().located(space)
        self._kept[:] = [(space, found)]
        return found

    def _known(self) -> PublishedFaults:
        if self.faults is None:
            raise UsageError(
                f"of this fault list only the fingerprint is known ({self.sha256[:12]}...): "
                "read the CSV file itself to run its faults"
            )
        return self.faults
