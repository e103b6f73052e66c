"""``cifar10:PATH``: CIFAR-10, 60,000 images of 32 x 32 pixels (Krizhevsky 2009)."""

from dataclasses import dataclass
from typing import ClassVar

from ftonnx.datasets.preprocess import Preprocess
from ftonnx.datasets.published.cifar import CifarKind

__all__ = ["Cifar10Kind"]


@dataclass(frozen=True, slots=True)
class Cifar10Kind(CifarKind):
    """CIFAR-10; see ``CifarKind`` for its forms. Mean and std are those of its training images."""

    form: ClassVar[str] = "cifar10:PATH"
    keyword: ClassVar[str | None] = "cifar10"
    title: ClassVar[str] = "CIFAR-10"
    labels: ClassVar[tuple[str, ...]] = (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    python_folder: ClassVar[str] = "cifar-10-batches-py"
    binary_folder: ClassVar[str] = "cifar-10-batches-bin"
    python_files: ClassVar[dict[str, tuple[str, ...]]] = {
        "train": tuple(f"data_batch_{number}" for number in range(1, 6)),
        "test": ("test_batch",),
    }
    python_labels: ClassVar[str] = "labels"
    binary_files: ClassVar[dict[str, tuple[str, ...]]] = {
        "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        "test": ("test_batch.bin",),
    }
    binary_labels: ClassVar[int] = 1
    default: ClassVar[Preprocess] = Preprocess(
        scale=1 / 255,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2471, 0.2435, 0.2616),
        channels="rgb",
    )
