"""What the ``torch`` and ``ssl`` extras bring, asked for in one line where it is missing."""

from importlib import import_module

from ftonnx.errors import UsageError, describe

__all__ = ["require"]


def require(*modules: str, extra: str = "torch") -> None:
    """Import each module of an extra.

    Raises:
        UsageError: One cannot be imported; the message says how to install it.
    """
    for name in modules:
        try:
            import_module(name)
        except (ImportError, OSError, RuntimeError) as error:
            # a torchvision built for another torch: RuntimeError
            raise UsageError(
                f"{name} is needed here but cannot be imported ({describe(error)}); "
                f"install it with: pip install 'ftonnx[{extra}]'"
            ) from error
