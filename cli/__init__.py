"""The ``ftonnx`` command: parses options, calls the public API, prints.

stdout carries results only; progress, notes and errors go to stderr. Not aware of how anything is computed.
"""

from ftonnx.cli.main import app, main

__all__ = ["app", "main"]
