"""``python -m ftonnx``."""

from ftonnx.cli import entry

entry()
