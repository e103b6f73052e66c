"""Tables of injections, which all batches meet, as what they are estimates of."""

from dataclasses import replace

import numpy as np

from ftonnx.campaign.store.header import Header, TensorInfo
from ftonnx.campaign.store.unit_table import UnitTable, largest_table

__all__ = ["by_layer", "estimable", "flips_text"]


def estimable(table: UnitTable, header: Header) -> UnitTable:
    """Return the table of a level whose rows are independent: batches at a rate, or all images of injections at once.

    Injections that were drawn tensor by tensor have a row for each tensor, weighted by its bits.

    Args:
        table: of the level.
        header: of its campaign.
    """
    if header.faults.fresh_per_batch:
        return table
    pooled = table.pooled()
    if header.per_tensor is None:
        return pooled
    weighted, _ = by_layer(pooled, header, header.per_tensor)
    return weighted


def by_layer(table: UnitTable, header: Header, per_tensor: int) -> tuple[UnitTable, list[TensorInfo]]:
    """Return pooled injections with a row for each tensor, weighted by its bits, and the tensors.

    Where some are missing, it is the largest such table.
    """
    numbers = table.repeats // per_tensor
    is_in, each = largest_table(numbers)
    tensors = [header.space.tensors[number] for number in numbers[is_in][::each].tolist()]
    bits = np.array([tensor.bits for tensor in tensors], np.int64)
    rows = {name: column[0, is_in].reshape(-1, each) for name, column in table.counts.items()}
    weighted = {name: column * bits[:, np.newaxis] for name, column in rows.items()}
    weighted["n_faults"] = rows["n_faults"]
    golden = {name: column * bits for name, column in table.golden.items()}
    return replace(table, counts=weighted, golden=golden), tensors


def flips_text(flips: float) -> str:
    """Return how many bits flip in every run.

    >>> flips_text(1.0), flips_text(3.0)
    ('one flip', '3 flips')
    """
    return "one flip" if flips == 1 else f"{flips:,g} flips"
