"""Named, finite, re-iterable streams of ``(images, labels)`` batches, ready to be fed to a model.

Knows data files, preprocessing and the embedded digits; does not know models or faults.
Pillow is imported when a folder is opened or a resize is asked for; torch and ONNX Runtime never are.
"""

from ftonnx.datasets.base import Dataset
from ftonnx.datasets.fed import fed_as
from ftonnx.datasets.load import load_dataset
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.datasets.sensors import shared_out
from ftonnx.datasets.stream import as_dataset
from ftonnx.datasets.subset import stratified_subset

__all__ = ["Dataset", "Preprocess", "as_dataset", "fed_as", "load_dataset", "shared_out", "stratified_subset"]
