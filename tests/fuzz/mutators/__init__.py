"""What becomes of bytes: by what they are, judged by the name of their file, or whatever they are.

A mutator is a function of the content, the same file's contents in other inputs, and a source of randomness.
"""

from pathlib import PurePath

from fuzz.mutators.archives import change_npy, change_png, change_safetensors, change_zip
from fuzz.mutators.databases import change_database
from fuzz.mutators.documents import change_json, change_text
from fuzz.mutators.messages import change_message, change_wire
from fuzz.mutators.raw import change_bytes

BY_SUFFIX = {
    ".csv": [change_text],
    ".json": [change_json, change_json, change_text],
    ".jsonl": [change_text],
    ".npy": [change_npy],
    ".npz": [change_zip],
    ".onnx": [change_message, change_message, change_message, change_wire],
    ".png": [change_png],
    ".pth": [change_zip],
    ".safetensors": [change_safetensors],
    ".sqlite": [change_database],
    ".toml": [change_text],
    ".training": [change_zip],
    ".txt": [change_text],
}
"""Mutators that keep enough of a form to get past its first check."""

_FORMED = 0.8


def mutate(name, content, others, rng):
    """Return what becomes of the content of a file."""
    formed = BY_SUFFIX.get(PurePath(name).suffix, ())
    if formed and rng.random() < _FORMED:
        return rng.choice(formed)(content, others, rng)
    return change_bytes(content, others, rng)
