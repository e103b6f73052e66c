"""``bcs:PATH``: Brazilian Coffee Scenes, 2,876 images of 64 x 64 pixels in five folds (Penatti et al. 2015)."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from ftonnx.datasets.listing import image_files, listing, sub_folders
from ftonnx.datasets.published.class_folders import FilesByClass, files_of_class_folders
from ftonnx.datasets.published.scenes import ScenesKind
from ftonnx.datasets.text_file import read_text
from ftonnx.errors import DataError

__all__ = ["BcsKind"]

_FOLD: Final = re.compile("fold[0-9]+")
_LIST: Final = ".txt"
_LARGEST_LIST: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class BcsKind(ScenesKind):
    """Brazilian Coffee Scenes: as published, folders ``fold1`` to ``fold5`` beside lists; else see ``ScenesKind``.

    A line of ``fold1.txt`` is the class, a dot, and the name of an image in ``fold1`` without its suffix.
    """

    form: ClassVar[str] = "bcs:PATH"
    keyword: ClassVar[str | None] = "bcs"
    title: ClassVar[str] = "Brazilian Coffee Scenes"
    labels: ClassVar[tuple[str, ...]] = ("coffee", "noncoffee")

    def _files(self, root: Path) -> FilesByClass:
        for place in (root, *sub_folders(root)):
            lists = [entry for entry in listing(place) if _is_fold_list(entry)]
            if lists:
                return self._of_folds(lists)
        return files_of_class_folders(root, self.labels)

    def _of_folds(self, lists: list[Path]) -> FilesByClass:
        found: dict[str, dict[str, Path]] = {label: {} for label in self.labels}
        for file in lists:
            images = {image.stem: image for image in image_files(file.with_suffix(""))}
            text = read_text(file, "lines of a class, a dot and the name of an image", _LARGEST_LIST)
            for number, line in enumerate(text.splitlines(), start=1):
                label, _, stem = line.strip().partition(".")
                if not label:
                    continue
                where = f"{file}: line {number}"
                if label not in found:
                    expected = " or ".join(self.labels)
                    raise DataError(f"{where}: expected {expected} before the first dot, got {label!r}")
                if stem not in images:
                    raise DataError(f"{where}: expected an image {stem} in {file.stem}, got none; complete the data")
                image = images[stem]
                found[label][stem] = image
        return found


def _is_fold_list(entry: Path) -> bool:
    return entry.suffix == _LIST and _FOLD.fullmatch(entry.stem) is not None and os.path.isdir(entry.with_suffix(""))
