"""A few label maps beside a campaign's counts: ``maps.npz`` in its results folder."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.store.lock import translated
from ftonnx.datasets.npy import read_npz
from ftonnx.errors import Interrupted, StoreError, describe
from ftonnx.files import reason_of, write_whole
from ftonnx.words import parsed_json

__all__ = ["LONGEST_SIDE", "KeptMaps", "MapPair", "remove_maps"]

LONGEST_SIDE: Final = 512
"""Pixels of a kept map; of a larger one every second pixel is kept, or every third, and so on."""

_FILE: Final = "maps.npz"
_MOST_BYTES: Final = 1 << 28  # of all maps, when they are read


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _About:
    """What is said of a pair of maps, see ``MapPair``."""

    rate: float
    repeat: int
    batch: int
    image: int
    changed: float
    step: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapPair(_About):
    """The classes of one image's pixels without faults and with those of one unit.

    Attributes:
        rate: flips per bit of the unit.
        repeat: of the unit.
        batch: of the unit.
        image: its number in the data set.
        changed: share of all its pixels that get another class.
        step: of so many pixels a side, one is kept.
        golden: classes without faults, uint8 or uint16 (height, width).
        faulty: with the faults, likewise.
    """

    golden: NDArray[Any]
    faulty: NDArray[Any]

    @classmethod
    def of(cls, golden: NDArray[Any], faulty: NDArray[Any], **place: Any) -> Self:
        """Return a pair of maps of any size, of which as many pixels are kept as fit.

        >>> large = np.zeros((4, 1300), np.uint8)
        >>> pair = MapPair.of(large, large + 1, rate=1e-6, repeat=0, batch=0, image=3)
        >>> pair.golden.shape, pair.step, pair.changed
        ((2, 434), 3, 1.0)
        """
        step = -(-max(golden.shape) // LONGEST_SIDE)
        changed = float((golden != faulty).mean())
        kept = np.s_[::step, ::step]
        return cls(changed=changed, step=step, golden=golden[kept].copy(), faulty=faulty[kept].copy(), **place)

    def about(self) -> dict[str, Any]:
        """Return JSON values of all but the maps."""
        return {each.name: getattr(self, each.name) for each in fields(_About)}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMaps:
    """The pairs that a campaign kept.

    Attributes:
        pairs: by rate, those with the most changed pixels first.
        classes: their number.
        names: of the classes, None for one without a name; empty where nobody knows any.
    """

    pairs: tuple[MapPair, ...]
    classes: int
    names: tuple[str | None, ...] = ()

    def write(self, folder: Path) -> Path:
        """Write the file into a results folder, in place of one that is there, and return its path.

        Raises:
            StoreError: the disk does not take it.
        """
        about = {"classes": self.classes, "names": list(self.names), "pairs": [pair.about() for pair in self.pairs]}
        arrays: dict[str, NDArray[Any]] = {"about": np.array(json.dumps(about))}
        for number, pair in enumerate(self.pairs):
            arrays[f"golden{number}"] = pair.golden
            arrays[f"faulty{number}"] = pair.faulty
        content = BytesIO()
        np.savez_compressed(content, allow_pickle=False, **arrays)
        path = folder / _FILE
        try:
            write_whole(content.getvalue(), path)
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {reason_of(error, path)}") from error
        return path

    @classmethod
    def read(cls, folder: Path) -> "KeptMaps | None":
        """Read what a results folder holds; None where no maps were kept.

        Raises:
            StoreError: the file is damaged.
        """
        path = folder / _FILE
        if not path.is_file():
            return None
        try:
            with path.open("rb") as file:
                return cls._of(read_npz(file, None, _check_bytes))
        except Interrupted:
            raise
        except Exception as error:
            # a damaged archive fails in many ways
            raise StoreError(
                f"{path}: expected label maps, got a damaged file ({describe(error)}); keep them anew"
            ) from error

    @classmethod
    def _of(cls, archive: Mapping[str, NDArray[Any]]) -> Self:
        about = parsed_json(archive["about"].item())
        pairs = []
        for number, values in enumerate(about["pairs"]):
            maps = [archive[f"{kind}{number}"] for kind in ("golden", "faulty")]
            _check_maps(maps, about["classes"])
            about_pair = asdict(msgspec.convert(values, _About))
            pairs.append(MapPair(**about_pair, golden=maps[0], faulty=maps[1]))
        names = msgspec.convert(about["names"], tuple[str | None, ...])
        return cls(pairs=tuple(pairs), classes=about["classes"], names=names)


def _check_bytes(unpacked: int) -> None:
    if unpacked > _MOST_BYTES:
        raise ValueError(f"{unpacked} bytes of maps")


def _check_maps(maps: list[NDArray[Any]], classes: int) -> None:
    golden, faulty = maps
    if golden.shape != faulty.shape or golden.ndim != 2 or max(golden.shape) > LONGEST_SIDE:
        raise ValueError(f"maps of shapes {golden.shape} and {faulty.shape}")
    for each in maps:
        if each.dtype.kind != "u" or not each.size or int(each.max()) >= classes:
            raise ValueError(f"a map of {each.dtype} with values outside of {classes} classes")


def remove_maps(folder: Path) -> None:
    """Remove the label maps of a campaign that grows, as other units may change more; they can be kept anew.

    Raises:
        StoreError: the folder cannot be written.
    """
    with translated(folder):
        (folder / _FILE).unlink(missing_ok=True)
