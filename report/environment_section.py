"""The section on environments: how long a memory takes to collect the upsets of the tested rates."""

from typing import Final

from ftonnx.campaign.results.rate_gap import written_rate
from ftonnx.environment.radiation import PLACES, duration_text, time_to_reach
from ftonnx.inject import bits_per_upset, is_of_upsets
from ftonnx.report.cells import Named
from ftonnx.report.formats import rate_text
from ftonnx.report.page import Section, Table

__all__ = ["environment_section"]

_TEXT: Final = (
    "How long a memory takes to collect that many upsets, where nothing corrects or reloads it in between. These are "
    "orders of magnitude: memories differ, and so do places. Where the time is long, the rate stands for a stress "
    "test, or for a memory with low voltage or wear. Only these rates were measured; nothing is said about those "
    "between them, below or above."
)
_GUARDED: Final = " Guards correct words when these are read, after that time."
_SEVERAL: Final = " FIT count upsets; where one flips several bits, as many flips take fewer of them, and less time."


def environment_section(named: Named) -> Section | None:
    """Return how long it takes to the rates of campaigns whose flips are upsets of a memory; None where none are.

    Args:
        named: campaigns at fault rates.
    """
    collected = []
    for _, result in named:
        if is_of_upsets(result.faults) and not result.fault_space.has_activations:
            collected.append(result)
    if not collected:
        return None
    text = _TEXT
    if any(result.settings.protection is not None for result in collected):
        text += _GUARDED
    reached = set()
    for result in collected:
        bits = bits_per_upset(result.faults)
        reached |= {(written_rate(rate.rate), bits) for rate in result.rates if rate.rate > 0}
    if any(bits > 1 for _, bits in reached):
        text += _SEVERAL
    rows = []
    for rate, bits in sorted(reached):
        label = rate_text(rate) if bits == 1 else f"{rate_text(rate)} ({bits:.3g} bits at once)"
        # a bit is hit as often as upsets begin at it and at its neighbours
        times = [duration_text(time_to_reach(rate, upsets * bits)) for upsets in PLACES.values()]
        rows.append([label, *times])
    table = Table("Time until the rate is reached", ["rate", *PLACES], rows, left=4)
    return Section("environment", "How often this happens", text=[text], tables=[table])
