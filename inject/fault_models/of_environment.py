"""Fault models of a radiation environment: its upsets at rates, or as they accumulate."""

from collections.abc import Iterable

from ftonnx.environment.radiation import Environment
from ftonnx.errors import UsageError
from ftonnx.inject.fault_models.accumulation import Accumulation
from ftonnx.inject.fault_models.base import FaultModel
from ftonnx.inject.fault_models.bit_flip_rates import BitFlipRates
from ftonnx.inject.fault_models.bursts import Bursts
from ftonnx.inject.roles import ACTIVATION
from ftonnx.words import HOURS_PER_DAY

__all__ = [
    "bits_per_upset",
    "fits_environment",
    "flips_in",
    "histories_in",
    "is_of_upsets",
    "require_stored",
]


def flips_in(place: Environment, rates: float | Iterable[float]) -> FaultModel:
    """Return flips at rates as an environment's upsets make them: one by one, or in bursts.

    Args:
        place: the environment.
        rates: flips per bit, such as its own ``rate``.

    >>> flips_in(Environment(upsets_per_bit_day=1e-7), 1e-6)
    BitFlipRates(rates=(1e-06,))
    """
    if place.shape.sizes.is_single:
        return BitFlipRates(rates)
    return Bursts(rates, place.sizes, place.along, place.memory)


def histories_in(place: Environment, hours: Iterable[float]) -> Accumulation:
    """Return the upsets of an environment as they accumulate.

    Args:
        place: the environment.
        hours: since the memory was loaded.

    Raises:
        UsageError: a time is beyond the next scrub.

    >>> histories_in(Environment.of(fit_per_mbit=1e6, scrub="1d"), [6.0, 24.0]).upsets_per_bit_day
    2.4e-08
    """
    per_day = place.upsets_per_bit_hour * HOURS_PER_DAY
    return Accumulation(
        hours,
        # a rate of 1e-7 per day is one again, not 1.0000000000000001e-7
        float(f"{per_day:.12g}"),
        place.sizes,
        place.along,
        place.memory,
        place.interval if place.scrubbed else None,
    )


def is_of_upsets(faults: FaultModel) -> bool:
    """Say whether the rates of a fault model are such as upsets come to, with time."""
    return isinstance(faults, BitFlipRates | Bursts | Accumulation)


def bits_per_upset(faults: FaultModel) -> float:
    """Return how many bits an upset flips in the mean, where the rates of a fault model are such as upsets come to.

    >>> bits_per_upset(BitFlipRates(1e-6)), bits_per_upset(Bursts(1e-6, "2:0.5,4:0.5"))
    (1.0, 3.0)
    """
    return faults.shape.sizes.mean if isinstance(faults, Bursts | Accumulation) else 1.0


def fits_environment(faults: FaultModel, place: Environment) -> bool:
    """Say whether a campaign's flips at rates are as an environment's upsets make them."""
    if isinstance(faults, Accumulation | Bursts):
        return faults.shape == place.shape
    return isinstance(faults, BitFlipRates) and place.shape.sizes.is_single


def require_stored(roles: Iterable[str]) -> None:
    """Refuse to turn upsets of a memory into flips of tensors that lie in it for a part of a run only.

    Args:
        roles: of the tensors whose bits count.

    Raises:
        UsageError: one is computed.
    """
    if ACTIVATION in roles:
        raise UsageError(
            f"an environment upsets what is stored all the time: bits of other roles than {ACTIVATION} were expected"
        )
