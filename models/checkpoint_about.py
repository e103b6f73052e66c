"""What checkpoints that ftonnx trained say of their network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ftonnx.errors import ModelError, describe
from ftonnx.models.extras import require
from ftonnx.words import parsed_json

__all__ = ["CLASSES", "FINISHED", "INPUT_SHAPE", "CheckpointAbout", "read_about"]

CLASSES: Final = "ftonnx.classes"
INPUT_SHAPE: Final = "ftonnx.input_shape"
FINISHED: Final = "ftonnx.finished"
"""Key of a digest of the training that ended with this checkpoint; a model says nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointAbout:
    """What some checkpoints say of their network.

    Attributes:
        classes: Of the classifier; None where they do not say.
        input_shape: Of one input, ``(channels, height, width)``; None where they do not say.
        metadata: For the model's file.
    """

    classes: int | None
    input_shape: tuple[int, ...] | None
    metadata: dict[str, str]


def read_about(paths: Sequence[str | Path]) -> CheckpointAbout:
    """Read what checkpoints say of the network that they are of together; nothing where ftonnx did not train it.

    Raises:
        ModelError: One cannot be read, or says something of another form.
        UsageError: torch or safetensors is not installed.
    """
    said: dict[str, str] = {}
    if paths:
        require("torch")
        from ftonnx.models.checkpoint_files import read_metadata

        for path in paths:
            said |= read_metadata(path)
    said.pop(FINISHED, None)
    classes = said.pop(CLASSES, "")
    shape = said.pop(INPUT_SHAPE, "")
    try:
        return CheckpointAbout(
            classes=int(classes) if classes else None,
            input_shape=tuple(map(int, parsed_json(shape))) if shape else None,
            metadata=said,
        )
    except (ValueError, TypeError) as error:
        files = ", ".join(map(str, paths))
        raise ModelError(f"{files}: metadata of ftonnx was expected, got {describe(error)}") from error
