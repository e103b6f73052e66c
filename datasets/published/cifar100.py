"""``cifar100:PATH``: CIFAR-100, 60,000 images of 32 x 32 pixels in 100 classes (Krizhevsky 2009)."""

from dataclasses import dataclass
from typing import ClassVar

from ftonnx.datasets.preprocess import Preprocess
from ftonnx.datasets.published.cifar import CifarKind

__all__ = ["Cifar100Kind"]


@dataclass(frozen=True, slots=True)
class Cifar100Kind(CifarKind):
    """CIFAR-100 by its fine classes; see ``CifarKind`` for its forms. Mean and std are those of its training images."""

    form: ClassVar[str] = "cifar100:PATH"
    keyword: ClassVar[str | None] = "cifar100"
    title: ClassVar[str] = "CIFAR-100"
    labels: ClassVar[tuple[str, ...]] = (
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl",
        "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee",
        "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant",
        "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower",
        "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom",
        "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate",
        "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark",
        "shrew", "skunk", "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower",
        "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor", "train", "trout", "tulip",
        "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
    )  # fmt: skip
    python_folder: ClassVar[str] = "cifar-100-python"
    binary_folder: ClassVar[str] = "cifar-100-binary"
    python_files: ClassVar[dict[str, tuple[str, ...]]] = {"train": ("train",), "test": ("test",)}
    python_labels: ClassVar[str] = "fine_labels"
    binary_files: ClassVar[dict[str, tuple[str, ...]]] = {"train": ("train.bin",), "test": ("test.bin",)}
    binary_labels: ClassVar[int] = 2
    default: ClassVar[Preprocess] = Preprocess(
        scale=1 / 255,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        channels="rgb",
    )
