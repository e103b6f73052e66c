"""The section on protected memories: what their guards did with the words that had flips."""

from typing import Final

from ftonnx.campaign.results.guarded import recorded_guarded_runs
from ftonnx.errors import ModelError, StoreError, UsageError
from ftonnx.report.cells import Named
from ftonnx.report.formats import number, percent
from ftonnx.report.page import MOST_ROWS, Section, Table
from ftonnx.report.words import level_words

__all__ = ["guards_section"]

_WORDS: Final = ("corrected", "detected", "reloaded", "miscorrected", "missed")
_MEANING: Final = (
    "Words with flips per run, check bits among them, by drawing so many patterns again. Corrected: right again. "
    "Detected: seen and not corrected, so set to zero, clamped, or the end of the run. Reloaded: seen, and read again "
    "from a copy without faults. Miscorrected: taken for corrected, and wrong. Missed: wrong, and nothing was seen."
)


def guards_section(named: Named) -> Section | None:
    """Return what guards did, of those campaigns that had some; None where none had.

    The patterns are drawn again, for which the models are read; where one cannot be, its reason stands in its place.
    """
    guarded = [(name, result) for name, result in named if result.settings.protection is not None]
    if not guarded:
        return None
    rows = []
    notes = []
    for name, result in guarded:
        try:
            found = recorded_guarded_runs(result)
        except (ModelError, StoreError, UsageError) as error:
            notes.append(f"{name}: what its guards did is not shown: {error}.")
            continue
        for level, runs in zip(result.rates, found, strict=True):
            means = [number(runs.means[word]) for word in _WORDS]
            stopped = percent(runs.stopped / runs.patterns)
            rows.append([name, level_words(result, level), number(runs.patterns), *means, stopped])
    tables = []
    if rows:
        header = ["model", "faults", "patterns", *_WORDS, "runs stopped"]
        tables = [Table("Words per run, mean", header, rows, left=2, folded=len(rows) > MOST_ROWS)]
    return Section("guards", "What the guards did", text=[_MEANING, *notes], tables=tables)
