"""Arrays in numpy's own format, from strangers: what a header says of their size is checked before it is believed."""

import math
import warnings
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import IO, Any, BinaryIO, Final

from numpy.lib import format as npy_format
from numpy.typing import NDArray

from ftonnx.errors import Interrupted, describe

__all__ = ["read_npy", "read_npz"]

_ENDING: Final = ".npy"

_HEADER_READERS = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}


def read_npy(file: IO[bytes], size: int) -> NDArray[Any]:
    """Return the array that ``numpy.save`` wrote.

    Args:
        file: at its begin; one in which places can be sought.
        size: of it in bytes.

    Raises:
        ValueError: it holds no array, one of Python's objects, or less than its header says.
    """
    version = npy_format.read_magic(file)
    # a later version differs in the letters of names only
    read_header = _HEADER_READERS.get(version, npy_format.read_array_header_2_0)
    try:
        with warnings.catch_warnings():
            # of how Python 2 wrote numbers, which is read well
            warnings.simplefilter("ignore")
            shape, _, dtype = read_header(file)
    except Interrupted:
        raise
    except Exception as error:
        # a hostile header, which is Python's text, fails in many ways
        raise ValueError(f"a damaged header of an array ({describe(error)})") from error
    if dtype.hasobject:
        raise ValueError("an array of Python's objects, which would run code")
    if min(shape, default=0) < 0:
        raise ValueError(f"an array of shape {shape}")
    # texts of no letters have no bytes, and there could be any number of them
    said = math.prod(shape) * max(dtype.itemsize, 1)
    left = size - file.tell()
    if said > left:
        raise ValueError(f"an array of {said:,} bytes, of which {left:,} are there")
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array: NDArray[Any] = npy_format.read_array(file, allow_pickle=False)
    return array


def read_npz(
    file: Path | BinaryIO, names: Collection[str] | None, check_bytes: Callable[[int], None]
) -> dict[str, NDArray[Any]]:
    """Return arrays that ``numpy.savez`` wrote, by their names.

    Args:
        file: the archive.
        names: of those that are wanted; None for all.
        check_bytes: called with the bytes that they unpack to, before they are; it raises where these are too many.

    Raises:
        Exception: it is no archive, or a damaged one, or a member is no array; of many kinds.
    """
    with zipfile.ZipFile(file) as archive:
        members = {}
        for member in archive.infolist():
            name = member.filename.removesuffix(_ENDING)
            if member.filename.endswith(_ENDING) and (names is None or name in names):
                members[name] = member
        check_bytes(sum(member.file_size for member in members.values()))
        found = {}
        for name, member in members.items():
            with archive.open(member) as array:
                found[name] = read_npy(array, member.file_size)
    return found
