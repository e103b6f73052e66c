"""The fault core: which bits a model has, which of them flip, and how a flip changes a stored element.

Pure numpy and onnx. Not aware of sessions, data sets, accuracy or files of results.
"""

from ftonnx.inject.chosen_names import ROLES
from ftonnx.inject.fault_models import (
    FAULT_MODELS,
    Accumulation,
    AsymmetricRates,
    BitFlipRates,
    Bursts,
    EveryBit,
    FaultCount,
    FaultList,
    FaultModel,
    Option,
    PerLayer,
    PublishedFaults,
    Strata,
    Stratum,
    StuckCount,
    StuckRates,
    ValueRates,
    asked_kinds,
    bits_per_upset,
    fault_model_from_dict,
    fits_environment,
    flips_in,
    histories_in,
    is_of_upsets,
    unit_rng,
)
from ftonnx.inject.faults import FaultRecord, Faults, faulty_model, list_faults
from ftonnx.inject.formats import (
    AUTO,
    FORMAT_KEY,
    FixedPoint,
    Format,
    Packed,
    RawBits,
    check_format,
    format_note,
    parse_format,
)
from ftonnx.inject.guards import Guard, GuardedMemory, ProtectionPlan
from ftonnx.inject.left_out import Coverage, LeftOut
from ftonnx.inject.loops import has_loops
from ftonnx.inject.model_file import OnnxModel, load_model
from ftonnx.inject.randomness import RandomNode, random_nodes
from ftonnx.inject.space import FaultSpace
from ftonnx.inject.target import Target

__all__ = [
    "AUTO",
    "FAULT_MODELS",
    "FORMAT_KEY",
    "ROLES",
    "Accumulation",
    "AsymmetricRates",
    "BitFlipRates",
    "Bursts",
    "Coverage",
    "EveryBit",
    "FaultCount",
    "FaultList",
    "FaultModel",
    "FaultRecord",
    "FaultSpace",
    "Faults",
    "FixedPoint",
    "Format",
    "Guard",
    "GuardedMemory",
    "LeftOut",
    "OnnxModel",
    "Option",
    "Packed",
    "PerLayer",
    "ProtectionPlan",
    "PublishedFaults",
    "RandomNode",
    "RawBits",
    "Strata",
    "Stratum",
    "StuckCount",
    "StuckRates",
    "Target",
    "ValueRates",
    "asked_kinds",
    "bits_per_upset",
    "check_format",
    "fault_model_from_dict",
    "faulty_model",
    "fits_environment",
    "flips_in",
    "format_note",
    "has_loops",
    "histories_in",
    "is_of_upsets",
    "list_faults",
    "load_model",
    "parse_format",
    "random_nodes",
    "unit_rng",
]
