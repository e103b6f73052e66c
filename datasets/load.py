"""``load_dataset``: from a spec on the command line to a data set."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ftonnx.datasets.base import Dataset
from ftonnx.datasets.kinds import KINDS, parse_spec
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.datasets.request import Request
from ftonnx.errors import UsageError
from ftonnx.words import of_kind

__all__ = ["load_dataset"]

_logger: Final = logging.getLogger(__name__)


def load_dataset(
    spec: str,
    *,
    split: str | None = None,
    limit: int | None = None,
    preprocess: Preprocess | None = None,
    model_metadata: Mapping[str, str] | None = None,
    class_names: str | Path | None = None,
    splits: str | Path | None = None,
) -> Dataset:
    """Open a data set by its spec.

    ==========================  =============================================================================
    ``digits``                  1,797 handwritten digits, embedded; splits train, val, test (default test)
    ``npz:PATH``                arrays ``images`` and ``labels``; a folder holds one ``.npz`` per split
    ``folder:PATH``             one sub-folder of images per class, below a folder per split if one is named
    ``csv:PATH``                a text file with the name of an image and its label on every line
    ``masks:IMAGES,MASKS``      a folder of images, and one of their label maps, of the same names
    ``hf:PATH``                 parquet files, or what Hugging Face's ``save_to_disk`` wrote
    ``imagenet:PATH``           ILSVRC2012, by folders, a list or the devkit; splits train, val (default val)
    ``cifar10:PATH``            CIFAR-10, python version, binary version or parquet; splits train, test
    ``cifar100:PATH``           CIFAR-100 by its fine classes, likewise
    ``eurosat:PATH``            EuroSAT, 10 classes; splits by lists
    ``patternnet:PATH``         PatternNet, 38 classes; splits by lists
    ``rsicb256:PATH``           RSI-CB256, 35 classes; splits by lists
    ``bcs:PATH``                Brazilian Coffee Scenes, 2 classes; splits by lists
    ``cloud38:PATH``            38-Cloud, label maps of clouds in Landsat-8 patches of four bands
    ``dfc2020:PATH``            DFC2020, label maps of 8 kinds of land; splits train, test
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
        class_names: A file of all classes' names in the order of their numbers: one per line, or JSON. Where images lie
            in folders named like classes, or labels are names, it says which class is which; else the TOML beside
            the data does, a file such as ``classes.txt`` there, or the model.
        splits: Where the lists of a published data set's splits are: a folder with ``eurosat_test.csv`` and so on, or
            one list. By default they are looked for in the data's folder and beside it.

    Raises:
        UsageError: The spec, split, limit or preprocessing makes no sense.
        DataError: The data is missing, damaged or does not fit the preprocessing.
    """
    of_kind("spec", spec, str, "a data set's spec such as 'npz:test.npz'")
    request = Request(
        split=split,
        limit=limit,
        preprocess=preprocess or Preprocess(),
        model_metadata=model_metadata,
        class_names=None if class_names is None else Path(class_names),
        splits=None if splits is None else Path(splits),
    )
    # the request first: a split or limit that makes no sense does so for every spec
    kind = parse_spec(spec)
    if splits is not None and not kind.takes_splits:
        takers = ", ".join(each.form for each in KINDS if each.takes_splits)
        raise UsageError(f"splits: lists of splits were expected with {takers} only, got {spec!r}; leave them out")
    found = kind.open(request)
    # what a results folder keeps, so that workers and a replay open the same
    source: dict[str, Any] = {
        "data": kind.spec,
        "split": split,
        "limit": limit,
        "preprocess": found.preprocess.as_dict(),
    }
    if class_names is not None:
        source["class_names"] = os.path.abspath(class_names)
    if splits is not None:
        source["splits"] = os.path.abspath(splits)
    found.source = source
    for warning in found.labelling.warnings:
        _logger.warning("%s", warning)
    return found
