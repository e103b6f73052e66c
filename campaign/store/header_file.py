"""``campaign.json``: reading it, writing it, and what makes two of them different."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ftonnx.campaign.store.header import SCHEMA_VERSION, Header
from ftonnx.campaign.store.identity import Identity
from ftonnx.campaign.store.lock import translated
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


def require_same(path: Path, recorded: Identity, wanted: Identity) -> None:
    """Refuse a folder of another campaign.

    Raises:
        StoreError: it is one; what differs is named.
    """
    _require_same_seeds(path, recorded, wanted)
    different = _differences(recorded, wanted)
    if not different:
        return
    raise StoreError(
        f"{path} belongs to another campaign: fingerprint {recorded.fingerprint} there, {wanted.fingerprint} here; "
        f"different: {different}; repeat its settings or choose another `results`"
    )


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


def require_one_campaign(paths: Sequence[Path], identities: Sequence[Identity]) -> None:
    """Refuse folders that are not of one campaign.

    Raises:
        StoreError: one is of another than the first; what differs is named.
    """
    for path, identity in zip(paths, identities, strict=True):
        different = _differences(identity, identities[0])
        if different:
            said = different.replace(" here", " before")
            other_seed = identity.settings.seed != identities[0].settings.seed
            hint = "; `pool_seeds` puts the patterns of several seeds together" if other_seed else ""
            raise StoreError(f"{path} is not of the same campaign as {paths[0]}: {said}{hint}")


def _differences(recorded: Identity, wanted: Identity) -> str:
    """Name what differs, nested values by their own keys; empty where nothing does."""
    old = recorded.to_dict()
    new = wanted.to_dict()
    parts = []
    for key in {**old, **new}:
        if old.get(key) == new.get(key):
            continue
        if isinstance(old.get(key), dict) and isinstance(new.get(key), dict):
            inner = [name for name in {**old[key], **new[key]} if old[key].get(name) != new[key].get(name)]
            parts += [f"{key}.{name} {old[key].get(name)} there, {new[key].get(name)} here" for name in inner]
        else:
            parts.append(f"{key} {old.get(key)} there, {new.get(key)} here")
    return ", ".join(parts)
