"""ftonnx: how accurate is a deployed ONNX network when its memory takes bit flips?

``import ftonnx`` is cheap: a name is loaded from its room when it is first used.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftonnx.advice import Advice, Candidates, advise
    from ftonnx.campaign import (
        Campaign,
        CampaignResult,
        Comparison,
        Readiness,
        Settings,
        check,
        compare,
        evaluate,
        merge,
        replay,
    )
    from ftonnx.datasets import Dataset, load_dataset
    from ftonnx.errors import (
        DataError,
        FtonnxError,
        IncompleteError,
        Interrupted,
        ModelError,
        StoreError,
        UsageError,
    )
    from ftonnx.export import export_module
    from ftonnx.gates import GateVerdict, Goal, gate
    from ftonnx.inject import (
        BitFlipRates,
        Bursts,
        EveryBit,
        FaultCount,
        FaultList,
        Faults,
        FaultSpace,
        Guard,
        PerLayer,
        ProtectionPlan,
        Strata,
        Stratum,
        load_model,
    )
    from ftonnx.mitigate import protect, quantize
    from ftonnx.runtime import FaultySession
    from ftonnx.tasks import Classification

# ONNX Runtime would keep a telemetry database in the user's cache folder from its import on.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_ROOMS = {
    "advice": ("Advice", "Candidates", "advise"),
    "campaign": (
        "Campaign",
        "CampaignResult",
        "Comparison",
        "Readiness",
        "Settings",
        "check",
        "compare",
        "evaluate",
        "merge",
        "replay",
    ),
    "datasets": ("Dataset", "load_dataset"),
    "errors": ("DataError", "FtonnxError", "IncompleteError", "Interrupted", "ModelError", "StoreError", "UsageError"),
    "export": ("export_module",),
    "gates": ("GateVerdict", "Goal", "gate"),
    "inject": (
        "BitFlipRates",
        "Bursts",
        "EveryBit",
        "FaultCount",
        "FaultList",
        "FaultSpace",
        "Faults",
        "Guard",
        "PerLayer",
        "ProtectionPlan",
        "Strata",
        "Stratum",
        "load_model",
    ),
    "mitigate": ("protect", "quantize"),
    "runtime": ("FaultySession",),
    "tasks": ("Classification",),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "Advice",
    "BitFlipRates",
    "Bursts",
    "Campaign",
    "CampaignResult",
    "Candidates",
    "Classification",
    "Comparison",
    "DataError",
    "Dataset",
    "EveryBit",
    "FaultCount",
    "FaultList",
    "FaultSpace",
    "Faults",
    "FaultySession",
    "FtonnxError",
    "GateVerdict",
    "Goal",
    "Guard",
    "IncompleteError",
    "Interrupted",
    "ModelError",
    "PerLayer",
    "ProtectionPlan",
    "Readiness",
    "Settings",
    "StoreError",
    "Strata",
    "Stratum",
    "UsageError",
    "advise",
    "check",
    "compare",
    "evaluate",
    "export_module",
    "gate",
    "load_dataset",
    "load_model",
    "merge",
    "protect",
    "quantize",
    "replay",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its room (PEP 562)."""
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'ftonnx' has no attribute {name!r}")
    value = getattr(import_module(f"ftonnx.{_ROOM_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
