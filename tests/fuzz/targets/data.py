"""Data sets of every kind, and the files of names and settings beside them."""

import os

import numpy as np
from kinds_kit import MAKERS

from ftonnx.datasets import load_dataset
from ftonnx.datasets.class_names import read_class_names
from ftonnx.datasets.config import read_side_file
from ftonnx.datasets.digits import DigitsKind
from ftonnx.datasets.loader import LoaderKind
from fuzz.target import Target


class Data(Target):
    """All that a campaign asks of a data set."""

    def __init__(self, kind):
        """Take over the kind of the data set."""
        self._make = MAKERS[kind]
        self.name = f"data-{kind.__name__.removesuffix('Kind').lower()}"
        self.spec = None

    def write_seeds(self, folder):
        """Write one as the contract's tests do."""
        place = folder / "one"
        place.mkdir()
        os.chdir(place)
        spec = self._make(place)
        (place / "spec").write_text(spec)

    def seeds(self, folder):
        """Keep the spec apart."""
        found = super().seeds(folder)
        for files in found:
            self.spec = files.pop("spec").decode()
        return found

    def read(self, folder):
        """Read it whole, in two batches."""
        data = load_dataset(self.spec)
        for _ in data.batches(7):
            pass
        assert data.fingerprint
        data.unreadable()


DATA_TARGETS = [Data(kind) for kind in MAKERS if kind not in (DigitsKind, LoaderKind)]
"""Of all kinds but those that read no files, or run them as code."""


class ClassNames(Target):
    """Files of class names."""

    name = "class-names"

    def write_seeds(self, folder):
        """Write every form."""
        forms = {
            "list.json": '["cat", "dog", ["n01", "owl"]]',
            "numbers.json": '{"0": "cat", "1": ["n02124075", "dog"]}',
            "names.json": '{"cat": 0, "dog": 1}',
            "lines.txt": "0 cat\n1 dog\n2 owl\n",
            "wordnet.txt": "n01440764 tench, Tinca tinca\nn01443537 goldfish\n",
        }
        for name, text in forms.items():
            (folder / name).mkdir()
            (folder / name / name).write_text(text)

    def read(self, folder):
        """Read the one that is there."""
        for file in sorted(folder.iterdir()):
            names = read_class_names(file)
            assert names.shown


class Preprocessing(Target):
    """``preprocess.toml`` beside images."""

    name = "preprocess"

    def write_seeds(self, folder):
        """Write several settings beside an archive."""
        texts = {
            "usual": "scale = 255\nmean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\nresize = 4\ncrop = 4\n",
            "names": 'classes = 3\nclass_names = ["a", "b", "c"]\nchannels = "bgr"\n',
            "file": 'class_names_file = "names.txt"\n',
        }
        for name, text in texts.items():
            place = folder / name
            place.mkdir()
            (place / "preprocess.toml").write_text(text)
            (place / "names.txt").write_text("a\nb\nc\n")
            pixels = np.random.default_rng(3).integers(0, 256, (6, 3, 6, 5), np.uint8)
            np.savez(place / "d.npz", images=pixels, labels=np.arange(6) % 3)

    def read(self, folder):
        """Read the file, and a data set with it."""
        read_side_file(folder / "preprocess.toml")
        for _ in load_dataset("npz:d.npz").batches(4):
            pass
