"""What the ``torch`` extra brings, asked for in one line where it is missing."""

from importlib import import_module

from ftonnx.errors import UsageError

__all__ = ["one_line", "require"]


def require(*modules: str) -> None:
    """Import each module.

    Raises:
        UsageError: One cannot be imported; the message says how to install it.
    """
    for name in modules:
        try:
            import_module(name)
        except (ImportError, OSError, RuntimeError) as error:  # a torchvision built for another torch: RuntimeError
            raise UsageError(
                f"{name} is needed here but cannot be imported ({one_line(error)}); "
                "install it with: pip install 'ftonnx[torch]'"
            ) from error


def one_line(error: BaseException) -> str:
    r"""Text of an exception for use inside a one-line message.

    >>> one_line(ValueError("first\n  second"))
    'ValueError: first second'
    """
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
