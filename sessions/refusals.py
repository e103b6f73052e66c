"""What ONNX Runtime raises when it does not accept a model or its inputs."""

from typing import Final

from onnxruntime.capi import onnxruntime_pybind11_state

__all__ = ["REFUSALS"]


def _own_errors() -> tuple[type[Exception], ...]:
    """Return ONNX Runtime's own exceptions, which share no base class."""
    found: list[type[Exception]] = []
    for value in vars(onnxruntime_pybind11_state).values():
        if isinstance(value, type) and issubclass(value, Exception):
            found.append(value)
    return tuple(found)


REFUSALS: Final[tuple[type[Exception], ...]] = (*_own_errors(), MemoryError, RuntimeError, ValueError)
"""Its own exceptions, and those of Python that its bindings raise."""
