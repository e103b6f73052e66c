"""What every target has in common: sound inputs, their mutation, and what ftonnx does with them."""

from abc import ABC, abstractmethod
from fnmatch import fnmatch
from typing import ClassVar

from fuzz.inputs import Odd, read_input
from fuzz.mutators import mutate

_MOST_FILES = 2


class NoCase(Exception):
    """Nothing came of a mutation, such as a statement that no table takes."""


class Target(ABC):
    """One reader of files from strangers.

    Attributes:
        name: on the command line.
        mutable: patterns of the files that are a stranger's; the others stay sound.
        odd_files: whether pipes, links, folders and sparse files may take their places.
    """

    name: ClassVar[str]
    mutable: ClassVar[tuple[str, ...]] = ("*",)
    odd_files: ClassVar[bool] = True

    @abstractmethod
    def write_seeds(self, folder):
        """Write sound inputs, each into a folder of its own below ``folder``."""

    @abstractmethod
    def read(self, folder):
        """Do what ftonnx does with an input in a folder, which is the current one.

        Raises:
            FtonnxError: it is refused, as it may be.
        """

    def seeds(self, folder):
        """Return the sound inputs that were written, in the order of their names."""
        return [read_input(each) for each in sorted(folder.iterdir())]

    def mutated(self, seeds, rng):
        """Return one of the inputs with some of its files changed, missing, or something else than files."""
        files = dict(rng.choice(seeds))
        names = [name for name in files if any(fnmatch(name, pattern) for pattern in self.mutable)]
        for name in rng.sample(names, min(len(names), rng.randint(1, _MOST_FILES))):
            roll = rng.random()
            if self.odd_files and roll < 0.02:
                files[name] = rng.choice(list(Odd))
            elif self.odd_files and roll < 0.03:
                del files[name]
            else:
                others = [other[name] for other in seeds if name in other]
                files[name] = mutate(name, files[name], others, rng)
        return files
