"""Tables with an encoded image and a label in every row: parquet and Arrow files, as Hugging Face writes them.

Polars is imported when one is opened.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.base import Batch
from ftonnx.datasets.checks import checked_labels
from ftonnx.datasets.class_names import ClassNames
from ftonnx.datasets.image_files import decode_rgb
from ftonnx.datasets.labelling import Labelling
from ftonnx.datasets.request import Resolved
from ftonnx.datasets.stored import StoredDataset, prepared
from ftonnx.errors import DataError, Interrupted, describe
from ftonnx.files import read_document
from ftonnx.words import parsed_json

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ImageTable", "TableDataset", "read_table"]

_PARQUET: Final = ".parquet"
_IMAGE_COLUMNS: Final = ("image", "img")
_LABEL_COLUMNS: Final = ("label", "labels", "fine_label")
_BYTES: Final = "bytes"
_INFO: Final = "dataset_info.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTable:
    """Several files that are one table.

    Attributes:
        files: In the order of their rows.
        rows: Of each.
        image: Name of the column of images.
        labels: Of all rows, ``(rows,)`` int64.
        names: Of the classes, where the table says them.
    """

    files: tuple[Path, ...]
    rows: tuple[int, ...]
    image: str
    labels: NDArray[np.int64]
    names: ClassNames | None

    def images(self, size: int) -> Iterator[list[bytes]]:
        """The content of image files, at most ``size`` at a time; one file's at most.

        Raises:
            DataError: A file cannot be read any more, or a row has no image.
        """
        for file, rows in zip(self.files, self.rows, strict=True):
            for start in range(0, rows, size):
                with _reading(file):
                    column = _sliced(file, self.image, start, size)
                images = column.to_list()
                if None in images:
                    row = start + images.index(None)
                    raise DataError(f"{file}: expected an image in every row, got none in row {row}; embed the files")
                yield images


def read_table(files: Sequence[Path]) -> ImageTable:
    """Read what a table's files say, but for the images.

    Args:
        files: Parquet or Arrow files (streams, as ``save_to_disk`` writes them) with the same columns.

    Raises:
        DataError: One is damaged, or nobody can tell which columns hold images and labels.
    """
    labels = []
    image = ""
    for file in files:
        with _reading(file):
            frame = _lazy(file)
            schema = frame.collect_schema()
        image, label = _columns(schema, file)
        with _reading(file):
            column = frame.select(label).collect().to_series()
        if column.null_count():
            raise DataError(f"{file}: expected a label in every row, got {column.null_count()} without; remove them")
        labels.append(column.to_numpy())
    joined = np.concatenate(labels)
    first = files[0]
    return ImageTable(
        files=tuple(files),
        rows=tuple(map(len, labels)),
        image=image,
        labels=checked_labels(joined, len(joined), str(first)),
        names=_class_names(first, label),
    )


class TableDataset(StoredDataset):
    """The images of a table, decoded and preprocessed when they are needed; one batch is in memory at a time."""

    def __init__(
        self,
        table: ImageTable,
        *,
        name: str,
        split: str | None,
        limit: int | None,
        resolved: Resolved,
    ) -> None:
        """Take a table; a limit is its first rows."""
        names = _names(resolved, table)
        # of all labels, so that a limit does not change the number
        classes = int(table.labels.max()) + 1 if names is None else len(names)
        where = f"{table.files[0]}: row 0"
        stored = decode_rgb(next(table.images(1))[0], where)
        first = prepared(stored, resolved.effective, where)
        super().__init__(
            name=name,
            split=split,
            classes=classes,
            resolved=resolved,
            sample_shape=first.shape[1:],
            labels=table.labels[:limit],
            labelling=Labelling() if names is None else Labelling(names=names.shown),
        )
        self._table = table
        self._held: list[bytes] | None = None

    def stored(self, index: int) -> NDArray[Any]:
        """See ``Dataset.stored``; from the first call on, the content of all image files is held in memory."""
        if self._held is None:
            self._held = [content for contents in self._contents(1024) for content in contents]
        return decode_rgb(self._held[index], f"{self.name}: row {index}")

    @property
    def has_pixels(self) -> bool:
        """See ``Dataset.has_pixels``; image files hold them."""
        return True

    def _preprocessed_by(self, resolved: Resolved) -> Self:
        return type(self)(
            self._table,
            name=self.name,
            split=self.split,
            limit=len(self),
            resolved=resolved,
        )

    def _pieces(self, size: int) -> Iterator[Batch]:
        done = 0
        for contents in self._contents(size):
            images: list[NDArray[np.float32]] = []
            for content in contents:
                where = f"{self.name}: row {done + len(images)}"
                image = self._fed(decode_rgb(content, where), where)
                images.append(image)
            place = slice(done, done + len(images))
            done += len(images)
            yield np.concatenate(images), self._labels[place].copy()

    def _contents(self, size: int) -> Iterator[list[bytes]]:
        left = len(self)
        for contents in self._table.images(size):
            yield contents[:left]
            left -= len(contents)
            if left <= 0:
                return

    def _content(self) -> bytes:
        # over the files' own bytes: what they show is the same, and need not be decoded
        digest = hashlib.sha256()
        for contents in self._contents(1024):
            for content in contents:
                digest.update(hashlib.sha256(content).digest())
        return digest.digest()


def _names(resolved: Resolved, table: ImageTable) -> ClassNames | None:
    """The classes' names: those that somebody gave, else the table's own."""
    count = int(table.labels.max()) + 1
    for names in resolved.class_names:
        if names.asked and len(names) < count:
            raise DataError(f"{names.source}: expected names of {count} classes or more, got {len(names)}")
        if len(names) >= count:
            return names
    return None


def _lazy(file: Path) -> "pl.LazyFrame":
    import polars as pl

    if file.suffix == _PARQUET:
        return pl.scan_parquet(file)
    return pl.read_ipc_stream(file).lazy()


def _sliced(file: Path, column: str, start: int, size: int) -> "pl.Series":
    """Some rows of a column of images, as bytes."""
    import polars as pl

    frame = _lazy(file).slice(start, size).select(column).collect()
    series = frame.to_series()
    if series.dtype == pl.Struct:
        return series.struct.field(_BYTES)
    return series


def _columns(schema: "pl.Schema", file: Path) -> tuple[str, str]:
    """The names of the columns of images and labels."""
    images = [name for name, kind in schema.items() if _holds_images(kind)]
    numbers = [name for name, kind in schema.items() if kind.is_integer()]
    image = _only(images, _IMAGE_COLUMNS)
    label = _only(numbers, _LABEL_COLUMNS)
    if image is None or label is None:
        expected = "a column of images and one of whole numbers as labels"
        raise DataError(f"{file}: expected {expected}, got {', '.join(schema)}; rename them to image and label")
    return image, label


def _holds_images(kind: Any) -> bool:
    import polars as pl

    if isinstance(kind, pl.Struct):
        return any(field.name == _BYTES and field.dtype == pl.Binary for field in kind.fields)
    return bool(kind == pl.Binary)


def _only(candidates: Sequence[str], usual: Sequence[str]) -> str | None:
    """The column with a usual name, else the only one."""
    for name in usual:
        if name in candidates:
            return name
    return candidates[0] if len(candidates) == 1 else None


def _class_names(file: Path, label: str) -> ClassNames | None:
    """What ``datasets`` wrote about the classes of a column: into a parquet file, or beside an Arrow file."""
    features = _features(file)
    feature = features.get(label)
    names = feature.get("names") if isinstance(feature, dict) else None
    if not isinstance(names, list) or not names:
        return None
    return ClassNames.of(names, str(file), asked=True)


def _features(file: Path) -> Mapping[str, Any]:
    import polars as pl

    try:
        if file.suffix == _PARQUET:
            info = parsed_json(pl.read_parquet_metadata(file).get("huggingface", "{}")).get("info", {})
        else:
            info = parsed_json(read_document(file.with_name(_INFO)))
        features = info.get("features", {})
    except (OSError, ValueError, AttributeError):
        # a note about the columns that is of another form is another tool's
        return {}
    return features if isinstance(features, dict) else {}


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Turn whatever polars raises into a DataError that names the file."""
    import polars as pl

    try:
        yield
    except (Interrupted, DataError):
        raise
    except (Exception, pl.exceptions.PanicException) as error:
        # a damaged table fails in many ways, one of which is no Exception
        raise DataError(f"{file}: expected a table of images, got {describe(error)}") from error
