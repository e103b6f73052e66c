"""The words that a model stores, read at the first use: some faults depend on what the bits are that they hit."""

from collections.abc import Sequence
from typing import Any

import onnx

from ftonnx.inject.formats import Words
from ftonnx.inject.model_file import OnnxModel
from ftonnx.inject.storage import stored_tensors
from ftonnx.inject.tensors import words_of

__all__ = ["StoredWords"]


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
