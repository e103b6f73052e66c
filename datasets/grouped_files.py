"""Image files in groups, one per class: read from disk batch by batch, in turns over the classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.base import Batch, Dataset
from ftonnx.datasets.class_names import ClassNames, read_class_names
from ftonnx.datasets.config import SideFile
from ftonnx.datasets.image_files import read_image
from ftonnx.datasets.numbering import Rules, by_name
from ftonnx.datasets.pictures import digest_of_files, is_picture
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.datasets.request import Request, Resolved
from ftonnx.datasets.stored import AnyOrderDataset, prepared
from ftonnx.errors import DataError

__all__ = ["GroupedFiles", "Groups", "open_groups", "round_robin"]

_PIXELS: Final = Preprocess(scale=1 / 255, channels="rgb")


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Image files by what names their class.

    Attributes:
        files: The files of every name; names in the order of their characters.
        rules: How names become class numbers.
        unused: Files and folders that were left out.
        warnings: What may be meant otherwise.
    """

    files: Mapping[str, Sequence[Path]]
    rules: Rules
    unused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def round_robin(groups: Sequence[Sequence[Path]]) -> tuple[list[Path], NDArray[np.int64]]:
    """The first of every group, the second of every group, and so on, with the groups' numbers.

    >>> files, members = round_robin([[Path("a1"), Path("a2")], [Path("b1")]])
    >>> [file.name for file in files], members.tolist()
    (['a1', 'b1', 'a2'], [0, 1, 0])
    """
    files = []
    members = []
    for turn in zip_longest(*groups):
        for number, file in enumerate(turn):
            if file is None:
                # this group has come to its end
                continue
            files.append(file)
            members.append(number)
    return files, np.array(members, np.int64)


class GroupedFiles(AnyOrderDataset):
    """Image files, decoded and preprocessed when they are needed; one batch is in memory at a time.

    Images are taken round robin: the first of every group, the second of every group, and so on, so that a limit
    keeps the classes as equal as they can be. Their order is that of the names, whatever numbers the classes get.
    """

    def __init__(
        self,
        groups: Groups,
        *,
        name: str,
        split: str | None,
        limit: int | None,
        resolved: Resolved,
    ) -> None:
        names = list(groups.files)
        numbered = by_name(names, resolved.class_names, groups.rules)
        files, members = round_robin(list(groups.files.values()))
        numbers = np.array(numbered.numbers, np.int64)
        labels = numbers[members]
        # the first image tells the shape, before a batch is asked for
        stored = read_image(files[0])
        first = prepared(stored, resolved.effective, str(files[0]))
        super().__init__(
            name=name,
            split=split,
            classes=numbered.classes,
            resolved=resolved,
            sample_shape=first.shape[1:],
            labels=labels[:limit],
            labelling=replace(
                numbered.labelling,
                unused=groups.unused,
                warnings=(*groups.warnings, *numbered.labelling.warnings),
            ),
        )
        self._groups = groups
        self._files = files[:limit]
        self._has_pixels = is_picture(stored)

    def unreadable(self) -> list[str]:
        """See ``Dataset.unreadable``; every file is tried."""
        found = []
        for file in self._files:
            try:
                self._image(file)
            except DataError as error:
                found.append(str(error))
        return found

    def stored(self, index: int) -> NDArray[Any]:
        """See ``Dataset.stored``."""
        return read_image(self._files[index])

    @property
    def has_pixels(self) -> bool:
        """See ``Dataset.has_pixels``; pictures hold them, bands do not."""
        return self._has_pixels

    def _preprocessed_by(self, resolved: Resolved) -> Self:
        return type(self)(
            self._groups,
            name=self.name,
            split=self.split,
            limit=len(self),
            resolved=resolved,
        )

    def _part(self, place: slice) -> Batch:
        images = []
        for file in self._files[place]:
            image = self._image(file)
            images.append(image)
        return np.concatenate(images), self._labels[place].copy()

    def _image(self, file: Path) -> NDArray[np.float32]:
        return self._fed(read_image(file), str(file))

    def _content(self) -> bytes:
        return digest_of_files(self._files)


def open_groups(
    groups: Groups,
    request: Request,
    *,
    name: str,
    side: SideFile,
    class_names: Path | None = None,
    known: ClassNames | None = None,
    default: Preprocess = _PIXELS,
) -> Dataset:
    """The data set of some groups.

    Args:
        groups: The files.
        request: What was asked for.
        name: Of the data set.
        side: What the TOML beside the data says.
        class_names: A file of class names that nobody named but that lies there.
        known: The classes of a published data set.
        default: The preprocessing of pictures where nobody says another; bands have no colours, and are fed in the
            units of their files.

    Raises:
        DataError: A name is no class, or the first image cannot be read.
    """
    names = [side.class_names, known]
    warnings = list(groups.warnings)
    is_asked = request.class_names is not None or side.class_names is not None
    if class_names is not None and not is_asked:
        try:
            names.append(read_class_names(class_names, asked=False))
        except DataError as error:
            warnings.append(f"{error}; it is left aside")
    first = next(file for files in groups.files.values() for file in files)
    if not is_picture(read_image(first)):
        default = replace(default, scale=None, channels=None)
    return GroupedFiles(
        replace(groups, warnings=tuple(warnings)),
        name=name,
        split=request.split,
        limit=request.limit,
        resolved=request.resolve(side.preprocess, default=default, class_names=names),
    )
