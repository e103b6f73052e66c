"""What stands in ``campaign.json``: the identity of a campaign, and what else its readers want to know."""

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from ftonnx.campaign.plan import CampaignSettings
from ftonnx.campaign.store import SCHEMA_VERSION
from ftonnx.datasets import Dataset
from ftonnx.inject import FaultSpace, OnnxModel
from ftonnx.runtime import FaultySession

__all__ = ["cpu_name", "header_of", "identity_of", "versions"]


def identity_of(model: OnnxModel, data: Dataset, space: FaultSpace, settings: CampaignSettings) -> dict[str, Any]:
    """Return what decides the counts; a folder holds one identity."""
    return {
        "model": model.sha256,
        "data": data.fingerprint,
        "fault_space": space.fingerprint,
        "settings": settings.identity(),
        "versions": versions(),
    }


def header_of(
    model: OnnxModel, data: Dataset, space: FaultSpace, settings: CampaignSettings, session: FaultySession
) -> dict[str, Any]:
    """Return the content of ``campaign.json``."""
    return {
        "schema_version": SCHEMA_VERSION,
        "identity": identity_of(model, data, space, settings),
        "model": {"name": model.name, "path": model.path and str(model.path), "sha256": model.sha256},
        "data": {
            "name": data.name,
            "split": data.split,
            "samples": len(data),
            "classes": data.classes,
            "sha256": data.fingerprint,
        },
        "fault_space": {
            "bits": space.bits,
            "elements": space.elements,
            "targets": len(space.targets),
            "formats": list(space.formats),
        },
        "settings": settings.to_dict(),
        "source": dict(data.source),
        "targets": [target.to_dict() for target in space.targets],
        "engine": {
            "strategy": session.strategy,
            "fallback": session.fallback,
            "providers": list(session.options.providers),
            "threads": settings.threads,
            "onnxruntime": onnxruntime.__version__,
        },
        "machine": {
            "python": platform.python_version(),
            "onnx": onnx.__version__,
            "platform": platform.platform(),
            "cpu": cpu_name(),
        },
    }


def versions() -> dict[str, str]:
    """Return the versions of what decides results; onnxruntime's own, whichever of its wheels is installed."""
    return {
        "ftonnx": metadata.version("ftonnx"),
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
    }


def cpu_name() -> str:
    """Return the processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
