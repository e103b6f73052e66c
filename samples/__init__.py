"""Batches of samples: one array with a row per sample, or several by the names of a model's inputs.

Not aware of where samples come from or what takes them.
"""

from ftonnx.samples.batches import Samples, Shape, arrays_of, bytes_of, count_of, joined, mapped, part_of, shape_of

__all__ = ["Samples", "Shape", "arrays_of", "bytes_of", "count_of", "joined", "mapped", "part_of", "shape_of"]
