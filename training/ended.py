"""Which checkpoints a training starts from, and which fine-tuning one is the end of, so that nobody does it twice."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ftonnx.datasets import Dataset
from ftonnx.errors import ModelError
from ftonnx.files import digest_of, reason_unread
from ftonnx.models import read_metadata
from ftonnx.models.checkpoint_about import FINISHED
from ftonnx.training.records import LOG_ENDING, TrainingLog
from ftonnx.training.settings import TrainingSettings
from ftonnx.training.state import StateFile
from ftonnx.training.supervised import SupervisedTraining

__all__ = ["digests_of", "ended_log", "ended_mark", "files_of", "identity_of"]


def files_of(weights: str | Path | Sequence[str | Path] | None) -> list[Path]:
    """Return the files of a checkpoint: none, one, or several that complete each other."""
    if isinstance(weights, str | Path):
        return [Path(weights)]
    return [Path(file) for file in weights or ()]


def digests_of(weights: Sequence[Path]) -> list[str]:
    """Return a digest of each file of a checkpoint.

    Raises:
        ModelError: one cannot be read.
    """
    found = []
    for path in weights:
        try:
            found.append(digest_of(path).hex())
        except (OSError, ValueError) as error:
            reason = reason_unread(error, path)
            raise ModelError(f"{path}: expected a checkpoint, but it cannot be read: {reason}") from error
    return found


def identity_of(
    arch: str,
    classes: int,
    weights: Sequence[Path],
    data: Dataset,
    validation: Dataset,
    settings: TrainingSettings,
) -> dict[str, Any]:
    """Return what must be the same for a fine-tuning to go on.

    Raises:
        ModelError: a checkpoint cannot be read.
    """
    return {
        "architecture": arch,
        "classes": classes,
        "weights": digests_of(weights),
        "data": data.fingerprint,
        "validation": validation.fingerprint,
        "settings": settings.identity(),
    }


def ended_mark(training: SupervisedTraining, identity: dict[str, Any], settings: TrainingSettings) -> dict[str, str]:
    """Return what a checkpoint says of the training that ended with it; nothing where its loss was not finite."""
    return {FINISHED: _digest(identity, settings)} if training.is_over else {}


def ended_log(checkpoint: Path, identity: dict[str, Any], settings: TrainingSettings) -> TrainingLog | None:
    """Return the log of a checkpoint that is the end of this very training; None where it is not, or not there.

    Raises:
        ModelError: there is a file of another kind in its place.
    """
    log = checkpoint.with_suffix(LOG_ENDING)
    is_interrupted = StateFile(checkpoint, identity, TrainingLog).path.exists()
    if is_interrupted or not checkpoint.exists() or not log.exists():
        return None
    if read_metadata(checkpoint).get(FINISHED) != _digest(identity, settings):
        return None
    return TrainingLog.read(log)


def _digest(identity: dict[str, Any], settings: TrainingSettings) -> str:
    """Of everything that a fine-tuning's result depends on, the number of epochs too."""
    whole = json.dumps(identity | {"settings": asdict(settings)}, sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()
