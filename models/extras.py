"""What the ``torch`` extra brings, asked for in one line where it is missing."""

from importlib import import_module

from ftonnx.errors import UsageError, describe

__all__ = ["require"]


def require(*modules: str) -> None:
    """Import each module.

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
                "install it with: pip install 'ftonnx[torch]'"
            ) from error
