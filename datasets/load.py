"""``load_dataset``: from a spec on the command line to a data set."""

from collections.abc import Mapping

from ftonnx.datasets.base import Dataset
from ftonnx.datasets.kinds import parse_spec
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.datasets.request import Request

__all__ = ["load_dataset"]


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
    request = Request(
        split=split,
        limit=limit,
        preprocess=preprocess or Preprocess(),
        model_metadata=model_metadata,
    )
    # the request first: a split or limit that makes no sense does so for every spec
    kind = parse_spec(spec)
    found = kind.open(request)
    # what a results folder keeps, so that workers and a replay open the same
    found.source = {
        "data": kind.spec,
        "split": split,
        "limit": limit,
        "preprocess": found.preprocess.as_dict(),
    }
    return found
