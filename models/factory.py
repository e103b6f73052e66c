"""The user's own network, ``PATH/file.py:factory``: a function that returns a torch module."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftonnx.errors import ModelError
from ftonnx.files import UserFunction

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

    user = UserFunction(path, function, role="factory", expected="a network", error=ModelError)
    with user.running():
        options = _options(user.function, classes)
        net = user.function(**options)
    # outside the block: this error is not raised by the user's code
    if not isinstance(net, nn.Module):
        got = type(net).__name__
        raise ModelError(f"{user.where}: expected a torch.nn.Module, got {got}; return the network")
    return net


def _options(factory: Callable[..., Any], classes: int | None) -> dict[str, int]:
    if classes is None:
        return {}
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):
        # a function of C may have none
        return {}
    for parameter in signature.parameters.values():
        takes_any_option = parameter.kind is parameter.VAR_KEYWORD
        if takes_any_option or parameter.name == "num_classes":
            return {"num_classes": classes}
    return {}
