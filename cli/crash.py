"""What is left of an exception that nobody foresaw: one line for the user, and a file to report."""

import os
import platform
import shlex
import sys
import tempfile
import traceback
from collections.abc import Sequence
from importlib import metadata

from ftonnx.errors import describe

__all__ = ["write_report"]

_LIBRARIES = ("ftonnx", "onnxruntime", "onnx", "numpy", "typer")


def write_report(error: BaseException, arguments: Sequence[str]) -> str:
    """Write down what happened, and return what to say about it: one line, or all where no file can be written."""
    report = _report(error, arguments)
    head = f"something unforeseen happened: {describe(error)}"
    try:
        path = _written(report)
    except OSError as reason:
        unwritten = f"the traceback could not be written to a file ({describe(reason)})"
        return f"{head}; {unwritten}; please report it:\n{report.rstrip()}"
    return f"{head}; the traceback is in {path}; please report it"


def _report(error: BaseException, arguments: Sequence[str]) -> str:
    lines = [
        f"ftonnx {shlex.join(arguments)}",
        f"Python {platform.python_version()}, {platform.platform()}",
        *(f"{name} {_version(name)}" for name in _LIBRARIES),
        "",
        *(line.rstrip("\n") for line in traceback.format_exception(error)),
    ]
    return "\n".join(lines) + "\n"


def _written(report: str) -> str:
    """Write a file of its own into the folder for temporary files, or the current one, and return its path.

    Raises:
        OSError: no folder takes it.
    """
    descriptor, path = tempfile.mkstemp(prefix="ftonnx-error-", suffix=".log")
    try:
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(report)
    except OSError:
        os.unlink(path)
        raise
    return path


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"is not installed for {sys.executable}"
