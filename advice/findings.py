"""What single flips cost a model: as it is, behind a check of ranges, and where a code sets elements to zero."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ftonnx.advice.candidates import Candidates
from ftonnx.advice.harms import Harm, strata_of
from ftonnx.advice.measure import Measurement, measure
from ftonnx.advice.planning import names_of, plan_of, range_guard
from ftonnx.advice.result import HarmRanking
from ftonnx.advice.subject import Subject
from ftonnx.advice.tensors import tensor_harms
from ftonnx.advice.ways import TensorHarm, touched
from ftonnx.campaign import Budget
from ftonnx.datasets.subset import stratified_subset
from ftonnx.inject import Strata, Stratum
from ftonnx.inject.guards import CODES, Guard

__all__ = ["Findings", "find"]

_USUAL: Final = Budget(seconds=300)
_ZEROED: Final = 24  # words of each tensor
_IMAGES: Final = 32  # that meet them: what a word of zeros costs is little, and differs from image to image
_SEEDS: Final = {"flips": 1, "range": 2, "zero": 3}
"""Which seeds each measurement has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What single flips cost.

    Attributes:
        plain: of each tensor, as it is.
        behind: behind the check of ranges, where that may be used; else the same.
        ranking: how much is known of them.
    """

    plain: tuple[TensorHarm, ...]
    behind: tuple[TensorHarm, ...]
    ranking: HarmRanking


def find(subject: Subject, candidates: Candidates, rate: float, allowed: float) -> Findings:
    """Measure what single flips cost.

    Args:
        subject: the model and its data.
        candidates: what may be used to harden it.
        rate: flips per bit.
        allowed: accuracy that may be lost per run, the sum over single flips.

    Raises:
        FtonnxError: as ``evaluate``.
    """
    space = subject.space
    budget = subject.budget or _USUAL
    strata = strata_of(space)
    flips = Measurement(
        name="flips", what="single flips", number=_SEEDS["flips"], rate=rate, allowed=allowed, budget=budget
    )
    plain = measure(subject, flips, strata, range(len(strata)))
    injections = plain.injections
    behind = plain
    if candidates.has_range and plain.cut.guarded:
        ranged = Measurement(
            name="range",
            what="single flips behind a range check",
            number=_SEEDS["range"],
            rate=rate,
            allowed=allowed,
            budget=budget,
            protection=plan_of([range_guard(space, candidates)], candidates, None),
        )
        # what does no harm without the check does none with it
        behind = measure(subject, ranged, plain.harms, plain.cut.guarded)
        injections += behind.injections
    zeroed: dict[str, float] = {}
    guarded = [plain.harms[number] for number in plain.cut.guarded]
    if guarded and not candidates.reloads and any(CODES[code].detects for code in candidates.codes):
        zeroed = _zeroed(subject, candidates, guarded)
        injections += _ZEROED * len(zeroed)
    return Findings(
        plain=tensor_harms(space, plain.harms, zeroed),
        behind=tensor_harms(space, behind.harms, zeroed),
        ranking=HarmRanking(
            injections=injections,
            strata=len(strata),
            guarded=len(plain.cut.guarded),
            is_certain=plain.cut.is_certain,
        ),
    )


def _zeroed(subject: Subject, candidates: Candidates, guarded: Sequence[Harm]) -> dict[str, float]:
    """Return, by tensor, what it costs where one element becomes zero.

    Single flips meet parity on the bits that need a guard: every one of them sets a word to zero.
    """
    bits: dict[str, set[int]] = {}
    for harm in guarded:
        bits.setdefault(harm.tensor, set()).update(harm.bits)
    guards = [Guard(names_of([tensor]), "parity", sorted(own), "zero") for tensor, own in bits.items()]
    result = subject.run(
        "zero",
        "words set to zero",
        Strata(Stratum(tensor, tuple(own), _ZEROED) for tensor, own in bits.items()),
        data=stratified_subset(subject.data, _IMAGES, seed=subject.seed(_SEEDS["zero"], 0)),
        seed=subject.seed(_SEEDS["zero"], 1),
        protection=plan_of(guards, candidates, None),
    )
    elements = {target.tensor: target.elements for target in subject.space.targets}
    lost = dict.fromkeys(bits, 0.0)
    for row in result.vulnerability:
        lost[row.tensor] += row.injections * (result.clean - result.task.main.of(row.counts))
    return {
        tensor: max(0.0, lost[tensor]) / _ZEROED / touched(candidates.word_bits, len(own), elements[tensor])
        for tensor, own in bits.items()
    }
