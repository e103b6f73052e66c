"""What a kind of data set is: specs that it knows as its own, and a way to open what they name."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from ftonnx.datasets.base import Dataset
from ftonnx.datasets.request import Request

__all__ = ["DataKind", "PathKind"]


class DataKind(ABC):
    """One kind of data set. A value of it is a spec that was understood.

    A leaf is one class in one file, and one line in ``kinds.KINDS``; ``tests/datasets/test_contract.py`` says what
    it promises.

    Attributes:
        form: How a spec looks, for messages: ``npz:PATH``.
        keyword: The word with which a spec begins, where it is always the same; a mistyped one is guessed.
        takes_splits: Whether lists can say which images belong to a split (``Request.splits``).
    """

    # so that leaves with slots have no dictionary beside them
    __slots__ = ()

    form: ClassVar[str]
    keyword: ClassVar[str | None] = None
    takes_splits: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def parse(cls, spec: str) -> Self | None:
        """The spec as a value of this kind, None where it is another's; nothing on disk is looked at."""

    @abstractmethod
    def open(self, request: Request) -> Dataset:
        """The data set that the spec names.

        Raises:
            UsageError: The request makes no sense for this kind.
            DataError: The data is missing or damaged, or does not fit the preprocessing.
        """

    @property
    @abstractmethod
    def spec(self) -> str:
        """A spec of the same data that means the same in every folder."""

    @property
    def has_splits(self) -> bool:
        """Whether one of several splits can be named."""
        return True

    @property
    def could_have_splits(self) -> bool:
        """Whether the data may lie in splits, though these may not; a single file or function is one by itself."""
        return False

    @classmethod
    def guess(cls, argument: str) -> str | None:
        """The spec of this kind that an argument of no kind probably meant, None where nothing speaks for it."""
        return None


@dataclass(frozen=True, slots=True)
class PathKind(DataKind):
    """A keyword and a path, ``keyword:PATH``; a leaf says the keyword, and opens what is there."""

    path: Path

    @classmethod
    def parse(cls, spec: str) -> Self | None:
        """See ``DataKind.parse``."""
        keyword, _, path = spec.partition(":")
        # the path is all behind the first colon: it may hold others
        if keyword != cls.keyword or not path:
            return None
        return cls(Path(path))

    @property
    def spec(self) -> str:
        """See ``DataKind.spec``."""
        path = self.path.absolute()
        return f"{self.keyword}:{path}"
