"""What is printed of studies."""

from ftonnx.campaign.results.comparison import Outcome, Pairing
from ftonnx.studies.plan import PlannedStep
from ftonnx.studies.shipped.parts import Part
from json_outputs.base import Object, all_of

__all__ = ["Presets", "StudyDryRun", "StudyTables"]

Step = all_of(PlannedStep, path=str | None)
PresetPart = all_of(Part)


class CellNames(Object, frozen=True):
    """Which campaign.

    Attributes:
        model: its name.
        data: its name.
        faults: their name.
        protect: none, or the protection.
        quantize: none, ptq or qat.
    """

    model: str
    data: str
    faults: str
    protect: str
    quantize: str


class Entry(CellNames, frozen=True):
    """A number of a table.

    Attributes:
        model: its name.
        data: its name.
        faults: their name.
        protect: none, or the protection.
        quantize: none, ptq or qat.
        column: of the table: a rate, or what else was measured.
        value: a fraction; null where there is none.
        low: its lower limit, likewise.
        high: its upper limit, likewise.
        mark: what is said of it, such as best; empty for nothing.
    """

    column: str
    value: float | None
    low: float | None
    high: float | None
    mark: str


class DifferenceEntry(CellNames, frozen=True):
    """A difference to the same model as it is.

    Attributes:
        model: its name.
        data: its name.
        faults: their name.
        protect: none, or the protection.
        quantize: none, ptq or qat.
        column: a rate.
        difference: of fractions; null where there is none, as all that follows.
        low: its lower limit.
        high: its upper limit.
        p_value: that fits the interval.
        p_holm: the same, corrected over the whole study.
        outcome: in words.
        pairing: what both campaigns share.
    """

    column: str
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    p_holm: float | None
    outcome: Outcome | None
    pairing: Pairing | None


class PublishedEntry(CellNames, frozen=True):
    """A published number beside the measured one.

    Attributes:
        model: its name.
        data: its name.
        faults: their name.
        protect: none, or the protection.
        quantize: none, ptq or qat.
        rate: flips per bit.
        figure: what the number is.
        published: the number, a fraction.
        measured: here.
        low: lower limit of what was measured; null where there is none.
        high: upper limit, likewise.
        difference: measured minus published.
        open: what faults and images leave open.
        within: whether the difference is within that.
    """

    rate: float
    figure: str
    published: float
    measured: float
    low: float | None
    high: float | None
    difference: float
    open: float | None
    within: bool | None


class Failure(Object, frozen=True):
    """A cell that failed.

    Attributes:
        cell: its name.
        reason: why.
    """

    cell: str
    reason: str


class StudyTables(Object, frozen=True):
    """What a study found.

    Attributes:
        study: its name.
        cells: their number.
        entries: of all tables.
        differences: to the same models as they are.
        published: numbers beside the measured ones.
        failures: cells that failed.
        warnings: what a reader must know first.
    """

    study: str
    cells: int
    entries: list[Entry]
    differences: list[DifferenceEntry]
    published: list[PublishedEntry]
    failures: list[Failure]
    warnings: list[str]


class StudyDryRun(Object, frozen=True):
    """What a study would do.

    Attributes:
        study: its name.
        steps: each behind the one that it is made from.
        seconds: that the campaigns will take, but for those that are left out.
        left_out: names of steps whose time nobody knows.
    """

    study: str
    steps: list[Step]
    seconds: float
    left_out: list[str]


class PresetEntry(Object, frozen=True):
    """A study that is shipped.

    Attributes:
        name: of it.
        title: what it is.
        parts: what it needs.
    """

    name: str
    title: str
    parts: list[PresetPart]


class Presets(Object, frozen=True):
    """The studies that are shipped.

    Attributes:
        presets: one by one.
    """

    presets: list[PresetEntry]
