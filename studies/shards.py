"""The share of a study that one of several machines does.

Cells whose models are made from the same images stay together, so that every search and training is done once. What
is done without images takes seconds, such as an export, and is done wherever it is needed, to the same bytes.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Final, NamedTuple

from ftonnx.campaign import Settings
from ftonnx.campaign.plan.shard import Shard
from ftonnx.errors import FtonnxError, UsageError
from ftonnx.inject import load_model
from ftonnx.studies.activations import CellActivations
from ftonnx.studies.campaigns import CellCampaign
from ftonnx.studies.model_files import GivenFile, Int8File, ModelFile, ProtectedFile, TrainedInt8File
from ftonnx.studies.study import ACTIVATIONS, Cell
from ftonnx.studies.workshop import Workshop

__all__ = ["cells_of_shard"]


_MEASURING: Final = 1.0
"""Units that measuring activations counts as."""


class _Group(NamedTuple):
    """Cells that stay together."""

    cells: tuple[Cell, ...]
    units: float


def cells_of_shard(shard: Shard | str, cells: Sequence[Cell], shop: Workshop) -> tuple[Cell, ...]:
    """Return the cells of a part, in their order; which ones depends on nothing that was made or measured.

    Parts have about equally many units. On a model that is exported nobody knows them yet, and they count as the mean
    of the others.

    Args:
        shard: the part, ``K/N``.
        cells: all that are to be done.
        shop: with the study.

    Raises:
        UsageError: there is no such part, or nothing for it to do.
    """
    part = Shard.parse(shard) if isinstance(shard, str) else shard
    campaigns = [CellCampaign.of(cell, shop, Settings()) for cell in cells if cell.faults != ACTIVATIONS]
    measured = [CellActivations.of(cell, shop.study) for cell in cells if cell.faults == ACTIVATIONS]
    units = _units_of(campaigns, shop) | {each.cell: _MEASURING for each in measured}
    groups = _groups_of([*campaigns, *measured], units)
    if part.number > len(groups):
        raise UsageError(
            f"`shard={part}` has nothing to do: the cells are {len(groups)} groups that need the same models"
        )
    chosen = _balanced(groups, part.of)[part.number - 1]
    return tuple(cell for cell in cells if cell in chosen)


def _groups_of(steps: Sequence[CellCampaign | CellActivations], units: Mapping[Cell, float]) -> list[_Group]:
    members: dict[Hashable, list[Cell]] = {}
    for step in steps:
        together = next((file for file in step.files if _takes_images(file)), None)
        members.setdefault(together or step.cell, []).append(step.cell)
    return [_Group(tuple(cells), sum(units[cell] for cell in cells)) for cells in members.values()]


def _takes_images(file: ModelFile) -> bool:
    return isinstance(file, ProtectedFile | Int8File | TrainedInt8File) and file.data is not None


def _balanced(groups: Sequence[_Group], parts: int) -> list[set[Cell]]:
    """Share groups out: the largest first, each to the part that has the least so far."""
    found: list[set[Cell]] = [set() for _ in range(parts)]
    loads = [0.0] * parts
    for group in sorted(groups, key=lambda group: -group.units):
        least = loads.index(min(loads))
        found[least] |= set(group.cells)
        loads[least] += group.units
    return found


def _units_of(campaigns: Sequence[CellCampaign], shop: Workshop) -> dict[Cell, float]:
    """Return the units of every cell, by the model that its variants are made from."""
    known: dict[Hashable, int | None] = {}
    found: dict[Cell, int | None] = {}
    for campaign in campaigns:
        cell = campaign.cell
        alike = (campaign.files[0], cell.data, cell.faults)
        if alike not in known:
            known[alike] = _units_on(campaign, shop)
        found[cell] = known[alike]
    said = [units for units in found.values() if units is not None]
    usual = sum(said) / len(said) if said else 1.0
    return {cell: usual if units is None else units for cell, units in found.items()}


def _units_on(campaign: CellCampaign, shop: Workshop) -> int | None:
    """Return the units of a cell on the model that its variants are made from; None where nobody knows."""
    first = campaign.files[0]
    if not isinstance(first, GivenFile):
        return None
    try:
        return campaign.size_on(load_model(first.path(shop)), shop).units
    except FtonnxError:
        # it is said when the cell's turn comes
        return None
