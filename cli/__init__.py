"""The ``ftonnx`` command: parses options, calls the public API, prints.

stdout carries results only; progress, notes and errors go to stderr. Not aware of how anything is computed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ftonnx.cli.main import entry, main

if TYPE_CHECKING:
    from ftonnx.cli.application import app

__all__ = ["app", "entry", "main"]

_MODULE_OF = {"app": "application"}


def __getattr__(name: str) -> Any:
    """Load the application when it is asked for (PEP 562): what goes wrong then is for ``main`` to answer."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'ftonnx.cli' has no attribute {name!r}")
    value = getattr(import_module(f"ftonnx.cli.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
