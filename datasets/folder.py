"""A folder with one sub-folder of image files per class, read from disk batch by batch."""

import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.base import Batch, Dataset
from ftonnx.datasets.checks import near
from ftonnx.datasets.config import read_side_file
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.datasets.request import Request, Resolved
from ftonnx.datasets.stored import StoredDataset
from ftonnx.errors import DataError, Interrupted, UsageError, describe

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["FolderDataset", "open_folder", "read_rgb", "round_robin"]

# not EPS, for which Pillow starts Ghostscript
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def open_folder(path: Path, request: Request) -> Dataset:
    """The sub-folders of ``path``, or of ``path/split``; in the order of their names they are the classes.

    Images are taken round robin: the first of every class, the second of every class, and so on, so that a
    limit keeps the classes as equal as they can be. Files are ordered by name; hidden ones and those without
    the suffix of an image are left out.
    """
    root = _root(path, request.split)
    groups = [_image_files(folder) for folder in _listing(root) if os.path.isdir(folder)]
    files, labels = round_robin(groups)
    if not files:
        raise DataError(f"{root}: expected one sub-folder of images per class, got no images{_hint(root)}")
    side = read_side_file(path / "preprocess.toml")
    return FolderDataset(
        files[: request.limit],
        labels[: request.limit],
        name=path.resolve().name,
        split=request.split,
        classes=max(side.classes or 0, len(groups)),
        resolved=request.resolve(side.preprocess, default=Preprocess(scale=1 / 255, channels="rgb")),
    )


def round_robin(groups: Sequence[Sequence[Path]]) -> tuple[list[Path], NDArray[np.int64]]:
    """The first of every group, the second of every group, and so on, with the groups' numbers.

    >>> files, labels = round_robin([[Path("a1"), Path("a2")], [Path("b1")]])
    >>> [file.name for file in files], labels.tolist()
    (['a1', 'b1', 'a2'], [0, 1, 0])
    """
    turns = zip_longest(*groups)
    pairs = [(file, label) for turn in turns for label, file in enumerate(turn) if file is not None]
    return [file for file, _ in pairs], np.array([label for _, label in pairs], np.int64)


class FolderDataset(StoredDataset):
    """Image files, decoded and preprocessed when they are needed; one batch is in memory at a time."""

    def __init__(
        self,
        files: Sequence[Path],
        labels: NDArray[np.int64],
        *,
        name: str,
        split: str | None,
        classes: int,
        resolved: Resolved,
    ) -> None:
        super().__init__(
            name=name,
            split=split,
            classes=classes,
            resolved=resolved,
            sample_shape=_prepared(files[0], resolved.effective).shape[1:],
            labels=labels,
        )
        self._files = list(files)

    def _preprocessed_by(self, resolved: Resolved) -> Self:
        return type(self)(
            self._files,
            self._labels,
            name=self.name,
            split=self.split,
            classes=self.classes,
            resolved=resolved,
        )

    def _pieces(self, size: int) -> Iterator[Batch]:
        for start in range(0, len(self), size):
            stop = start + size
            images = [self._image(file) for file in self._files[start:stop]]
            yield np.concatenate(images), self._labels[start:stop].copy()

    def _image(self, file: Path) -> NDArray[np.float32]:
        image = _prepared(file, self.preprocess)
        if image.shape[1:] != self.sample_shape:
            expected = f"{self.sample_shape} like the first image"
            raise DataError(f"{file}: expected {expected}, got {image.shape[1:]}; give resize and crop")
        return image

    def _content(self) -> bytes:
        digest = hashlib.sha256()
        for file in self._files:
            digest.update(hashlib.sha256(_bytes(file)).digest())
        return digest.digest()


def _prepared(file: Path, preprocess: Preprocess) -> NDArray[np.float32]:
    """One image ``(1, channels, height, width)`` as it is fed."""
    image = read_rgb(file)
    try:
        return preprocess.apply(image)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error


def read_rgb(file: Path) -> NDArray[np.uint8]:
    """Pixels of one file as uint8 ``(1, 3, height, width)``, the first frame where there are several.

    Gray, palette and CMYK images are converted, transparency is dropped, 16-bit gray keeps its upper 8 bits,
    and an orientation in the EXIF data is not followed (as in torchvision's ImageFolder).

    Raises:
        DataError: The file cannot be read as an image.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=_FORMATS) as image:
                return _pixels(image)
    except Interrupted:
        raise
    except Exception as error:  # a hostile image fails in many ways
        raise DataError(f"{file}: expected an image, got {describe(error)}; repair or remove it") from error


def _pixels(image: "Image.Image") -> NDArray[np.uint8]:
    if image.mode in ("I", "F"):
        raise ValueError("32-bit pixels, whose range is not defined (convert to 8 or 16 bits)")
    if image.mode.startswith("I;16"):
        gray = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(gray[None, None], 3, axis=1)
    rgb = np.asarray(image.convert("RGB"))
    return rgb.transpose(2, 0, 1)[None]


def _root(path: Path, split: str | None) -> Path:
    if not os.path.isdir(path):
        raise DataError(f"{path}: expected a folder with a sub-folder per class, got none; check the path")
    root = path if split is None else path / split
    if not os.path.isdir(root):
        have = [folder.name for folder in _listing(path) if os.path.isdir(folder)]
        raise UsageError(f"{path}: expected a sub-folder {split} for the split{near(root.name, have)}")
    return root


def _listing(folder: Path) -> list[Path]:
    """Entries that are not hidden, by name."""
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: expected a readable folder, got {describe(error)}") from error
    return [entry for entry in entries if not entry.name.startswith(".")]


def _image_files(folder: Path) -> list[Path]:
    """Image files by their suffix; a broken link is kept, so that reading reports it."""
    entries = [entry for entry in _listing(folder) if entry.suffix.lower() in _SUFFIXES]
    return [entry for entry in entries if os.path.isfile(entry) or not os.path.exists(entry)]


def _hint(root: Path) -> str:
    """What to do about a folder without images, as the end of a message."""
    folders = [folder for folder in _listing(root) if os.path.isdir(folder)]
    nested = [folder.name for folder in folders if any(os.path.isdir(entry) for entry in _listing(folder))]
    return f"; name a split ({', '.join(nested)})" if nested else f"; known files: {', '.join(_SUFFIXES)}"


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: expected a readable image, got {describe(error)}") from error
