"""Running a user's own ``PATH/file.py:name``: the only place in ftonnx where user code runs.

The file is executed with the rights of whoever runs ftonnx: name only files that you trust. Nothing else runs
code from data or models: archives are read without pickle, configuration is TOML or JSON.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from ftonnx.errors import FtonnxError, Interrupted, UsageError, describe
from ftonnx.words import near

__all__ = ["UserFunction"]

_PREFIX: Final = "_ftonnx_"


class UserFunction:
    """A function in a user's Python file.

    Args:
        path: The file, which is executed here.
        name: The function's name.
        role: What the function is, such as ``loader``.
        expected: What it should give, such as ``batches``.
        error: What is raised for a missing file or failing code.

    Raises:
        UsageError: The file has no such function.
        FtonnxError: ``error``: the file is missing, or its code fails.
    """

    def __init__(self, path: Path, name: str, *, role: str, expected: str, error: type[FtonnxError]) -> None:
        self.where = f"{path}:{name}"
        self._folder = str(path.parent.resolve())
        self._expected = expected
        self._error = error
        if not os.path.isfile(path):
            raise error(f"{path}: expected a Python file with a {role}, got nothing there; check the path")
        module = _new_module(path, role)
        with self.running():
            exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
        self.function: Callable[..., Any] = _found(module, name, path)

    @staticmethod
    def file_of(kind: type) -> Path | None:
        """Return the user's file that a class was defined in; None for a class of a module that can be imported."""
        if not kind.__module__.startswith(_PREFIX):
            return None
        return Path(str(sys.modules[kind.__module__].__file__)).absolute()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Turn what user code raises in the block, a call of exit included, into the error.

        Modules beside the file can be imported, as when Python runs the file itself.
        """
        before = list(sys.path)
        sys.path.insert(0, self._folder)
        try:
            yield
        except (Interrupted, KeyboardInterrupt):
            raise
        except BaseException as caught:
            message = f"{self.where}: expected {self._expected}, but the code raised {describe(caught)}"
            raise self._error(message) from caught
        finally:
            sys.path[:] = before


def _new_module(path: Path, role: str) -> ModuleType:
    """Return an empty module under a private name, known to Python; no byte code is written beside the file."""
    digest = sha256(os.path.abspath(path).encode()).hexdigest()
    module = ModuleType(f"{_PREFIX}{role}_{digest[:16]}")
    module.__file__ = str(path)
    # dataclasses and pickle look it up
    sys.modules[module.__name__] = module
    return module


def _found(module: ModuleType, name: str, path: Path) -> Callable[..., Any]:
    found: Any = getattr(module, name, None)
    if callable(found):
        function: Callable[..., Any] = found
        return function
    got = "nothing of that name" if found is None else type(found).__name__
    meant = near(name, _own_functions(module))
    raise UsageError(f"{path}: expected a function {name}(), got {got}{meant}")


def _own_functions(module: ModuleType) -> list[str]:
    public = [name for name in vars(module) if not name.startswith("_")]
    return [name for name in public if callable(getattr(module, name))]
