"""What a model file says of the images that it was tuned on: by which thresholds, ranges or weights were chosen.

On these it looks better than on others.
"""

import json
from collections.abc import Mapping
from typing import Final

import onnx

from ftonnx.words import parsed_json

__all__ = ["TUNED_ON", "note_tuned_on", "tuned_on_caution"]

TUNED_ON: Final = "ftonnx.tuned_on"
"""Key of the metadata entry: the fingerprints of the data sets, as a JSON list."""


def note_tuned_on(model: onnx.ModelProto, fingerprint: str) -> None:
    """Write into the metadata that a data set was used, in place.

    Args:
        model: it.
        fingerprint: of the data set, as the model takes it.
    """
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    known = _fingerprints(metadata)
    metadata[TUNED_ON] = json.dumps(sorted({*known, fingerprint}))
    onnx.helper.set_model_props(model, metadata)


def tuned_on_caution(metadata: Mapping[str, str], fingerprint: str) -> str | None:
    """Say that a model is tested on images that it was tuned on; None where it is not, as far as it says.

    >>> tuned_on_caution({TUNED_ON: '["ab"]'}, "ab")
    'thresholds, ranges or weights of this model were chosen by these very images: on others it may do worse'
    """
    if fingerprint not in _fingerprints(metadata):
        return None
    return "thresholds, ranges or weights of this model were chosen by these very images: on others it may do worse"


def _fingerprints(metadata: Mapping[str, str]) -> list[str]:
    """Return the fingerprints; none where a stranger has written something else there."""
    try:
        found = parsed_json(metadata.get(TUNED_ON, "[]"))
    except ValueError:
        return []
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
