"""The kinds of data sets, and what a spec of none of them was probably meant to be."""

from typing import Final

from ftonnx.datasets.csv_listing import CsvKind
from ftonnx.datasets.digits import DigitsKind
from ftonnx.datasets.folder import FolderKind
from ftonnx.datasets.kind import DataKind
from ftonnx.datasets.loader import LoaderKind
from ftonnx.datasets.mask_folders import MasksKind
from ftonnx.datasets.npz import NpzKind
from ftonnx.datasets.published.bcs import BcsKind
from ftonnx.datasets.published.cifar10 import Cifar10Kind
from ftonnx.datasets.published.cifar100 import Cifar100Kind
from ftonnx.datasets.published.cloud38 import Cloud38Kind
from ftonnx.datasets.published.dfc2020 import Dfc2020Kind
from ftonnx.datasets.published.eurosat import EurosatKind
from ftonnx.datasets.published.hugging_face import HuggingFaceKind
from ftonnx.datasets.published.imagenet import ImagenetKind
from ftonnx.datasets.published.patternnet import PatternnetKind
from ftonnx.datasets.published.rsicb256 import Rsicb256Kind
from ftonnx.errors import UsageError
from ftonnx.words import did_you_mean, near

__all__ = ["FORMS", "KINDS", "parse_spec"]

KINDS: Final[tuple[type[DataKind], ...]] = (
    DigitsKind,
    NpzKind,
    FolderKind,
    CsvKind,
    MasksKind,
    HuggingFaceKind,
    ImagenetKind,
    Cifar10Kind,
    Cifar100Kind,
    EurosatKind,
    PatternnetKind,
    Rsicb256Kind,
    BcsKind,
    Cloud38Kind,
    Dfc2020Kind,
    LoaderKind,
)
"""Every kind of data set: the first one that knows a spec as its own opens it."""

FORMS: Final = ", ".join(kind.form for kind in KINDS)
"""How a spec can look, for messages."""


def parse_spec(spec: str) -> DataKind:
    """The spec as a value of its kind.

    >>> parse_spec("npz:/data/test.npz").spec
    'npz:/data/test.npz'

    Raises:
        UsageError: It is a spec of no kind.
    """
    for kind in KINDS:
        parsed = kind.parse(spec)
        if parsed is not None:
            return parsed
    raise UsageError(f"data: expected one of {FORMS}, got {spec!r}{_meant(spec)}")


def _meant(spec: str) -> str:
    """What an unknown spec probably meant, as the end of a message."""
    guesses = []
    for kind in KINDS:
        guess = kind.guess(spec)
        if guess is not None:
            guesses.append(guess)
    if guesses:
        # in an order of their own: that of the registry is for opening
        guesses.sort()
        return did_you_mean(guesses)
    # nothing on disk: perhaps a slip in the keyword
    beginning = spec.partition(":")[0]
    keywords = [kind.keyword for kind in KINDS if kind.keyword]
    return near(beginning.lower(), keywords)
