"""Which bit or tensor does most harm, and whether that can be told from the next one.

What is random is the injection: all images meet the same flip, so an interval that counts images is far too narrow.
Not aware of stores, tables or words.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.estimate import CONFIDENCE, Estimate, check_confidence
from ftonnx.campaign.intervals import clopper_pearson

__all__ = [
    "Group",
    "Hits",
    "Ranking",
    "Sampling",
    "anytime_proportion",
    "critical_share",
    "listed",
    "rank",
    "sampling_of",
    "spans",
]

Sampling = Literal["random", "anytime", "every", "some"]
"""How injections were chosen: at random, as many as were planned; at random, and perhaps ended early; every bit of
the fault space; only its first bits, which tell nothing about the others."""

_PRIOR: Final = 0.5  # Jeffreys' prior: little is lost at shares near 0, where most bits are
_HALVINGS: Final = 50
_FEW: Final = 3
"""So many groups that cannot be told apart are named; more are counted."""


class Hits(NamedTuple):
    """What the injections into one bit or tensor did.

    Attributes:
        injections: their number.
        images: that were run with them, each counted once per injection.
        critical: images with another class (SDC-1).
    """

    injections: int
    images: int
    critical: int

    def __add__(self, other: object) -> "Hits":
        """Add up two groups.

        >>> Hits(1, 100, 30) + Hits(2, 200, 5)
        Hits(injections=3, images=300, critical=35)
        """
        if not isinstance(other, Hits):
            return NotImplemented
        return Hits(self.injections + other.injections, self.images + other.images, self.critical + other.critical)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One bit, tensor, or bit of a tensor.

    Attributes:
        name: of it.
        injections: that hit it.
        share: of the images that got another class.
    """

    name: str
    injections: int
    share: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Groups by the share of images that got another class.

    Attributes:
        groups: the largest share first. Their intervals hold one by one.
        worst: those of which none is shown to be worse; a single one has been told from all others.
        sampling: how the injections were chosen.
    """

    groups: tuple[Group, ...]
    worst: tuple[Group, ...]
    sampling: Sampling

    @property
    def harmless(self) -> bool:
        """Whether no image got another class at all, so that there is no order."""
        return all(group.share.mean == 0 for group in self.groups)

    @property
    def named(self) -> bool:
        """Whether those that may be the worst are worth naming: few, or an exact tie."""
        return len(self.worst) <= _FEW or self.sampling == "every"

    def words(self, noun: str) -> str:
        """Say which group is the worst, or why that cannot be told.

        Args:
            noun: what the groups are, such as ``bit``.

        >>> rank({"30": Hits(30, 3000, 1200), "29": Hits(30, 3000, 1100)}, "random").words("bit")
        'bits 30 and 29 cannot be told apart'
        """
        if self.sampling == "some":
            return f"{noun}s are not ranked: the first bits of a fault space are no random sample of it"
        if self.harmless:
            return f"{noun}s are not ranked: no image got another class"
        names = [group.name for group in self.worst]
        one, several = ("", "") if noun == "cell" else (f"{noun} ", f"{noun}s ")  # a cell's name says what it is
        if len(self.groups) == 1:
            return f"only {one}{names[0]} was hit"
        if len(names) == 1:
            return f"{one}{names[0]} does more harm than any other"
        if self.sampling == "every":
            return f"{several}{spans(names)} do equal harm, and more than any other"
        if self.named:
            return f"{several}{listed(names)} cannot be told apart"
        which = f": {spans(names)}" if noun == "bit" else ""
        start = f"the ranking of {noun}s is not separable"
        if len(names) == len(self.groups):
            return f"{start}: any of the {len(names)} that were hit may be the worst"
        return f"{start}: {len(names)} of the {len(self.groups)} that were hit may be the worst{which}"


def sampling_of(
    settings: Mapping[str, Any], stopping: Mapping[str, Any] | None, found: Sequence[Hits], *, bits: int, samples: int
) -> Sampling:
    """Say how the injections of a campaign were chosen.

    Args:
        settings: the campaign's.
        stopping: what could end it early; None where nothing could.
        found: what was recorded, in any grouping.
        bits: that can flip.
        samples: images of the data set.
    """
    if settings["exhaustive"]:
        injections = sum(hits.injections for hits in found)
        images = sum(hits.images for hits in found)
        return "every" if (injections, images) == (bits, bits * samples) else "some"
    return "anytime" if stopping else "random"


def critical_share(hits: Hits, sampling: Sampling, confidence: float = CONFIDENCE) -> Estimate:
    """Return the share of images that got another class, with an interval over injections.

    Clopper and Pearson's interval for the sum of the injections' fractions: fractions vary less than yes or no
    does, so it is conservative.

    >>> critical_share(Hits(5, 500, 100), "random")  # as clopper_pearson(1, 5), not (100, 500)
    Estimate(mean=0.2, low=0.00505..., high=0.7164..., confidence=0.95)
    >>> critical_share(Hits(5, 500, 100), "every").low, critical_share(Hits(5, 500, 100), "some").low
    (0.2, None)
    """
    mean = hits.critical / hits.images
    if sampling == "every":
        return Estimate.exact(mean, confidence=confidence)
    if sampling == "some":
        return Estimate(mean, None, None, confidence)
    limits = anytime_proportion if sampling == "anytime" else clopper_pearson
    found = limits(mean * hits.injections, hits.injections, confidence)
    return Estimate(mean, found.low, found.high, confidence)


def anytime_proportion(x: float, n: float, confidence: float = CONFIDENCE) -> Estimate:
    """Return an interval for a proportion that holds whenever sampling is ended.

    It leaves out every p against which a Beta mixture of likelihoods has gathered evidence of 1 / (1 - confidence)
    (Robbins 1970; Ville's inequality). Of all values in [0, 1] with mean p, yes and no give the largest expected
    likelihood ratio, so a sum of fractions makes it conservative.

    Args:
        x: successes; may be a sum of fractions in [0, 1].
        n: trials, above 0.
        confidence: of the interval, at all times together.

    >>> anytime_proportion(3, 1000)
    Estimate(mean=0.003, low=0.00012..., high=0.01431..., confidence=0.95)
    """
    mean = x / n
    most = -math.log1p(-check_confidence(confidence))
    mixed = _log_beta(x + _PRIOR, n - x + _PRIOR) - _log_beta(_PRIOR, _PRIOR)

    def evidence(p: float) -> float:
        if not 0 < p < 1:
            return math.inf
        return mixed - x * math.log(p) - (n - x) * math.log1p(-p)

    low = 0.0 if mean == 0 else _threshold(evidence, most, mean, 0.0)
    high = 1.0 if mean == 1 else _threshold(evidence, most, mean, 1.0)
    return Estimate(mean, low, high, confidence)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _threshold(evidence: Callable[[float], float], most: float, mean: float, end: float) -> float:
    """Return where the evidence reaches a limit on the way from the mean to 0 or 1, along which it grows."""
    inside, outside = mean, end
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if evidence(middle) < most else (inside, middle)
    return outside


def rank(groups: Mapping[str, Hits], sampling: Sampling, confidence: float = CONFIDENCE) -> Ranking:
    """Order groups by their shares, and say which of them may be the worst.

    A group is not the worst if another one is shown to be worse: if the interval of their difference lies above 0.
    The worst was picked among many, so a limit of a difference errs with probability (1 - confidence) / groups at
    most (Bonferroni). Then the true worst is left out, or one of several equally bad groups is named alone, in no
    more than 1 - confidence of all campaigns. docs/statistics.md has how often that was.

    >>> alike = rank({"30": Hits(30, 3000, 1200), "29": Hits(30, 3000, 1100)}, "random")
    >>> [group.name for group in alike.worst]
    ['30', '29']
    >>> [group.name for group in rank({"31": Hits(30, 3000, 2700), "0": Hits(30, 3000, 6)}, "random").worst]
    ['31']
    """
    ordered = sorted(groups.items(), key=lambda item: -item[1].critical / item[1].images)
    found = [
        Group(name=name, injections=hits.injections, share=critical_share(hits, sampling, confidence))
        for name, hits in ordered
    ]
    beaten = _beaten([hits for _, hits in ordered], sampling, check_confidence(confidence))
    worst = [group for group, is_beaten in zip(found, beaten, strict=True) if not is_beaten]
    return Ranking(groups=tuple(found), worst=tuple(worst), sampling=sampling)


def _beaten(hits: Sequence[Hits], sampling: Sampling, confidence: float) -> list[bool]:
    """Say of each group whether another one is shown to be worse."""
    if sampling == "some" or not hits:
        return [False] * len(hits)
    error = (1 - confidence) / len(hits)
    estimates = [critical_share(each, sampling, 1 - 2 * error) for each in hits]
    mean, low, high = np.array([(each.mean, each.low, each.high) for each in estimates], np.float64).T
    if sampling == "random":
        return [
            bool(_is_worse(mean, mean - low, mean[index], high[index] - mean[index]).any())
            for index in range(len(hits))
        ]
    return [bool(limit < low.max()) for limit in high]


def _is_worse(mean: NDArray[np.float64], down: NDArray[np.float64], other: float, up: float) -> NDArray[np.bool_]:
    """Return whether differences to another share lie above 0: limits of two independent shares make one of theirs.

    Two intervals that just touch are a far stricter test than their difference (Zou and Donner 2008).
    """
    found: NDArray[np.bool_] = mean - other > np.hypot(down, up)
    return found


def listed(names: Sequence[str]) -> str:
    """Return names as a text.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def spans(names: Sequence[str]) -> str:
    """Return numbers as ranges, and any other names as they are.

    >>> spans(["31", "20", "21", "22"]), spans(["b", "a"])
    ('20 to 22 and 31', 'b and a')
    """
    if not all(name.isdecimal() for name in names):
        return listed(names)
    runs: list[list[int]] = []
    for number in sorted(map(int, names)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = []
    for run in runs:
        texts += [f"{run[0]} to {run[-1]}"] if len(run) > 2 else [str(number) for number in run]
    return listed(texts)
