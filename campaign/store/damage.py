"""What is said of a results folder that is not what was recorded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ftonnx.campaign.store.checked_rows import TableState
from ftonnx.errors import StoreError

__all__ = ["NOUNS", "damage_words", "require_whole"]

NOUNS: Final = {"units": "units", "golden": "golden runs", "faults": "faults"}
"""What the rows of each table are."""


def require_whole(path: Path, states: Sequence[TableState]) -> None:
    """Refuse a folder in which anything is not what was recorded.

    Raises:
        StoreError: it is so; the message says what, and how much is good.
    """
    damaged = [state for state in states if not state.is_whole]
    if not damaged:
        return
    said = "; ".join(damage_words(state) for state in damaged)
    good = ", ".join(f"{state.good:,} {NOUNS[state.table]}" for state in states)
    raise StoreError(
        f"{path} is damaged: {said}; good are {good}: ftonnx results check {path} with `repair` drops the others, and "
        "the command that made the folder measures them again"
    )


def damage_words(state: TableState) -> str:
    """Say what is wrong with one table.

    >>> damage_words(TableState("units", rows=11, damaged=2, examples=(), recorded=12, same_rows=False))
    '2 of 11 units are not what was recorded, and 1 of 12 is lost'
    >>> damage_words(TableState("faults", rows=3, damaged=0, examples=(), recorded=None, same_rows=False))
    'the number of faults that were recorded is damaged'
    """
    nouns = NOUNS[state.table]
    said = []
    if state.damaged:
        said.append(f"{state.damaged:,} of {state.rows:,} {nouns} {_are(state.damaged)} not what was recorded")
    if state.recorded is None:
        said.append(f"the number of {nouns} that were recorded is damaged")
    elif state.rows < state.recorded:
        lost = state.recorded - state.rows
        said.append(f"{lost:,} of {state.recorded:,} {'' if said else nouns + ' '}{_are(lost)} lost")
    elif state.rows > state.recorded:
        said.append(f"there are {state.rows - state.recorded:,} {nouns} too many")
    elif not said:
        said.append(f"{nouns} are there which are not those that were recorded")
    return ", and ".join(said)


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
