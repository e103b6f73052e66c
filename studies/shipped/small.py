"""A preset in small: few images, repeats and iterations; and the embedded model and data where nothing was brought."""

import copy
from typing import Any, Final

from ftonnx.studies.schema import checkpoints_of

__all__ = ["reduced", "rehearsed"]

_IMAGES: Final = 96
"""Of which the embedded model has one wrong: an accuracy of 1 has no log-odds."""
_TUNING: Final = 32
_TRAINING: Final = 64
_EMBEDDED: Final = "digits"


def reduced(values: dict[str, Any]) -> dict[str, Any]:
    """Return a study's tables with little to do, to see whether all of it runs."""
    found = copy.deepcopy(values)
    found["study"] |= {"repeats": 2, "limit": _IMAGES}
    for entry in found["data"].values():
        for purpose, most in (("tuning", _TUNING), ("training", _TRAINING)):
            named = entry.get(purpose, {"spec": entry["spec"]})
            entry[purpose] = named | {"limit": min(most, named.get("limit", most))}
    found["campaign"] = {"batch_size": _IMAGES // 2, "images_per_pattern": _IMAGES // 2}
    found["protection"] = {"iterations": 1, "rates": [1e-6, 1e-5], "repeats": 1}
    found["qat"] = {"epochs": 1, "batch_size": 16, "calibration_images": 16}
    if "activations" in found:
        found["activations"] |= {"images": _TUNING}
    return found


def rehearsed(values: dict[str, Any]) -> dict[str, Any]:
    """Return a study's tables with the embedded model and data in the place of all others, under their names."""
    found = reduced(values)
    found["models"] = {
        model: _EMBEDDED for name, table in found["models"].items() for model in checkpoints_of(name, table["weights"])
    }
    found["data"] = {name: _stand_in(entry) for name, entry in found["data"].items()}
    found["study"].pop("task", None)
    found["study"]["note"] = (
        "A rehearsal: the embedded model and data stand in for all others, so none of its numbers speaks of the paper"
    )
    return found


def _stand_in(entry: dict[str, Any]) -> dict[str, Any]:
    tuning, training = entry["tuning"]["limit"], entry["training"]["limit"]
    return {
        "spec": _EMBEDDED,
        "tuning": {"spec": _EMBEDDED, "split": "val", "limit": tuning},
        "training": {"spec": _EMBEDDED, "split": "train", "limit": training},
    }
