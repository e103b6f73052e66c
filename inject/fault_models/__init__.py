"""Fault models, one file each: which bits flip, as values that draw, name and describe themselves.

Not aware of campaigns, of the command line that asks for them, or of the folders that they are written to.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

from ftonnx.errors import UsageError
from ftonnx.inject.fault_models.accumulation import Accumulation
from ftonnx.inject.fault_models.asymmetric_rates import AsymmetricRates
from ftonnx.inject.fault_models.base import FaultModel
from ftonnx.inject.fault_models.bit_flip_rates import BitFlipRates
from ftonnx.inject.fault_models.bursts import Bursts
from ftonnx.inject.fault_models.every_bit import EveryBit
from ftonnx.inject.fault_models.fault_count import FaultCount
from ftonnx.inject.fault_models.fault_list import FaultList
from ftonnx.inject.fault_models.of_environment import (
    bits_per_upset,
    fits_environment,
    flips_in,
    histories_in,
    is_of_upsets,
)
from ftonnx.inject.fault_models.options import Option
from ftonnx.inject.fault_models.per_layer import PerLayer
from ftonnx.inject.fault_models.published_faults import PublishedFaults
from ftonnx.inject.fault_models.sampling import distinct_positions, unit_rng
from ftonnx.inject.fault_models.strata import Strata, Stratum
from ftonnx.inject.fault_models.stuck_count import StuckCount
from ftonnx.inject.fault_models.stuck_rates import StuckRates
from ftonnx.inject.fault_models.value_rates import ValueRates

__all__ = [
    "FAULT_MODELS",
    "Accumulation",
    "AsymmetricRates",
    "BitFlipRates",
    "Bursts",
    "EveryBit",
    "FaultCount",
    "FaultList",
    "FaultModel",
    "Option",
    "PerLayer",
    "PublishedFaults",
    "Strata",
    "Stratum",
    "StuckCount",
    "StuckRates",
    "ValueRates",
    "asked_kinds",
    "bits_per_upset",
    "distinct_positions",
    "fault_model_from_dict",
    "fits_environment",
    "flips_in",
    "histories_in",
    "is_of_upsets",
    "unit_rng",
]

FAULT_MODELS: Final[tuple[type[FaultModel], ...]] = (
    BitFlipRates,
    Bursts,
    Accumulation,
    StuckRates,
    AsymmetricRates,
    ValueRates,
    FaultCount,
    StuckCount,
    EveryBit,
    PerLayer,
    Strata,
    FaultList,
)
"""All of them; a new one needs a file of its own and a line here. Their options are listed in this order."""


def asked_kinds(given: Collection[str]) -> list[type[FaultModel]]:
    """Return the fault models that options ask for, those that have all of them, and one that no other has.

    Args:
        given: names of options, at least one.

    >>> [kind.name for kind in asked_kinds(["burst_rate", "burst_sizes"])], asked_kinds(["burst_sizes"])
    (['bursts'], [])
    >>> asked_kinds(["rate", "burst_sizes"])
    []
    """
    names = {kind: {option.name for option in kind.options} for kind in FAULT_MODELS}
    found = []
    for kind in FAULT_MODELS:
        others = [names[other] for other in FAULT_MODELS if other is not kind]
        own = names[kind].difference(*others)
        if names[kind].issuperset(given) and not own.isdisjoint(given):
            found.append(kind)
    return found


def fault_model_from_dict(values: Mapping[str, Any]) -> FaultModel:
    """Return the fault model that ``FaultModel.to_dict`` wrote.

    Raises:
        UsageError: the model is not known.

    >>> fault_model_from_dict({"name": "faults-per-run", "count": 2})
    FaultCount(count=2)
    """
    for kind in FAULT_MODELS:
        if kind.name == values["name"]:
            return kind.from_dict(values)
    known = ", ".join(kind.name for kind in FAULT_MODELS)
    raise UsageError(f"fault model {values['name']!r} is not known: {known}")
