"""Write the embedded data set: ``python -m ftonnx.datasets.make_digits`` (needs scikit-learn).

The images are the test set of the "Optical Recognition of Handwritten Digits" data by E. Alpaydin and
C. Kaynak (1998), UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, licensed CC BY 4.0, in the
copy that scikit-learn ships. Changes made: stored as uint8, and divided into train, val and test.

The file holds ``images`` uint8 (1797, 1, 8, 8) with values 0 to 16, ``labels`` uint8 (1797,) and ``split``
uint8 (1797,): 0 train, 1 val, 2 test. It is not compressed, so that every machine writes the same bytes.
"""

import argparse
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["main", "make_digits", "stratified_split"]

_OUTPUT = Path(__file__).with_name("digits.npz")
# test, val, and three fifths train
_FIFTHS = np.array([2, 1, 0, 0, 0], np.uint8)


def stratified_split(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Split 60/20/20 within every class, without a random choice.

    The images are put in the order of their classes; of every five in a row the first goes to test, the
    second to val, the others to train.

    >>> stratified_split(np.array([1, 0, 1, 0, 0, 1, 0, 0, 1, 1], np.uint8)).tolist()
    [2, 2, 1, 1, 0, 0, 0, 0, 0, 0]
    """
    count = len(labels)
    by_class = np.argsort(labels, kind="stable")
    split = np.empty(count, np.uint8)
    split[by_class] = np.resize(_FIFTHS, count)
    return split


def make_digits(output: Path) -> None:
    """Write the archive to ``output``."""
    # by name, so that a type check does not need scikit-learn
    sklearn_datasets = import_module("sklearn.datasets")
    digits = sklearn_datasets.load_digits()
    pixels = digits.images.astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    np.savez(
        output,
        images=pixels[:, None],
        labels=labels,
        split=stratified_split(labels),
    )


def main() -> None:
    """Parse the command line and write the file."""
    parser = argparse.ArgumentParser(description="Write the embedded digits.")
    parser.add_argument("-o", "--output", type=Path, default=_OUTPUT)
    options = parser.parse_args()
    make_digits(options.output)


if __name__ == "__main__":
    main()
