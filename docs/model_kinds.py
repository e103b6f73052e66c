"""The tables of docs/models.md: which kinds of models run how with faults, and can be protected and quantized.

    python docs/model_kinds.py

Makes a small model of every kind, opens it with each strategy, and writes the tables between the marks of the page.
ftonnx proves at every opening that flips arrive. Here every strategy that runs is compared once more, with plain
ONNX Runtime on a file in whose bytes numpy flipped the same bits; where the two differ, the script fails.
"""

import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto
from small_models import GROUPS, Kind

import ftonnx
from ftonnx.errors import DataError, FtonnxError, ModelError
from ftonnx.inject import FixedPoint, Format, OnnxModel
from ftonnx.quant import QuantSettings

PAGE: Final = Path(__file__).parent / "models.md"
START: Final = "<!-- written by docs/model_kinds.py: from here -->\n"
END: Final = "<!-- to here -->\n"
_NAMED: Final = re.compile(r"'[^']*'(?: and \d+ more)?")
_HEAD: Final = "| kind | stored as | `live` | `rebuild` | `protect` | `quantize` |\n|---|---|---|---|---|---|\n"
_YES: Final = "yes"
_TOLERANCE: Final = 1e-3  # of the largest output: a plain session may sum in another order
_LOG_ERRORS: Final = 3


class Notes:
    """Reasons, numbered in the order in which they come up."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def cell(self, word: str, reason: str) -> str:
        """Return a word with the number of its reason."""
        number = self._numbers.setdefault(reason, len(self._numbers) + 1)
        return f"{word} ({number})"

    def lines(self) -> Iterator[str]:
        """Return the reasons as a numbered list."""
        for reason, number in self._numbers.items():
            yield f"{number}. {reason}"


def page() -> str:
    """Return the page with tables made anew."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(START)
    _, after = rest.split(END)
    return f"{before}{START}\n{tables()}\n{END}{after}"


def tables() -> str:
    """Return a table for every group of kinds, and the reasons below them."""
    notes = Notes()
    parts = []
    with quiet(), tempfile.TemporaryDirectory() as folder:
        for title, kinds in GROUPS.items():
            lines = [line(kind, Path(folder), notes) for kind in kinds]
            parts.append(f"### {title}\n\n{_HEAD}" + "\n".join(lines))
    reasons = "\n".join(notes.lines())
    return "\n\n".join([*parts, f"### Reasons\n\n{reasons}"]) + "\n"


def line(kind: Kind, folder: Path, notes: Notes) -> str:
    """Return a kind's row of a table."""
    made = kind.make(folder)
    try:
        model = ftonnx.load_model(made, name="the model")
    except ModelError as error:
        reason = str(error).removeprefix(f"{made}: ")
        cells = ["", notes.cell("refused", reason), "", "", ""]
        return row(kind, cells)
    cells = [
        stored_as(model),
        run_cell(kind, model, "live", notes),
        run_cell(kind, model, "rebuild", notes),
        edit_cell(lambda: protected(kind, model), notes),
        edit_cell(lambda: quantized(kind, model), notes),
    ]
    return row(kind, cells)


def row(kind: Kind, cells: Sequence[str]) -> str:
    """Return cells behind a kind's name; an empty one has nothing to say."""
    shown = [cell or "-" for cell in cells]
    return f"| {kind.name} | {' | '.join(shown)} |"


def stored_as(model: OnnxModel) -> str:
    """Return the types of what can flip."""
    try:
        space = ftonnx.FaultSpace.of(model)
    except ModelError:
        return ""
    types = {target.format.dtype.name: None for target in space.targets}
    return ", ".join(types)


def run_cell(kind: Kind, model: OnnxModel, strategy: str, notes: Notes) -> str:
    """Say how a strategy runs a model: ``from file`` where it is the last resort that does."""
    try:
        session = ftonnx.FaultySession(model, strategy=strategy, sample=kind.data, extra=kind.constants, threads=1)
    except (ModelError, DataError) as error:
        return notes.cell("refused", str(error))
    check(kind, model, session)
    if session.fallback is None:
        return _YES
    reason = session.fallback.partition("; ")[0].partition(" is not possible: ")[2]
    # which of them does not matter
    reason = _NAMED.sub("a tensor", reason)
    word = "no" if strategy == "live" else "from file"
    return notes.cell(word, reason)


def edit_cell(edit: Callable[[], object], notes: Notes) -> str:
    """Say whether an edit is possible."""
    try:
        edit()
    except FtonnxError as error:
        return notes.cell("no", str(error))
    return _YES


def protected(kind: Kind, model: OnnxModel) -> None:
    """Clip activations by ActMax on the kind's data."""
    labels = np.zeros(2, np.int64)
    ftonnx.protect(model, [(kind.data, labels)], "actmax")


