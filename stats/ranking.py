"""Which bit or tensor does most harm, and whether that can be told from the next one.

What is random is the injection: all images meet the same flip, so an interval that counts images is far too narrow.
Not aware of stores, tables or words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftonnx.stats.estimate import CONFIDENCE, Estimate, check_confidence
from ftonnx.stats.proportions import anytime_proportion, clopper_pearson
from ftonnx.words import whole_of

__all__ = [
    "Group",
    "Hits",
    "Ranking",
    "Sampling",
    "critical_share",
    "listed",
    "rank",
    "sampling_of",
    "spans",
]

Sampling = Literal["random", "anytime", "every", "some"]
"""How injections were chosen: at random, as many as were planned; at random, and perhaps ended early; every bit of
the fault space; only its first bits, which tell nothing about the others."""

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
        return Hits(
            injections=self.injections + other.injections,
            images=self.images + other.images,
            critical=self.critical + other.critical,
        )


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
        if len(names) == 1:
            return self._words_of_one(noun, names[0])
        several = f"{noun}s "
        if noun == "cell":  # its name says what it is
            several = ""
        if self.sampling == "every":
            return f"{several}{spans(names)} do equal harm, and more than any other"
        if self.named:
            return f"{several}{listed(names)} cannot be told apart"
        return self._words_of_many(noun, names)

    def _words_of_one(self, noun: str, name: str) -> str:
        """Say that one group is the worst."""
        one = f"{noun} {name}"
        if noun == "cell":
            one = name
        if len(self.groups) == 1:
            return f"only {one} was hit"
        return f"{one} does more harm than any other"

    def _words_of_many(self, noun: str, names: Sequence[str]) -> str:
        """Say that too many groups may be the worst to name them, unless they are numbers."""
        start = f"the ranking of {noun}s is not separable"
        if len(names) == len(self.groups):
            return f"{start}: any of the {len(names)} that were hit may be the worst"
        counts = f"{len(names)} of the {len(self.groups)} that were hit may be the worst"
        if noun == "bit":
            return f"{start}: {counts}: {spans(names)}"
        return f"{start}: {counts}"


def sampling_of(found: Sequence[Hits], *, covers_all: bool, early: bool, bits: int, samples: int) -> Sampling:
    """Say how the injections of a campaign were chosen.

    Args:
        found: what was recorded, in any grouping.
        covers_all: the campaign injects every bit in turn.
        early: it could end early.
        bits: that can flip.
        samples: images of the data set.
    """
    if covers_all:
        # A bit that has not met all images yet was not tried: the campaign goes batch by batch.
        total = sum(found, start=Hits(0, 0, 0))
        if total.injections == bits and total.images == bits * samples:
            return "every"
        return "some"
    return "anytime" if early else "random"


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
    # All bits were tried: nothing is left to chance.
    if sampling == "every":
        return Estimate.exact(mean, confidence=confidence)
    # The first bits of a fault space are no random sample of it.
    if sampling == "some":
        return Estimate(mean, None, None, confidence)
    ruined = mean * hits.injections
    if sampling == "anytime":
        found = anytime_proportion(ruined, hits.injections, confidence)
    else:
        found = clopper_pearson(ruined, hits.injections, confidence)
    return Estimate(mean, found.low, found.high, confidence)


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
    check_confidence(confidence)

    def harm(name: str) -> float:
        return groups[name].critical / groups[name].images

    # Sorted by falling harm, and not reversed: groups of equal harm keep their order.
    names = sorted(groups, key=lambda name: -harm(name))
    ordered = [groups[name] for name in names]
    beaten = _beaten(ordered, sampling, confidence)
    found = []
    worst = []
    for name, hits, is_beaten in zip(names, ordered, beaten, strict=True):
        share = critical_share(hits, sampling, confidence)
        group = Group(name=name, injections=hits.injections, share=share)
        found.append(group)
        if not is_beaten:
            worst.append(group)
    return Ranking(groups=tuple(found), worst=tuple(worst), sampling=sampling)


def _beaten(hits: Sequence[Hits], sampling: Sampling, confidence: float) -> list[bool]:
    """Say of each group whether another one is shown to be worse."""
    if sampling == "some" or not hits:
        return [False] * len(hits)
    # Bonferroni: the worst was picked among all of them.
    error = (1 - confidence) / len(hits)
    means = []
    lows = []
    highs = []
    for each in hits:
        # Two-sided, so that each side errs with probability `error`.
        share = critical_share(each, sampling, 1 - 2 * error)
        means.append(share.mean)
        lows.append(share.low)
        highs.append(share.high)
    mean = np.array(means, np.float64)
    low = np.array(lows, np.float64)
    high = np.array(highs, np.float64)
    if sampling == "random":
        return _beaten_by_difference(mean, mean - low, high - mean)
    # Limits that hold at all times are known for the shares, not for their differences: they have to be apart.
    is_below = high < low.max()
    return [bool(each) for each in is_below]


def _beaten_by_difference(mean: NDArray[np.float64], down: NDArray[np.float64], up: NDArray[np.float64]) -> list[bool]:
    """Say of each share whether its difference to a larger one is shown: limits of both make one of the difference.

    Two intervals that just touch are a far stricter test than their difference (Zou and Donner 2008).

    Args:
        mean: shares, (groups,).
        down: from each share to its lower limit, (groups,).
        up: from each share to its upper limit, (groups,).
    """
    found = []
    for other, other_up in zip(mean, up, strict=True):
        is_worse = mean - other > np.hypot(down, other_up)
        found.append(bool(is_worse.any()))
    return found


def listed(names: Sequence[str]) -> str:
    """Return names as a text.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    if len(names) < 2:
        return "".join(names)
    start = ", ".join(names[:-1])
    return f"{start} and {names[-1]}"


def spans(names: Sequence[str]) -> str:
    """Return numbers as ranges, and any other names as they are.

    >>> spans(["31", "20", "21", "22"]), spans(["b", "a"])
    ('20 to 22 and 31', 'b and a')
    """
    if any(whole_of(name) is None for name in names):
        return listed(names)
    texts: list[str] = []
    for run in _runs(sorted(map(int, names))):
        if len(run) > 2:
            texts.append(f"{run[0]} to {run[-1]}")
        else:
            texts += map(str, run)
    return listed(texts)


def _runs(numbers: Sequence[int]) -> list[list[int]]:
    """Return ascending numbers in pieces without a gap.

    >>> _runs([20, 21, 22, 31])
    [[20, 21, 22], [31]]
    """
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return found
