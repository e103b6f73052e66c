"""What is said of a data set by every command that shows one."""

from ftonnx.datasets import Dataset
from ftonnx.samples import Shape
from ftonnx.words import printable

__all__ = ["preprocessing_words", "shape_words"]


def preprocessing_words(data: Dataset) -> str:
    """Return what is done with the images, on one line."""
    steps = [f"{key} {value}" for key, value in data.preprocess.as_dict().items()]
    return f"preprocessing: {', '.join(steps) or 'none'}"


def shape_words(shape: Shape) -> str:
    """Return the shape of a sample, or those of several arrays by their names.

    >>> shape_words((1, 8, 8)), shape_words({"a": (5,), "b": (2,)})
    ('(1, 8, 8)', 'a (5,), b (2,)')
    """
    if isinstance(shape, tuple):
        return str(shape)
    return ", ".join(f"{printable(name)} {sizes}" for name, sizes in shape.items())
