"""Helpers for the tests of studies: a small one, as Python's values and as a file."""

import copy
import json
from pathlib import Path

import numpy as np
from campaign_kit import contents

from ftonnx.studies import Study, run

SMALL = {
    "study": {"name": "small", "seed": 3, "repeats": 2, "limit": 20},
    "models": {"net": "digits"},
    "data": {
        "digits": {
            "spec": "digits",
            "tuning": {"spec": "digits", "split": "val", "limit": 30},
            "training": {"spec": "digits", "split": "train", "limit": 40},
        }
    },
    "faults": {"rates": {"rate": [1e-5, 1e-4]}},
    "matrix": {"protect": ["none", "actmax"], "quantize": ["none", "ptq"]},
    "campaign": {"strategy": "live", "threads": 1, "images_per_pattern": 10},
}
"""Four cells of 2 rates, 2 batches and 2 repeats: 8 units each."""


def changed(**tables):
    """Return the small study with keys of its tables changed; a table of names is replaced."""
    values = copy.deepcopy(SMALL)
    for table, keys in tables.items():
        if table in ("models", "data", "faults", "exclude"):
            values[table] = keys
        else:
            values.setdefault(table, {}).update(keys)
    return values


def study(**tables):
    """Return the small study, changed."""
    return Study.from_dict(changed(**tables))


def write(path, values):
    """Write a study's file."""
    lines = [f"{json.dumps(key)} = {_toml(value)}" for key, value in values.items()]
    Path(path).write_text("\n".join(lines))
    return path


def _toml(value):
    """Return a value in TOML, with tables on one line; its other values are JSON's."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def ran(folder, **tables):
    """Run the small study, changed, and return its result."""
    return run(study(**tables), folder)


def files(folder, ending=""):
    """Return the bytes of the files in a study's folder by name, without those that readers of databases make."""
    passing = ("-shm", "-wal")
    found = contents(folder)
    return {name: found[name] for name in found if name.endswith(ending) and not name.endswith(passing)}


def means(result):
    """Return {cell: accuracies at the rates}."""
    return {cell.name: [rate.top1.mean for rate in found.rates] for cell, found in result.results.items()}


def write_arrays(path, images=12):
    """Write small images of digits with labels, as an archive."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 17, (images, 1, 8, 8), dtype=np.uint8)
    np.savez(path, images=pixels, labels=np.arange(images) % 10)
    return path
