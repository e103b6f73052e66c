"""Real outputs held against the published schemas, by a validator that is not ours."""

import json
from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator

SCHEMAS = Path(__file__).parents[1] / "docs" / "reference" / "schemas"

FILES = {"campaign-file", "pretraining-log", "study-file", "thresholds-file", "training-log"}
"""Schemas of what no command prints."""


@cache
def validator(name):
    """Return what tells whether values fit a schema."""
    return Draft202012Validator(json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8")))


def misfits(name, values):
    """Return what in values does not fit a schema, in words."""
    return [f"{error.json_path}: {error.message[:200]}" for error in validator(name).iter_errors(values)]


def schemas_of(command):
    """Return the names of the schemas of a command's --json: one for each form that its output has."""
    names = {path.stem for path in SCHEMAS.glob("*.json")} - FILES
    return sorted(name for name in names if name == command or name.startswith(f"{command}-"))


def require_described(command, values):
    """Refuse a command's output that fits none of its schemas."""
    found = {name: misfits(name, values) for name in schemas_of(command)}
    assert any(not wrong for wrong in found.values()), f"ftonnx {command} --json: {found or 'no schema'}"
