"""The user's own loader, ``PATH/file.py:function``: the only place in ftonnx where user code runs.

The file is executed with the rights of whoever runs ftonnx: name only files that you trust. Nothing else runs
code from data or models: archives are read without pickle, configuration is TOML or JSON.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from sys import modules
from types import ModuleType
from typing import Any

from ftonnx.datasets.base import Dataset
from ftonnx.datasets.checks import near
from ftonnx.datasets.request import Request
from ftonnx.datasets.stream import StreamDataset
from ftonnx.errors import DataError, Interrupted, UsageError, describe

__all__ = ["UserBatches", "open_loader"]

_END = object()


def open_loader(path: Path, function: str, request: Request) -> Dataset:
    """Run ``path``, call ``function()`` and take what it returns, an iterable of batches, as the data.

    The images are fed as they come; the model's own preprocessing is not applied to them.

    Raises:
        UsageError: The file has no such function, or a split or preprocessing was asked for.
        DataError: The file is missing, its code fails, or the batches are not as ``as_dataset`` wants them.
    """
    name = f"{path.name}:{function}"
    if request.split is not None:
        raise UsageError(f"{name}: a loader has no split {request.split!r}; write one function per split")
    if asked := request.preprocess.as_dict():
        raise UsageError(f"{name}: a loader preprocesses its own images; leave out {', '.join(asked)}")
    return StreamDataset(UserBatches(path, function), name=name, limit=request.limit)


class UserBatches:
    """An iterable over what the user's function returns, with every failure of user code as a DataError.

    A function that returns an iterator (a generator function, say) is called again for every pass; any other
    object it returns is iterated again.
    """

    def __init__(self, path: Path, function: str) -> None:
        self._where = f"{path}:{function}"
        self._function = _function(_module(path, self._where), function, path)
        self._object: Any = None

    def __iter__(self) -> Iterator[object]:
        with _user_code(self._where):
            batches = self._batches()
        if not any(hasattr(batches, method) for method in ("__iter__", "__getitem__")):
            raise DataError(f"{self._where}: expected an iterable of batches, got {type(batches).__name__}; return one")
        with _user_code(self._where):
            iterator = iter(batches)
        while True:
            with _user_code(self._where):
                batch = next(iterator, _END)
            if batch is _END:
                return
            yield batch

    def _batches(self) -> Any:
        if self._object is not None:
            return self._object
        result = self._function()
        if not isinstance(result, Iterator):
            self._object = result
        return result


@contextmanager
def _user_code(where: str) -> Iterator[None]:
    """Turn what user code raises, a call of exit included, into a DataError."""
    try:
        yield
    except (Interrupted, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise DataError(f"{where}: expected batches, but the code raised {describe(error)}") from error


def _module(path: Path, where: str) -> ModuleType:
    """Execute the file as a module under a private name (no byte code is written beside it)."""
    if not os.path.isfile(path):
        raise DataError(f"{path}: expected a Python file with a loader, got nothing there; check the path")
    module = ModuleType(f"_ftonnx_loader_{sha256(os.path.abspath(path).encode()).hexdigest()[:16]}")
    module.__file__ = str(path)
    modules[module.__name__] = module  # dataclasses and pickle look it up
    with _user_code(where):
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    return module


def _function(module: ModuleType, name: str, path: Path) -> Callable[[], Any]:
    found: Any = getattr(module, name, None)
    if not callable(found):
        have = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        got = "nothing of that name" if found is None else type(found).__name__
        raise UsageError(f"{path}: expected a function {name}(), got {got}{near(name, have)}")
    function: Callable[[], Any] = found
    return function
