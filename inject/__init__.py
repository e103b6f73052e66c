"""The fault core: which bits a model has, which of them flip, and how a flip changes a stored element.

Pure numpy and onnx. Not aware of sessions, data sets, accuracy or files of results.
"""

from ftonnx.inject.fault_models import BitFlipRate, EveryBit, FaultCount, FaultList, FaultModel, PerLayer, unit_rng
from ftonnx.inject.faults import FaultRecord, Faults, faulty_model, list_faults
from ftonnx.inject.formats import FixedPoint, Format, Packed, RawBits, parse_format
from ftonnx.inject.model_file import OnnxModel, load_model
from ftonnx.inject.randomness import RandomNode, random_nodes
from ftonnx.inject.space import ROLES, FaultSpace, Target

__all__ = [
    "ROLES",
    "BitFlipRate",
    "EveryBit",
    "FaultCount",
    "FaultList",
    "FaultModel",
    "FaultRecord",
    "FaultSpace",
    "Faults",
    "FixedPoint",
    "Format",
    "OnnxModel",
    "Packed",
    "PerLayer",
    "RandomNode",
    "RawBits",
    "Target",
    "faulty_model",
    "list_faults",
    "load_model",
    "parse_format",
    "random_nodes",
    "unit_rng",
]
