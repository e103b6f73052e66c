"""Ready-made models: wherever a command takes a model, a name from here works too.

Knows torch architectures and the embedded ONNX files; does not know ONNX Runtime or faults.
Importing this needs no torch; the modules that hold architectures and training do.
"""

from ftonnx.models.registry import names, resolve

__all__ = ["names", "resolve"]
