"""What an installation is made of: versions, execution providers, processor, memory, folders."""

import os
import platform
import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import onnxruntime

from ftonnx.campaign.run.processes import cores
from ftonnx.files import cpu_name, processor_facts, temporary_root
from ftonnx.runtime import cache_folder, free_memory
from ftonnx.sessions import kernels_saturate

__all__ = ["installation"]

_PACKAGE: Final = "ftonnx"
_NAME: Final = re.compile(r"[\w.-]+")
_FOR_DEVELOPERS: Final = re.compile(r"extra == .(docs|test|lint)\b")
_UNITS: Final = (
    "avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm", "sve",
)  # fmt: skip
"""Vector units by which ONNX Runtime chooses kernels, as Linux names them."""


def installation() -> dict[str, Any]:
    """Return what a bug report needs of this installation, as JSON values; nothing is imported for it."""
    return {
        "versions": _versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "providers": onnxruntime.get_available_providers(),
        "processor": {
            "name": cpu_name(),
            "cores": cores(),
            "units": _vector_units(),
            "saturates": kernels_saturate(),
        },
        "free_memory": free_memory(),
        "cache": _folder(cache_folder()),
        "temporary": _temporary(),
        "working_folder": {"path": os.getcwd(), "free": shutil.disk_usage(".").free},
    }


def _versions() -> dict[str, str | None]:
    """Return the version of ftonnx and of every package that its users need or may have; None where it is absent."""
    found: dict[str, str | None] = {_PACKAGE: metadata.version(_PACKAGE)}
    for requirement in metadata.requires(_PACKAGE) or []:
        if _FOR_DEVELOPERS.search(requirement):
            continue
        name = _NAME.match(requirement)
        if name is not None and name[0] not in found:
            found[name[0]] = _version(name[0])
    return found


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _vector_units() -> list[str]:
    words = {word for fact in processor_facts() for word in fact.split()}
    return [unit for unit in _UNITS if unit in words]


def _temporary() -> dict[str, Any]:
    """Return the folder for temporary files, and how much campaigns without a folder have left there."""
    root = temporary_root()
    left = list(root.glob("ftonnx-*"))
    size = sum(_size(each) for each in left)
    return {"path": str(root), "free": shutil.disk_usage(root).free, "left": len(left), "bytes": size}


def _folder(path: Path | None) -> dict[str, Any] | None:
    """Return a cache's place and size; None where there is none."""
    if path is None:
        return None
    return {"path": str(path), "bytes": _size(path)}


def _size(path: Path) -> int:
    """Return the bytes of all files in a folder, 0 where it is not there; files may go meanwhile."""
    sizes = 0
    for folder, _, names in os.walk(path):
        for name in names:
            sizes += _bytes_of(os.path.join(folder, name))
    return sizes


def _bytes_of(file: str) -> int:
    try:
        return os.lstat(file).st_size
    except FileNotFoundError:
        return 0
