"""Execution providers: which of ONNX Runtime's back ends run a model."""

from collections.abc import Sequence
from importlib import metadata
from typing import Final

import onnxruntime

from ftonnx.errors import UsageError

__all__ = ["resolve_providers"]

_SUFFIX: Final = "executionprovider"


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
    return tuple(dict.fromkeys(_resolve(name, available) for name in names))


def _resolve(name: str, available: Sequence[str]) -> str:
    part = name.strip().lower().removesuffix(_SUFFIX)
    found = [provider for provider in available if part and part in provider.lower().removesuffix(_SUFFIX)]
    exact = [provider for provider in found if provider.lower() == part + _SUFFIX]
    if len(exact or found) == 1:
        return (exact or found)[0]
    reason = f"fits {', '.join(found)}" if found else "is not installed"
    raise UsageError(f"provider {name!r} {reason}; installed: {', '.join(available)}{_broken_mix(name)}")


def _broken_mix(name: str) -> str:
    """Explain the usual reason for a missing GPU provider: two wheels share one module."""
    installed = {package for package in ("onnxruntime", "onnxruntime-gpu") if _is_installed(package)}
    if "cuda" not in name.lower() and "tensorrt" not in name.lower():
        return ""
    if installed == {"onnxruntime", "onnxruntime-gpu"}:
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
