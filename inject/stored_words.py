"""The words that a model stores, read at the first use: some faults depend on what the bits are that they hit."""

from collections.abc import Sequence
from typing import Any, Final, Protocol

import onnx

from ftonnx.inject.formats import Words
from ftonnx.inject.model_file import OnnxModel
from ftonnx.inject.storage import stored_tensors
from ftonnx.inject.tensors import words_of

__all__ = ["BEHIND", "StoredWords", "WordSource", "WordsBehind"]

BEHIND: Final = 2**40
"""The first place of memory that a model does not hold; no model has so many tensors."""


class WordSource(Protocol):
    """What knows the words of stored arrays."""

    def of(self, place: int) -> Words:
        """Return the words of an array by its place; treat as read-only."""


class StoredWords:
    """The words of a model's stored tensors, each kept once it was asked for; another process reads its own."""

    def __init__(self, model: OnnxModel) -> None:
        """Take a model, of which nothing is read yet."""
        self._model = model
        self._words: dict[int, Words] = {}
        self._tensors: Sequence[onnx.TensorProto] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave out what was read."""
        return StoredWords, (self._model,)

    def of(self, place: int) -> Words:
        """Return the words of a tensor, by its place among all that the model stores; treat as read-only.

        Raises:
            ModelError: the model's file changed or vanished.
        """
        if place not in self._words:
            if self._tensors is None:
                self._tensors = [tensor for _, tensor in stored_tensors(self._model.structure)]
            self._words[place] = words_of(self._tensors[place])
        return self._words[place]


class WordsBehind:
    """The words of a model's tensors, and behind them those of memory that it does not hold."""

    def __init__(self, stored: WordSource, added: WordSource) -> None:
        """Take both; the places of what is added are counted from ``BEHIND``."""
        self._stored = stored
        self._added = added

    def of(self, place: int) -> Words:
        """Return the words of an array by its place; treat as read-only.

        Raises:
            ModelError: the model's file changed or vanished.
        """
        return self._stored.of(place) if place < BEHIND else self._added.of(place - BEHIND)
