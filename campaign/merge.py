"""Putting results folders together: those of one campaign's parts, or of several seeds."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ftonnx.campaign.pooling import pooled_identity
from ftonnx.campaign.store.folder import Store
from ftonnx.campaign.store.header import Header, PartInfo
from ftonnx.campaign.store.header_file import require_one_campaign
from ftonnx.campaign.store.seeds import SeedRepeats
from ftonnx.campaign.store.subject import Subject
from ftonnx.campaign.store.union import Taken
from ftonnx.errors import IncompleteError, StoreError, UsageError
from ftonnx.words import some_of

__all__ = ["Merged", "merge"]

_NAMED: Final = 5  # batches with missing units


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What a merge came to.

    Attributes:
        results: the folder.
        units: that are recorded in it.
        missing: units that are not, by batch; batches without any are left out.
        header: of the folder, with its parts.
    """

    results: Path
    units: int
    missing: Mapping[int, int]
    header: Header

    @property
    def parts(self) -> tuple[PartInfo, ...]:
        """The folders that are in it."""
        return self.header.parts

    @property
    def seeds(self) -> tuple[SeedRepeats, ...]:
        """The seed of the fault patterns and its repeats, or those that were pooled."""
        return self.header.identity.seeds

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the numbers must know of the parts."""
        caution = self.header.parts_caution
        return () if caution is None else (caution,)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``ftonnx merge --json``."""
        return {
            "results": str(self.results),
            "units": self.units,
            "missing": sum(self.missing.values()),
            "missing_by_batch": [{"batch": batch, "units": units} for batch, units in self.missing.items()],
            "seeds": [each.to_dict() for each in self.seeds],
            "warnings": list(self.warnings),
            "parts": [part.to_dict() for part in self.parts],
        }


def merge(
    folders: Sequence[str | Path],
    output: str | Path,
    *,
    partial: bool = False,
    strict: bool = False,
    pool_seeds: bool = False,
) -> Merged:
    """Put results folders of one campaign together, such as those of its shards; what they share must be equal.

    All of them go in, or none. A folder that is still being written gives what it holds so far, and a merge into the
    same output may be repeated.

    Campaigns that are the same but for the seed, and perhaps the repeats, become one by ``pool_seeds``: the patterns of
    all seeds are independent repeats of the same batches, numbered on from seed to seed. No campaign goes on from it.

    Args:
        folders: of the same model, data, faults and settings.
        output: the folder that gets all units; one that holds some of the campaign keeps them.
        partial: accept that units are missing.
        strict: accept no part whose fault-free outputs differ from another one's in any bit.
        pool_seeds: the folders are of two seeds or more, each of which may have several.

    Raises:
        StoreError: the folders are not of one campaign, have recorded a unit differently, or cannot be read or written.
        IncompleteError: units are missing.
        UsageError: no folder is named, or the output is one of them; there is one seed, or every seed has these faults.
    """
    paths = [Path(folder).absolute() for folder in folders]
    target = Path(output).absolute()
    headers = _headers(paths, target)
    if pool_seeds:
        identity = pooled_identity(paths, [Subject.of(header) for header in headers])
    else:
        identity = headers[0].identity
        require_one_campaign(paths, [Subject.of(header) for header in headers])
    is_new = not target.exists()
    try:
        with Store.create_or_resume(target, replace(headers[0], identity=identity, parts=(), begun_as=None)) as store:
            _require_whole(target, store.header)
            missing, parts = _united(store, paths, partial=partial, strict=strict)
            store.set_parts(list(parts.values()))
            return Merged(results=target, units=store.count(), missing=missing, header=store.header)
    except BaseException:
        if is_new:
            shutil.rmtree(target, ignore_errors=True)
        raise


def _headers(paths: Sequence[Path], target: Path) -> list[Header]:
    """Return what the folders say about themselves."""
    if not paths:
        raise UsageError("one results folder or more was expected, got none")
    if target in paths:
        raise UsageError(f"`output`: a folder besides those that are merged was expected, got {target}")
    headers = [Store.header_of(path) for path in paths]
    for path, header in zip(paths, headers, strict=True):
        _require_whole(path, header)
    return headers


def _require_whole(path: Path, header: Header) -> None:
    if header.stopping is not None:
        raise StoreError(f"{path} was ended by `precision` or `budget`, and cannot be merged: run whole shards")


def _united(
    store: Store, paths: Sequence[Path], *, partial: bool, strict: bool
) -> tuple[dict[int, int], dict[str, PartInfo]]:
    """Take in what the folders hold; return what is missing, and the parts by their folders."""
    parts = {part.folder: part for part in store.header.parts}
    with store.union() as take_in:
        for path in paths:
            with Store.open(path) as part:
                found = _parts_of(part, take_in(part))
            parts |= {each.folder: each for each in found}
        missing = store.missing()
        if missing and not partial:
            lacking = _described(missing) + _seeds_with_missing(store)
            raise IncompleteError(f"{lacking}; run what is missing and merge again, or say `partial` to do without")
        different = [part for part in parts.values() if part.other_batches]
        if different and strict:
            raise StoreError(
                f"{different[0].folder} ran on {different[0].place}, where fault-free outputs are not those of the "
                "other parts; `strict` accepts none such"
            )
    return missing, parts


def _parts_of(store: Store, taken: Taken) -> list[PartInfo]:
    """Return what is kept of a folder, or of those that were merged in it."""
    header = store.header
    own = PartInfo(folder=str(store.path), units=taken.units, strategy=header.engine.strategy, machine=header.machine)
    parts = header.parts or (own,)
    if not taken.other_batches:
        return [*parts]
    return [replace(part, other_batches=taken.other_batches, other_images=taken.other_images) for part in parts]


def _described(missing: Mapping[int, int]) -> str:
    """Say which units are missing.

    >>> _described({3: 2})
    '2 units are missing: 2 of batch 3'
    """
    named = [f"{units:,} of batch {batch}" for batch, units in missing.items()]
    more = " and others" if len(named) > _NAMED else ""
    return f"{sum(missing.values()):,} units are missing: {', '.join(named[:_NAMED])}{more}"


def _seeds_with_missing(store: Store) -> str:
    """Say which of several seeds have missing units."""
    pooled = store.header.identity.pooled
    if pooled is None:
        return ""
    known = store.units_by_repeat()
    places = store.header.batches * len(store.header.levels)
    names = []
    for each in pooled.seeds:
        numbering = pooled.numberings[each.seed]
        units = sum(known.get(numbering.of(repeat), 0) for repeat in range(each.repeats))
        if units < each.repeats * places:
            names.append(str(each.seed))
    return f", of seed {some_of(names)}"