def quantized(kind: Kind, model: OnnxModel) -> None:
    """Quantize, calibrated on the kind's data, by the fastest method."""
    ftonnx.quantize(model, [kind.data], QuantSettings(calibration="minmax"))


# ------------------------------------------------------------------ plain ONNX Runtime on a file flipped by numpy


def check(kind: Kind, model: OnnxModel, session: ftonnx.FaultySession) -> None:
    """Run one flip in every target, and compare with a plain session on a file with the same flips.

    Raises:
        RuntimeError: they differ, or nothing changed.
    """
    space = ftonnx.FaultSpace.of(model)
    elements = []
    bits = []
    flipped = onnx.ModelProto()
    flipped.CopyFrom(model.proto)
    tensors = stored_tensors(flipped)
    for target in space.targets:
        element = target.elements // 3
        bit = telling_bit(target.format)
        flip(tensors[target.tensor], target.format, element, bit)
        elements.append(element)
        bits.append(bit)
    numbered = range(len(bits))
    faults = ftonnx.Faults(numbered, elements, bits)
    feeds = session.feeds(kind.data)
    golden = numbers(session.golden(kind.data))
    outputs = numbers(session.run(kind.data, faults))
    expected = numbers(plain_outputs(flipped, feeds))
    if not is_near(outputs, expected):
        raise RuntimeError(f"{kind.name}: {session.strategy} gives {outputs}, a plain session {expected}")
    if is_near(outputs, golden):
        raise RuntimeError(f"{kind.name}: the flips change nothing, which proves nothing")


def telling_bit(form: Format) -> int:
    """Return a bit that changes a value so that the outputs show it, and stay finite."""
    if isinstance(form, FixedPoint):
        # a difference of 1.0
        return form.fractional
    return min(form.bits - 2, 12)


def flip(tensor: TensorProto, form: Format, element: int, bit: int) -> None:
    """Flip, in place, one bit of a stored element."""
    array = onnx.numpy_helper.to_array(tensor)
    if isinstance(form, FixedPoint):
        flipped = flipped_fixed(array, form.fractional, element, bit)
        content = flipped.tobytes()
    else:
        # packed elements are so in this memory too, the even one in the low half of its byte
        memory = tensor.raw_data or array.tobytes()
        content = flipped_memory(memory, element * form.bits + bit)
    for field, _ in tensor.ListFields():
        if field.name.endswith("_data"):
            tensor.ClearField(field.name)
    tensor.raw_data = content


def flipped_fixed(array: NDArray[Any], fractional: int, element: int, bit: int) -> NDArray[Any]:
    """Return an array with one bit of an element flipped, which is seen as a number of 1 / 2^fractional."""
    values = array.astype(np.float64).ravel()
    steps = round(values[element] * 2**fractional)
    values[element] = (steps ^ 1 << bit) / 2**fractional
    return values.astype(array.dtype)


def flipped_memory(memory: bytes, position: int) -> bytes:
    """Return memory with one bit flipped."""
    changed = bytearray(memory)
    changed[position // 8] ^= 1 << (position % 8)
    return bytes(changed)


def stored_tensors(model: onnx.ModelProto) -> dict[str, TensorProto]:
    """Return every stored tensor by name, those of Constant nodes, subgraphs and functions too."""
    found: dict[str, TensorProto] = {}
    waiting: list[Any] = [model.graph, *model.functions]
    while waiting:
        body = waiting.pop()
        if isinstance(body, onnx.GraphProto):
            found.update((tensor.name, tensor) for tensor in body.initializer)
        for node in body.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    waiting.append(attribute.g)
                if node.op_type == "Constant":
                    found[node.output[0]] = attribute.t
    return found


def plain_outputs(model: onnx.ModelProto, feeds: Mapping[str, NDArray[Any]]) -> list[Any]:
    """Run a fresh session with default options."""
    options = ort.SessionOptions()
    options.log_severity_level = _LOG_ERRORS
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs: list[Any] = session.run(None, dict(feeds))
    return outputs


def numbers(outputs: list[Any]) -> NDArray[np.float64]:
    """Return all numbers of all outputs, those in maps too."""
    parts = []
    for output in outputs:
        values = output
        if isinstance(output, list):
            values = [list(each.values()) for each in output]
        parts.append(np.asarray(values, np.float64).ravel())
    return np.concatenate(parts)


def is_near(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Say whether all numbers are the same but for rounding."""
    largest = np.abs(other).max()
    return bool(np.allclose(one, other, rtol=0, atol=_TOLERANCE * largest))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the blueprints of small models out of the user's cache, and what is the table's own from the screen."""
    before = os.environ.get("FTONNX_CACHE")
    os.environ["FTONNX_CACHE"] = "off"
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        if before is None:
            del os.environ["FTONNX_CACHE"]
        else:
            os.environ["FTONNX_CACHE"] = before


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
