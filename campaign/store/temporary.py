"""Results folders for campaigns that were given none; those that were killed before they held a campaign go."""

import tempfile
from pathlib import Path
from typing import Final

from ftonnx.campaign.store.header_file import SETTINGS
from ftonnx.campaign.store.lock import LOCK
from ftonnx.files import remove_left, temporary_root

__all__ = ["temporary_results"]

_PREFIX: Final = "ftonnx-results-"


def temporary_results() -> Path:
    """Return a new, empty folder, which stays; remove those in which processes were killed before a campaign began.

    Raises:
        OSError: it cannot be made.
    """
    root = temporary_root()
    remove_left(root, _PREFIX, LOCK, is_kept=lambda folder: (folder / SETTINGS).exists())
    return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
