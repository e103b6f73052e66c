"""``PATH/file.py:function``, the user's own loader, which gives batches."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from ftonnx.datasets.base import Dataset
from ftonnx.datasets.kind import DataKind
from ftonnx.datasets.request import Request
from ftonnx.datasets.stream import StreamDataset, is_iterable
from ftonnx.errors import DataError, UsageError
from ftonnx.files import UserFunction

__all__ = ["LoaderKind", "UserBatches"]

_FORM: Final = re.compile(r"(?P<path>.+\.py):(?P<function>[^\W\d]\w*)")
_END: Final = object()


@dataclass(frozen=True, slots=True)
class LoaderKind(DataKind):
    """The iterable of batches that the user's ``function()`` returns.

    The images are fed as they come; the model's own preprocessing is not applied to them.
    """

    form: ClassVar[str] = "PATH/file.py:function"

    path: Path
    function: str

    @classmethod
    def parse(cls, spec: str) -> Self | None:
        """See ``DataKind.parse``."""
        match = _FORM.fullmatch(spec)
        if match is None:
            return None
        path = Path(match["path"])
        return cls(path, match["function"])

    @property
    def spec(self) -> str:
        """See ``DataKind.spec``."""
        path = self.path.absolute()
        return f"{path}:{self.function}"

    @property
    def has_splits(self) -> bool:
        """See ``DataKind.has_splits``; a function gives one."""
        return False

    @classmethod
    def guess(cls, argument: str) -> str | None:
        """A Python file without the name of its function."""
        if not argument.endswith(".py"):
            return None
        return f"{argument}:function"

    def open(self, request: Request) -> Dataset:
        """See ``DataKind.open``; runs the file."""
        name = f"{self.path.name}:{self.function}"
        # before any of the user's code runs
        if request.split is not None:
            raise UsageError(f"{name}: a loader has no split {request.split!r}; write one function per split")
        asked = request.preprocess.as_dict()
        if asked:
            keys = ", ".join(asked)
            raise UsageError(f"{name}: a loader preprocesses its own images; leave out {keys}")
        if request.class_names is not None:
            raise UsageError(f"{name}: a loader numbers its own classes; leave out `class_names`")
        batches = UserBatches(self.path, self.function)
        return StreamDataset(batches, name=name, limit=request.limit)


class UserBatches:
    """An iterable over what the user's function returns, with every failure of user code as a DataError.

    A function that returns an iterator (a generator function, say) is called again for every pass; any other
    object it returns is iterated again.

    Raises:
        UsageError: The file has no such function.
        DataError: The file is missing, or its code fails.
    """

    def __init__(self, path: Path, function: str) -> None:
        self._user = UserFunction(path, function, role="loader", expected="batches", error=DataError)
        self._object: Any = None

    def __iter__(self) -> Iterator[object]:
        with self._user.running():
            batches = self._batches()
        if not is_iterable(batches):
            got = type(batches).__name__
            raise DataError(f"{self._user.where}: expected an iterable of batches, got {got}; return one")
        with self._user.running():
            iterator = iter(batches)
        while True:
            # not around the yield: what the reader of the batches raises is not the user's failure
            with self._user.running():
                batch = next(iterator, _END)
            if batch is _END:
                return
            yield batch

    def _batches(self) -> Any:
        if self._object is not None:
            return self._object
        result = self._user.function()
        # an iterator is spent after one pass; anything else can be iterated again
        if not isinstance(result, Iterator):
            self._object = result
        return result
