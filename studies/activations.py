"""The activations of a study's variants: what decides their numbers, where they are kept, and how they are measured."""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ftonnx.campaign.provenance import versions
from ftonnx.errors import FtonnxError, Interrupted, message_of
from ftonnx.files import read_document, write_file
from ftonnx.inject import load_model
from ftonnx.mitigate import measure_activations
from ftonnx.report import Activations
from ftonnx.studies.kept import KeptFiles
from ftonnx.studies.model_files import ModelFile, model_file_of
from ftonnx.studies.study import Cell, Study
from ftonnx.studies.workshop import Workshop, key_of
from ftonnx.words import json_values, parsed_json

__all__ = ["CellActivations", "MeasuredCells", "measured_cells"]

_logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CellActivations:
    """The activations of a cell.

    Attributes:
        cell: the cell.
        file: the model file that is measured.
    """

    cell: Cell
    file: ModelFile

    @classmethod
    def of(cls, cell: Cell, study: Study) -> "CellActivations":
        """Return a cell's activations."""
        return cls(cell, model_file_of(cell, study))

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """The model file behind those that it is made from."""
        return self.file.chain

    def about(self, shop: Workshop) -> dict[str, Any]:
        """Return what decides the numbers, as JSON values.

        Raises:
            FtonnxError: model or data cannot be read.
        """
        study = shop.study
        table = study.activations
        assert table is not None  # it has the cell
        campaign = study.campaign.to_dict()
        return {
            "model": self.file.key(shop),
            "data": shop.fingerprint(self.cell.data, "activations"),
            "rates": list(dict.fromkeys((0.0, *table.rates))),
            "batch_size": table.batch_size,
            "seed": study.seed,
            "bits": {name: campaign[name] for name in ("format", "roles", "include", "exclude", "bits")},
            "versions": versions(),
        }

    def path(self, shop: Workshop) -> Path:
        """Return the file; other numbers have another name, so that none are ever lost."""
        cell = self.cell
        name = f"{cell.data}.{key_of(self.about(shop))[:8]}.json"
        return shop.folder / "activations" / cell.model / cell.protect / cell.quantize / name

    def found(self, shop: Workshop) -> Activations | None:
        """Return what was measured; None where it is not there, or not whole.

        Raises:
            FtonnxError: model or data cannot be read.
        """
        path = self.path(shop)
        key = key_of(self.about(shop))
        try:
            content = parsed_json(read_document(path))
            if content["key"] != key or content["sha256"] != _digest(content):
                return None
            return Activations.of(content)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def measured(self, kept: KeptFiles) -> Activations:
        """Measure, and keep it in the form of ``ftonnx activations --json``.

        Raises:
            FtonnxError: the model cannot be made, or has no activations that are known.
        """
        shop = kept.shop
        table = shop.study.activations
        assert table is not None  # it has the cell
        model = load_model(kept.made(self.file), name=self.cell.label)
        shop.begin(self.cell.name)
        images = shop.images(self.cell.data, "activations", model)
        statistics = measure_activations(
            model,
            images,
            rates=table.rates,
            batch_size=table.batch_size,
            seed=shop.study.seed,
            space=shop.study.campaign.fault_space(model),
            progress=shop.check_stop,
        )
        content = json_values(statistics.to_dict())
        content |= {"about": self.about(shop), "key": key_of(self.about(shop)), "sha256": _digest(content)}
        path = self.path(shop)
        shop.make_folder(path.parent)
        write_file(json.dumps(content, indent=1, allow_nan=False).encode(), path)
        return Activations.of(content)


@dataclass(frozen=True, slots=True)
class MeasuredCells:
    """The activations of several cells.

    Attributes:
        found: those that are there, by cell.
        reasons: why others could not be measured, by cell.
    """

    found: dict[Cell, Activations]
    reasons: dict[Cell, str]


def measured_cells(kept: KeptFiles, wanted: Sequence[Cell], begin: Callable[[Cell], None]) -> MeasuredCells:
    """Measure the activations of some cells where that was not done, and look for those of the others.

    Args:
        kept: model files.
        wanted: cells of the study.
        begin: called before a cell is measured.

    Raises:
        Interrupted: SIGINT or SIGTERM came.
    """
    shop = kept.shop
    result = MeasuredCells({}, {})
    for cell in shop.study.activation_cells:
        asked = CellActivations.of(cell, shop.study)
        try:
            found = asked.found(shop)
            if found is None and cell in wanted:
                begin(cell)
                found = asked.measured(kept)
        except Interrupted:
            raise
        except FtonnxError as error:
            if cell in wanted:
                result.reasons[cell] = message_of(error)
            else:
                # nobody asked for it
                _logger.info("%s is left out of the figures: %s", cell.name, message_of(error))
            continue
        if found is not None:
            result.found[cell] = found
    return result


def _digest(content: Any) -> str:
    """Return the digest of what was measured."""
    text = json.dumps(content["activations"])
    return hashlib.sha256(text.encode()).hexdigest()
