"""Stored elements that the optimized graph holds in a wider floating-point type.

The processor's kernels compute in float32: where a model stores float16, bfloat16 or float8, ONNX Runtime casts the
weights when the graph is optimized. Every narrow value has an exact wide one, so a flip in the file is one wide word.
"""

import functools
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from ftonnx.inject import Format
from ftonnx.inject.formats import Undo, Words
from ftonnx.inject.tensors import ELEMENT_BITS
from ftonnx.sessions import SessionOptions, open_session, run_session

__all__ = ["Widening", "widening"]

_NARROW: Final = (
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.FLOAT8E4M3FN,
    TensorProto.FLOAT8E4M3FNUZ,
    TensorProto.FLOAT8E5M2,
    TensorProto.FLOAT8E5M2FNUZ,
)
_WIDE: Final = (TensorProto.FLOAT, TensorProto.FLOAT16)
_OPSET: Final = 21  # casts all of them
_IR_VERSION: Final = 10


@dataclass(frozen=True, slots=True)
class Widening:
    """A cast of stored elements to a type that holds each of their values exactly.

    Attributes:
        narrow: the type in the file.
        wide: the type in the optimized graph.
        table: the wide word of every narrow one, as ONNX Runtime casts it.
    """

    narrow: np.dtype[Any]
    wide: np.dtype[Any]
    table: Words

    def widened(self, words: Words) -> Words:
        """Return the wide words of narrow ones."""
        wide: Words = self.table[words]
        return wide

    def narrowed(self, words: Words) -> Words:
        """Return the narrow words of wide ones that have any; see ``is_exact`` for which have (no NaN need have)."""
        values = words.view(self.wide)
        # what does not fit was not cast from here, and is no concern of the caller's
        with np.errstate(all="ignore"):
            narrow = values.astype(self.narrow)
        return narrow.view(f"u{self.narrow.itemsize}")

    def is_exact(self, words: Words) -> NDArray[np.bool_]:
        """Say which wide words are those of a narrow one that they can be turned back into."""
        exact: NDArray[np.bool_] = self.widened(self.narrowed(words)) == words
        return exact

    def flip(self, form: Format, words: Words, positions: NDArray[np.int64], masks: NDArray[np.uint64]) -> Undo:
        """Flip bits of the narrow elements whose wide words lie at ``positions``, in place."""
        previous = words[positions]
        stored = self.narrowed(previous)
        form.flip(stored, np.arange(len(stored)), masks)
        words[positions] = self.widened(stored)
        return Undo(words, positions, previous)


@functools.cache
def widening(stored: int, held: int) -> Widening | None:
    """Return the cast from one element type to another, None where it is not one to a wider floating-point type.

    Args:
        stored: number of the type in the file, such as ``TensorProto.FLOAT16``.
        held: number of the type in the optimized graph.
    """
    if stored not in _NARROW or held not in _WIDE:
        return None
    # of the 16-bit types none holds the other's values
    if ELEMENT_BITS[stored] >= ELEMENT_BITS[held]:
        return None
    wide = _cast_by_onnxruntime(stored, held)
    return Widening(
        narrow=np.dtype(helper.tensor_dtype_to_np_dtype(stored)),
        wide=wide.dtype,
        table=wide.view(f"u{wide.itemsize}"),
    )


def _cast_by_onnxruntime(stored: int, held: int) -> NDArray[Any]:
    """Return what ONNX Runtime makes of every word of a type, as it folds such a cast: this machine's NaNs too.

    Of a signalling NaN it may leave the few last in a tensor as they are, and makes the others quiet: to whatever
    computes with them, both are the same.
    """
    bits = ELEMENT_BITS[stored]
    count = 1 << bits
    words = np.arange(count, dtype=f"u{bits // 8}")
    graph = helper.make_graph(
        [helper.make_node("Cast", ["narrow"], ["wide"], to=held)],
        "cast",
        [],
        [helper.make_tensor_value_info("wide", held, [count])],
        [helper.make_tensor("narrow", stored, [count], words.tobytes(), raw=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    session = open_session(model.SerializeToString(), SessionOptions(threads=1))
    (wide,) = run_session(session, {})
    return wide
