"""``load_dataset``: from a spec on the command line to a data set."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from ftonnx.datasets.arrays import open_digits, open_npz
from ftonnx.datasets.base import Dataset
from ftonnx.datasets.checks import near
from ftonnx.datasets.folder import open_folder
from ftonnx.datasets.loader import open_loader
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.datasets.request import Request
from ftonnx.errors import UsageError

__all__ = ["load_dataset"]

_KINDS = "digits, npz:PATH, folder:PATH, PATH/file.py:function"


def load_dataset(
    spec: str,
    *,
    split: str | None = None,
    limit: int | None = None,
    preprocess: Preprocess | None = None,
    model_metadata: Mapping[str, str] | None = None,
) -> Dataset:
    """Open a data set by its spec.

    ==========================  =============================================================================
    ``digits``                  1,797 handwritten digits, embedded; splits train, val, test (default test)
    ``npz:PATH``                arrays ``images`` and ``labels``; a folder holds one ``.npz`` per split
    ``folder:PATH``             one sub-folder of images per class, below a folder per split if one is named
    ``PATH/file.py:function``   your own loader; **runs that file**, and is the only spec that runs code
    ==========================  =============================================================================

    Each field of the preprocessing comes from the first source that says it: ``preprocess``; the TOML beside
    the data (``x.toml`` for ``x.npz``, else ``preprocess.toml`` in the same folder); the model's
    ``ftonnx.preprocess``; the default (scale 1/16 for the digits, 1/255 for 8-bit images, none for float32).
    A loader's images are fed as they are. Without ``model_metadata``, whatever runs a model on the data set takes
    the fields that nobody has said from that model first (see ``Dataset.completed``).

    Args:
        spec: One of the above.
        split: Name of a split; None for the default.
        limit: At most this many images: the first ones, and in a folder the first of every class in turn.
        preprocess: What the command line said.
        model_metadata: The model's ``metadata_props``.

    Raises:
        UsageError: The spec, split, limit or preprocessing makes no sense.
        DataError: The data is missing, damaged or does not fit the preprocessing.
    """
    request = Request(split=split, limit=limit, preprocess=preprocess or Preprocess(), model_metadata=model_metadata)
    found = _open(spec, request)
    found.source = {
        "data": _absolute(spec), "split": split, "limit": limit, "preprocess": found.preprocess.as_dict(),
    }  # fmt: skip
    return found


def _open(spec: str, request: Request) -> Dataset:
    if spec == "digits":
        return open_digits(request)
    kind, _, path = spec.partition(":")
    if kind == "npz" and path:
        return open_npz(Path(path), request)
    if kind == "folder" and path:
        return open_folder(Path(path), request)
    if loader := re.fullmatch(r"(.+\.py):([^\W\d]\w*)", spec):
        return open_loader(Path(loader[1]), loader[2], request)
    raise UsageError(f"data: expected one of {_KINDS}, got {spec!r}{_meant(spec)}")


def _absolute(spec: str) -> str:
    """Return a spec that means the same in every folder.

    >>> _absolute("digits"), _absolute("npz:/data/test.npz"), _absolute("/code/mine.py:load")
    ('digits', 'npz:/data/test.npz', '/code/mine.py:load')
    """
    kind, colon, path = spec.partition(":")
    if not colon:
        return spec
    return f"{kind}:{Path(path).absolute()}" if kind in ("npz", "folder") else str(Path(spec).absolute())


def _meant(spec: str) -> str:
    """What an unknown spec probably meant, as the end of a message."""
    if spec.endswith(".py"):
        return f"; did you mean {spec}:function?"
    if os.path.isdir(spec):
        return f"; did you mean folder:{spec} or npz:{spec}?"
    if os.path.isfile(spec):
        return f"; did you mean npz:{spec}?"
    return near(spec.partition(":")[0].lower(), ["digits", "npz", "folder"])
