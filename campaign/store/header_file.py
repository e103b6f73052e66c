"""``campaign.json``: reading it, writing it, and what makes two of them different."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ftonnx.campaign.store.header import SCHEMA_VERSION, Header
from ftonnx.campaign.store.identity import Identity
from ftonnx.campaign.store.lock import translated
from ftonnx.campaign.store.subject import Subject, differences
from ftonnx.errors import StoreError, UsageError, describe
from ftonnx.files import read_document, write_whole
from ftonnx.words import parsed_json

__all__ = [
    "SETTINGS",
    "read_header",
    "remove_part",
    "require_one_campaign",
    "require_same",
    "with_check",
    "write_header",
]

SETTINGS: Final = "campaign.json"
"""Name of the file."""

_CHECK: Final = "check"
_PART: Final = f"{SETTINGS}.tmp"

_READERS: Final = {2: "ftonnx 0.1"}
"""Which version reads folders of an older schema."""


def read_header(path: Path) -> Header | None:
    """Return the header of the campaign in a folder; None where there is none yet.

    Raises:
        StoreError: it is damaged, or of another schema.
    """
    file = path / SETTINGS
    if not file.exists():
        return None
    try:
        content = parsed_json(read_document(file))
        version = content["schema_version"]
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"{file} has schema version {version}, this ftonnx reads {SCHEMA_VERSION}; "
                f"read it with {_READERS.get(version, 'the version of ftonnx that made it')}, "
                "or run the campaign again in a new folder"
            )
        _require_check(content.pop(_CHECK, None), content)
        return Header.from_dict(content)
    except UsageError as error:  # it names a fault model or a task that this ftonnx does not have
        raise StoreError(f"{file} cannot be read here: {error}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{file} is damaged ({describe(error)}); move the folder away and start anew") from error


def with_check(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return JSON values with their check value, by which a change of any of them is noticed."""
    return {**content, _CHECK: _check_of(content)}


def _require_check(recorded: Any, content: Mapping[str, Any]) -> None:
    if recorded is None:
        raise ValueError("it has no check value, which the first folders of this schema lack too")
    if recorded != _check_of(content):
        raise ValueError("it is not what was written: its check value is another one")


def _check_of(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def write_header(path: Path, header: Header) -> None:
    """Write it into a folder that is locked.

    Raises:
        StoreError: the disk does not take it.
    """
    text = json.dumps(with_check(header.to_dict()), indent=2)
    with translated(path):
        # one name, as the lock is held: what a kill leaves is known as such when the campaign starts again
        write_whole(text.encode(), path / SETTINGS, beside=path / _PART)


def remove_part(path: Path) -> None:
    """Remove what a process has left that was killed while it wrote it; the folder is locked.

    Raises:
        StoreError: the folder cannot be written.
    """
    with translated(path):
        (path / _PART).unlink(missing_ok=True)


def require_same(path: Path, recorded: Subject, wanted: Subject, *, begins_alike: bool = False) -> None:
    """Refuse a folder of another campaign, and of one that cannot grow to the wanted one.

    A campaign grows by repeats and rates, and by images behind those that it has: all of its units are the same units
    of the larger one.

    Args:
        path: the folder.
        recorded: what it is about.
        wanted: what it is to be about.
        begins_alike: the wanted images begin with the recorded ones, in the same whole batches.

    Raises:
        StoreError: it is another campaign; what differs is said in words.
    """
    _require_same_seeds(path, recorded.identity, wanted.identity)
    kept = _ways_to_grow(recorded.identity, wanted.identity, begins_alike=begins_alike)
    different = [each for each in differences(recorded, wanted) if each.what not in kept]
    if not different:
        return
    said = "; ".join(f"recorded with {each.first}, asked for {each.second}" for each in different)
    back = ", ".join(dict.fromkeys(each.way_back for each in different))
    raise StoreError(f"{path} belongs to another campaign: {said}: give {back}, or another `results`")


def _ways_to_grow(recorded: Identity, wanted: Identity, *, begins_alike: bool) -> set[str]:
    """Return in what a campaign may differ from the recorded one, which then grows to it."""
    found: set[str] = set()
    has_all = (wanted.settings.repeats or 1) >= (recorded.settings.repeats or 1)
    if has_all and recorded.faults.is_endless:
        found.add("repeats")
    if wanted.faults.has_patterns_of(recorded.faults):
        found.add("faults")
    if begins_alike:
        found.add("data")
    return found


def _require_same_seeds(path: Path, recorded: Identity, wanted: Identity) -> None:
    """Refuse to let a folder of several seeds go on as that of one, or of others."""
    if recorded.pooled == wanted.pooled:
        return
    if wanted.pooled is None:
        raise StoreError(
            f"{path} holds {recorded.pooled} together, which no campaign of one seed goes on from: give it a folder of "
            "its own, and pool that with the others by ftonnx merge and `pool_seeds`"
        )
    held = recorded.pooled or f"seed {recorded.seeds[0]}"
    raise StoreError(f"{path} holds {held}, and {wanted.pooled} were to be pooled in it: choose another `output`")


def require_one_campaign(paths: Sequence[Path], subjects: Sequence[Subject]) -> None:
    """Refuse folders that are not of one campaign.

    Raises:
        StoreError: one is of another than the first; what differs is named.
    """
    for path, subject in zip(paths, subjects, strict=True):
        different = differences(subject, subjects[0])
        if different:
            said = "; ".join(f"{each.first} there, {each.second} before" for each in different)
            other_seed = "seed" in {each.what for each in different}
            hint = "; `pool_seeds` puts the patterns of several seeds together" if other_seed else ""
            raise StoreError(f"{path} is not of the same campaign as {paths[0]}: {said}{hint}")
