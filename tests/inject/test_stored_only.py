"""Faults of a memory, which do not reach what is computed."""

import pytest
from onnx_zoo import small_cnn

from ftonnx.campaign import Settings
from ftonnx.campaign.plan.schedule import Schedule
from ftonnx.errors import UsageError
from ftonnx.inject import (
    Accumulation,
    AsymmetricRates,
    BitFlipRates,
    Bursts,
    FaultSpace,
    Guard,
    ProtectionPlan,
    StuckCount,
    StuckRates,
    ValueRates,
)

BOTH = FaultSpace.of(small_cnn(), roles=("weight", "activation"))


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        (StuckRates(1e-3, at=1), "stuck bits"),
        (StuckCount(1, at=1), "stuck bits"),
        (AsymmetricRates(rates_1to0=1e-3), "rates by stored value"),
        (ValueRates(1e-3, "zero"), "value faults"),
        (Accumulation("1h", 1e-3), "histories"),
        (Bursts(1e-3, 2, along="row", memory="words=32,columns=64"), "bursts by a map of the memory"),
    ],
)
def test_faults_of_a_memory_are_refused_where_activations_flip(faults, said):
    """Before anything is drawn, whatever the first pattern would hit."""
    with pytest.raises(UsageError, match=f"{said} are of what a memory stores: no activations were expected"):
        faults.levels(BOTH)


def test_a_protection_plan_is_refused_where_activations_flip():
    """Guards are of a memory too."""
    settings = Settings(protection=ProtectionPlan([Guard("*", "parity")]), repeats=1)
    with pytest.raises(UsageError, match="guards are of what a memory stores"):
        Schedule.on(BOTH, BitFlipRates(1e-3), settings)


def test_neighbours_in_stored_order_are_not():
    """Activations lie in some memory, element after element."""
    assert Bursts(1e-3, 2).levels(BOTH) == (1e-3,)
