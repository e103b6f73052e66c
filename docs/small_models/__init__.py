"""Small ONNX models of many kinds, group by group, in the order of the tables of docs/models.md."""

from collections.abc import Mapping
from typing import Final

from small_models import files, formats, inputs_outputs, layers, places, segmentation
from small_models.base import Kind

__all__ = ["GROUPS", "Kind"]

GROUPS: Final[Mapping[str, tuple[Kind, ...]]] = {
    "Number formats": formats.KINDS,
    "Where the values are stored": places.KINDS,
    "Layers": layers.KINDS,
    "Segmentation": segmentation.KINDS,
    "Inputs and outputs": inputs_outputs.KINDS,
    "Files": files.KINDS,
}
"""The kinds of every table by its title."""
