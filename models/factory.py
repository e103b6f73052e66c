"""The user's own network, ``PATH/file.py:factory``: a function that returns a torch module.

The file is executed with the rights of whoever runs ftonnx: name only files that you trust.
"""

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ftonnx.errors import Interrupted, ModelError, UsageError, describe

if TYPE_CHECKING:
    from torch import nn

__all__ = ["run_factory"]


def run_factory(path: Path, function: str, classes: int | None) -> "nn.Module":
    """Run ``path`` and call ``function()``, with ``num_classes=classes`` where classes are given and it takes them.

    Modules beside the file can be imported, as when Python runs the file itself.

    Raises:
        UsageError: The file has no such function.
        ModelError: The file is missing, its code fails, or the result is no torch module.
    """
    from torch import nn

    where = f"{path.name}:{function}"
    if not os.path.isfile(path):
        raise ModelError(f"{path}: expected a Python file with a factory, got nothing there; check the path")
    with _user_code(where, path.parent):
        factory = _function(_module(path), function, path)
        net = factory(**_options(factory, classes))
    if not isinstance(net, nn.Module):
        raise ModelError(f"{where}: expected a torch.nn.Module, got {type(net).__name__}; return the network")
    return net


@contextmanager
def _user_code(where: str, folder: Path) -> Iterator[None]:
    """Turn what user code raises, a call of exit included, into a ModelError."""
    before = list(sys.path)
    sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    except (Interrupted, KeyboardInterrupt, UsageError):
        raise
    except BaseException as error:
        raise ModelError(f"{where}: expected a network, but the code raised {describe(error)}") from error
    finally:
        sys.path[:] = before


def _module(path: Path) -> ModuleType:
    """Execute the file as a module under a private name (no byte code is written beside it)."""
    module = ModuleType(f"_ftonnx_factory_{sha256(os.path.abspath(path).encode()).hexdigest()[:16]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and pickle look it up
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    return module


def _function(module: ModuleType, name: str, path: Path) -> Callable[..., Any]:
    found: Any = getattr(module, name, None)
    if callable(found):
        factory: Callable[..., Any] = found
        return factory
    own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    close = get_close_matches(name, own, 1)
    got = "nothing of that name" if found is None else type(found).__name__
    meant = f"; did you mean {close[0]}?" if close else ""
    raise UsageError(f"{path}: expected a function {name}(), got {got}{meant}")


def _options(factory: Callable[..., Any], classes: int | None) -> dict[str, int]:
    if classes is None:
        return {}
    try:
        taken = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return {}
    takes = any(each.name == "num_classes" or each.kind is each.VAR_KEYWORD for each in taken)
    return {"num_classes": classes} if takes else {}
