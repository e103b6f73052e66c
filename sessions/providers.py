"""Execution providers: which of ONNX Runtime's back ends run a model."""

import contextlib
import io
import logging
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from typing import Final

import onnxruntime

from ftonnx.errors import UsageError

__all__ = ["load_cuda", "resolve_providers"]

_SUFFIX: Final = "executionprovider"
_ON_CUDA: Final = ("cuda", "tensorrt")

_logger: Final = logging.getLogger(__name__)


def load_cuda(providers: Sequence[str]) -> None:
    """Load CUDA's libraries from the Python packages that hold them, where a provider needs them.

    The system's loader does not look there. What cannot be loaded so may lie where it does look.

    Args:
        providers: their full names.
    """
    if any(name in provider.lower() for provider in providers for name in _ON_CUDA):
        _loaded()


@cache
def _loaded() -> None:
    # it prints what it does not find
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        onnxruntime.preload_dlls()
    for line in said.getvalue().splitlines():
        _logger.info("%s", line)


def resolve_providers(names: Sequence[str]) -> tuple[str, ...]:
    """Return the full provider names, in the given order.

    Args:
        names: case-insensitive parts of provider names in priority order, such as ``("cuda", "cpu")``.

    Raises:
        UsageError: a name fits no installed provider, or several; nothing is replaced silently.
    """
    available = onnxruntime.get_available_providers()
    if not names:
        raise UsageError(f"at least one execution provider was expected; installed: {', '.join(available)}")
    resolved = [_resolve(name, available) for name in names]
    # named twice counts once
    return tuple(dict.fromkeys(resolved))


def _resolve(name: str, available: Sequence[str]) -> str:
    part = _short(name.strip())
    found = []
    for provider in available:
        short = _short(provider)
        # a whole name wins over a part of another: tensorrt is also in nvtensorrtrtx
        if part == short:
            return provider
        if part and part in short:
            found.append(provider)
    if len(found) == 1:
        return found[0]
    reason = f"fits {', '.join(found)}" if found else "is not installed"
    installed = ", ".join(available)
    raise UsageError(f"provider {name!r} {reason}; installed: {installed}{_broken_mix(name)}")


def _short(provider: str) -> str:
    """Return a provider's name as users write it.

    >>> _short("CUDAExecutionProvider"), _short("cuda")
    ('cuda', 'cuda')
    """
    return provider.lower().removesuffix(_SUFFIX)


def _broken_mix(name: str) -> str:
    """Explain the usual reason for a missing GPU provider: two wheels share one module."""
    if not any(each in name.lower() for each in _ON_CUDA):
        return ""
    if _is_installed("onnxruntime") and _is_installed("onnxruntime-gpu"):
        return (
            ". onnxruntime and onnxruntime-gpu are both installed and overwrite each other: "
            "pip uninstall both, then pip install onnxruntime-gpu"
        )
    return ". For CUDA: pip uninstall onnxruntime, then pip install onnxruntime-gpu"


def _is_installed(package: str) -> bool:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True
