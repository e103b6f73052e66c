"""Every kind of data set in small, as files in the current folder. A new kind is tested by its line in ``MAKERS``."""

import numpy as np
from images_kit import save_by_class
from published_kit import (
    write_cifar_binary,
    write_cifar_python,
    write_cloud38,
    write_dfc2020,
    write_lists,
    write_masks,
    write_parquet,
    write_scenes,
)

from ftonnx.datasets.csv_listing import CsvKind
from ftonnx.datasets.digits import DigitsKind
from ftonnx.datasets.folder import FolderKind
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
from ftonnx.datasets.published.imagenet import ImagenetKind, wnids
from ftonnx.datasets.published.patternnet import PatternnetKind
from ftonnx.datasets.published.rsicb256 import Rsicb256Kind

PIXELS = np.random.default_rng(3).integers(0, 256, (12, 3, 6, 5), np.uint8)
LABELS = np.arange(12) % 3
LOADER = """
import numpy as np

def load():
    pixels = np.load("{}")
    yield pixels[:7].astype(np.float32), np.arange(7) % 3
    yield pixels[7:].astype(np.float32), np.arange(7, 12) % 3
"""


def make_digits(folder):
    """Nothing to write: they are embedded."""
    return "digits"


def make_npz(folder):
    """One archive."""
    np.savez(folder / "some.npz", images=PIXELS, labels=LABELS)
    return "npz:some.npz"


def make_folder(folder):
    """One file per image, in folders a, b and c."""
    save_by_class(folder / "images", PIXELS, LABELS, "abc")
    return "folder:images"


def make_csv(folder):
    """One file per image, in three folders, and a list of them without a header."""
    save_by_class(folder / "images", PIXELS, LABELS, "abc")
    lines = [f"{'abc'[label]}/{number:02}.png,{label}\n" for number, label in enumerate(LABELS)]
    (folder / "list.csv").write_text("".join(lines))
    return "csv:list.csv"


def make_hf(folder):
    """One parquet file."""
    write_parquet(folder / "tables" / "test.parquet", LABELS)
    return "hf:tables"


def make_imagenet(folder):
    """One file per image, in folders of three classes."""
    save_by_class(folder / "images", PIXELS, LABELS, wnids()[:3])
    return "imagenet:images"


def make_cifar10(folder):
    """The python version."""
    names = ["test_batch", *(f"data_batch_{number}" for number in range(1, 6))]
    write_cifar_python(folder / "here" / "cifar-10-batches-py", names, "labels", LABELS)
    return "cifar10:here"


def make_cifar100(folder):
    """The binary version."""
    write_cifar_binary(folder / "here" / "cifar-100-binary", ["train.bin", "test.bin"], LABELS, coarse=True)
    return "cifar100:here"


def make_eurosat(folder):
    """Folders of classes as in the archive, and lists of splits."""
    written = write_scenes(folder / "images" / "2750", "eurosat")
    write_lists(folder / "images", "eurosat", written * 2, train=[0, 1], test=range(12))
    return "eurosat:images"


def make_patternnet(folder):
    """Folders of classes."""
    write_scenes(folder / "images", "patternnet")
    return "patternnet:images"


def make_rsicb256(folder):
    """Groups of classes."""
    write_scenes(folder / "images" / "woodland", "rsicb256", suffix="tif")
    return "rsicb256:images"


def make_bcs(folder):
    """Folders of classes."""
    write_scenes(folder / "images", "bcs")
    return "bcs:images"


def make_masks(folder):
    """One picture and one palette image per sample."""
    write_masks(folder / "images", folder / "maps", PIXELS)
    return "masks:images,maps"


def make_cloud38(folder):
    """Five files per patch."""
    write_cloud38(folder / "here" / "38-Cloud_training")
    return "cloud38:here"


def make_dfc2020(folder):
    """Both parts, the larger one for tests."""
    write_dfc2020(folder / "here" / "ROIs0000_test", "0")
    return "dfc2020:here"


def make_loader(folder):
    """A file of code beside an array."""
    np.save(folder / "pixels.npy", PIXELS)
    (folder / "mine.py").write_text(LOADER.format(folder / "pixels.npy"))
    return "mine.py:load"


MAKERS = {
    DigitsKind: make_digits,
    NpzKind: make_npz,
    FolderKind: make_folder,
    CsvKind: make_csv,
    HuggingFaceKind: make_hf,
    ImagenetKind: make_imagenet,
    Cifar10Kind: make_cifar10,
    Cifar100Kind: make_cifar100,
    EurosatKind: make_eurosat,
    PatternnetKind: make_patternnet,
    Rsicb256Kind: make_rsicb256,
    BcsKind: make_bcs,
    MasksKind: make_masks,
    Cloud38Kind: make_cloud38,
    Dfc2020Kind: make_dfc2020,
    LoaderKind: make_loader,
}
"""For each kind, a function that writes a data set into the current folder and returns its spec."""
