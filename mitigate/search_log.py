"""The log that makes a ClipAct search resumable: one line per measurement, a threshold at a rate.

The first line says which search it is. Every other line holds all that is known of one threshold, and takes
the place of earlier lines on it. A line is on disk before the next measurement starts; a line that a kill
cut short is dropped when the log is opened again, and its measurement is done anew.
"""

import json
import os
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Self

import msgspec

from ftonnx.errors import StoreError, describe
from ftonnx.files import reason_of, require_plain, try_lock
from ftonnx.mitigate.points import Evaluation, Key
from ftonnx.words import parsed_json

__all__ = ["SearchLog"]

_FILE = "search.jsonl"
_MOST_BYTES = 1 << 30


class SearchLog(MutableMapping[Key, Evaluation]):
    """Evaluations by (activation, round, threshold), kept in a folder; a context manager.

    Args:
        folder: the folder; made when missing.
        identity: what decides the outcome of the search; another one in the same folder is refused.

    Raises:
        StoreError: the folder belongs to another search, is in use, or cannot be written.
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any]) -> None:
        self._path = Path(folder) / _FILE
        self._known: dict[Key, Evaluation] = {}
        # compared with what is read back, where a tuple is a list
        as_read = json.loads(json.dumps(identity))
        self._file = self._open(as_read)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getitem__(self, key: Key) -> Evaluation:
        return self._known[key]

    def __setitem__(self, key: Key, evaluation: Evaluation) -> None:
        self._known[key] = evaluation
        self._append({"key": key, "evaluation": asdict(evaluation)})

    def __delitem__(self, key: Key) -> None:
        raise StoreError("a search log only grows")

    def __iter__(self) -> Iterator[Key]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def _open(self, identity: dict[str, Any]) -> IO[str]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.exists():
                require_plain(self._path, _MOST_BYTES)
            file = self._path.open("a+", encoding="utf-8")
        except OSError as error:
            raise StoreError(f"{self._path} cannot be written: {reason_of(error, self._path)}") from error
        except ValueError as error:
            raise StoreError(f"{self._path} is no log of a search: {error}; move it away and start anew") from error
        try:
            self._lock(file)
            self._read(file, identity)
        except BaseException:
            file.close()
            raise
        self._file = file
        if not file.tell():
            self._append({"identity": identity})
        return file

    def _lock(self, file: IO[str]) -> None:
        if not try_lock(file):
            raise StoreError(f"{self._path} is in use by another process; wait for it to end")

    def _read(self, file: IO[str], identity: dict[str, Any]) -> None:
        """Read all whole lines and cut off a torn one."""
        file.seek(0)
        try:
            content = file.read()
            end_of_last_line = content.rfind("\n") + 1
            whole = content[:end_of_last_line]
            entries = [parsed_json(line) for line in whole.splitlines()]
            if entries and entries[0]["identity"] != identity:
                raise StoreError(
                    f"{self._path} belongs to another search; repeat its settings or choose another folder"
                )
            for entry in entries[1:]:
                self._take(entry)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{self._path} is damaged ({describe(error)}); move it away and start anew") from error
        # a line that a kill cut short goes: its measurement is done anew
        file.truncate(len(whole.encode()))
        file.seek(0, os.SEEK_END)

    def _take(self, entry: Mapping[str, Any]) -> None:
        key = msgspec.convert(entry["key"], Key)
        # a later line on the same threshold knows more
        self._known[key] = _evaluation(entry["evaluation"])

    def _append(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps(entry)
        try:
            self._file.write(f"{line}\n")
            self._file.flush()
            # a measurement took minutes: it shall outlive a crash of the machine too
            os.fsync(self._file.fileno())
        except OSError as error:
            reason = reason_of(error, self._path)
            raise StoreError(f"{self._path} cannot be written: {reason}; what it holds is kept") from error


def _evaluation(values: Mapping[str, Any]) -> Evaluation:
    """Return what a line says; of a line without a bound, as written before there were any, the score is complete."""
    return msgspec.convert({"at_most": values["score"], **values}, Evaluation)
