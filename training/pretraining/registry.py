"""The ways of pretraining by name."""

from importlib import import_module
from typing import Final

from ftonnx.training.pretraining.method import Method

__all__ = ["method_named"]

_CLASSES: Final = {"simsiam": "SimSiam", "ssql": "SSQL", "swav": "SwAV", "dino": "DINO"}


def method_named(name: str) -> type[Method]:
    """Return the class of a method of ``METHODS``."""
    module = import_module(f"ftonnx.training.pretraining.{name}")
    found: type[Method] = getattr(module, _CLASSES[name])
    return found
