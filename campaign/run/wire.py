"""What a Dask worker tells its client, as bytes of numbers and texts.

Results are read without pickle: what does not have the form of these numbers and texts is refused. (Dask itself
unpickles the exceptions of tasks that fail, which ours do only for want of memory.)
"""

from enum import Enum
from typing import Any, Final

import msgpack
import numpy as np

from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.run.messages import Report, Trouble
from ftonnx.campaign.store.folder import Record
from ftonnx.campaign.store.golden_run import GoldenRun
from ftonnx.errors import DataError, FtonnxError, IncompleteError, ModelError, StoreError, UsageError, message_of
from ftonnx.inject import Faults
from ftonnx.tasks import Counts

__all__ = ["Missing", "Reply", "decoded", "encoded"]

_FAULTS: Final[dict[str, np.dtype[Any]]] = {
    "target": np.dtype("<i4"),
    "element": np.dtype("<i8"),
    "bit": np.dtype("u1"),
}
_ERRORS: Final[dict[str, type[FtonnxError]]] = {
    kind.__name__: kind for kind in (DataError, IncompleteError, ModelError, StoreError, UsageError)
}


class Missing(Enum):
    """What a worker does not find under the client's path, and asks for."""

    MODEL = "model"
    IMAGES = "images"


Reply = Report | Trouble | Missing


def encoded(reply: Reply) -> bytes:
    """Return a reply as bytes."""
    match reply:
        case Report():
            golden = [[batch, dict(run.outcomes), run.digest, run.decided] for batch, run in reply.golden.items()]
            said: Any = ["report", golden, [_row(record) for record in reply.records]]
        case Trouble(error, text):
            said = ["trouble", type(error).__name__ if error else "", str(error or ""), text]
        case Missing():
            said = ["missing", reply.value]
    packed: bytes = msgpack.packb(said)
    return packed


def decoded(content: bytes) -> Reply:
    """Read what ``encoded`` returned.

    Raises:
        IncompleteError: it is something else.
    """
    try:
        kind, *said = msgpack.unpackb(content, strict_map_key=False)
        if kind == "report":
            return _report(*said)
        if kind == "trouble":
            return _trouble(*said)
        if kind == "missing":
            return Missing(*said)
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise IncompleteError(f"a worker's report was expected, got {message_of(error)}") from error
    raise IncompleteError(f"a worker's report was expected, got {kind!r}")


def _row(record: Record) -> list[Any]:
    faults = record.faults
    lists = None
    if faults is not None:
        lists = {name: getattr(faults, name).astype(dtype).tobytes() for name, dtype in _FAULTS.items()}
    return [*record.unit, dict(record.outcomes), record.n_faults, record.wall_ns, lists]


def _report(golden: list[Any], rows: list[Any]) -> Report:
    runs = {int(batch): GoldenRun(Counts(counts), digest, decided) for batch, counts, digest, decided in golden}
    records = [_record(*row) for row in rows]
    return Report(len(records), runs, records, [])


def _record(
    rate: float, repeat: int, batch: int, counts: dict[str, int], n_faults: int, wall_ns: int, lists: Any
) -> Record:
    unit = Unit(float(rate), int(repeat), int(batch))
    faults = None
    if lists is not None:
        faults = Faults.in_order(*(np.frombuffer(lists[name], dtype) for name, dtype in _FAULTS.items()))
    return Record(unit, Counts(counts), int(n_faults), int(wall_ns), faults)


def _trouble(name: str, message: str, text: str) -> Trouble:
    kind = _ERRORS.get(name)
    return Trouble(None if kind is None else kind(message), str(text))
