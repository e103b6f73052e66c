"""Results folders: their settings, their database, their maps; damaged, or written by somebody else's program."""

import json
import random
import shutil
import sqlite3
from abc import ABC
from contextlib import closing

import numpy as np
from campaign_kit import edit

import ftonnx
from ftonnx.campaign import check_results
from ftonnx.campaign.results.curve import summarize
from ftonnx.campaign.store.header_file import with_check
from ftonnx.campaign.store.kept_maps import KeptMaps, MapPair
from ftonnx.errors import FtonnxError
from ftonnx.report import build, repeat_command
from fuzz.mutators.archives import read_json
from fuzz.mutators.databases import statement
from fuzz.mutators.documents import change_json
from fuzz.target import NoCase, Target

_SETTINGS = "campaign.json"
_UNITS = "units.sqlite"
_MAPS = "maps.npz"
_done = []
"""Folder of the campaigns that were run in this process."""


def _pin(folder):
    """Take out of a folder what differs from run to run: times."""
    with closing(sqlite3.connect(folder / _UNITS)) as database:
        database.execute("PRAGMA journal_mode=DELETE")
    edit(folder, "UPDATE units SET wall_ns = 1000")
    with closing(sqlite3.connect(folder / _UNITS, isolation_level=None)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("VACUUM")
    for name in ("units.sqlite-wal", "units.sqlite-shm", "lock"):
        (folder / name).unlink(missing_ok=True)


class _Results(Target, ABC):
    """Campaigns at rates, of single faults, tensor by tensor, and of histories."""

    def write_seeds(self, folder):
        """Run them on a few digits, or copy what another target has run."""
        if _done:
            shutil.copytree(_done[0], folder, dirs_exist_ok=True)
            return
        options = {"threads": 1, "strategy": "live", "batch_size": 4}
        data = ftonnx.load_dataset("digits", limit=8)
        ftonnx.evaluate("digits", data, rates=[1e-5, 1e-4], repeats=3, results=folder / "rates", **options)
        ftonnx.evaluate("digits", data, ftonnx.FaultCount(1), repeats=5, results=folder / "faults", **options)
        ftonnx.evaluate("digits", data, ftonnx.PerLayer(2), results=folder / "layers", **options)
        histories = ftonnx.Accumulation("1d,9d", 1e-5, "1:0.5,2:0.5", "row", "words=32,columns=64", "9d")
        ftonnx.evaluate("digits", data, histories, repeats=2, results=folder / "histories", **options)
        for each in folder.iterdir():
            _pin(each)
        _done.append(folder)

    def read(self, folder):
        """Open it, say all that is said of it, compare it with itself, and look for damage."""
        result = ftonnx.CampaignResult.open(folder)
        assert result.to_dict()
        _tell(result)
        if result.faults.fresh_per_batch:
            summarize(result)
            ftonnx.compare([folder, folder])
        check_results(folder)


def _tell(result):
    """Make all that a report consists of, but do not draw it."""
    repeat_command(result)
    made = build([result])
    assert made.sections
    assert made.verdict
    made.tables()


class Header(_Results):
    """``campaign.json``, now and then with a right check value."""

    name = "campaign.json"
    mutable = (_SETTINGS,)

    def mutated(self, seeds, rng):
        """Return a folder with other settings."""
        if rng.random() < 0.2:
            return super().mutated(seeds, rng)
        files = dict(rng.choice(seeds))
        changed = read_json(change_json(files[_SETTINGS], [files[_SETTINGS]], rng))
        if changed is None:
            raise NoCase
        changed.pop("check", None)
        try:
            checked = with_check(changed)
        except (ValueError, RecursionError):
            raise NoCase from None
        files[_SETTINGS] = _written(checked)
        return files


def _written(content):
    return json.dumps(content).encode("utf-8", "surrogatepass")


class Report(Header):
    """The same, drawn: a page with its charts."""

    name = "report"

    def read(self, folder):
        """Make the page."""
        build([ftonnx.CampaignResult.open(folder)]).html()


class Units(_Results):
    """``units.sqlite``: damaged bytes, or other content than was recorded."""

    name = "units.sqlite"
    mutable = (_UNITS,)


class Recorded(_Results):
    """Odd cells in the database, with right check values."""

    name = "recorded"
    odd_files = False

    def mutated(self, seeds, rng):
        """Return a folder whose database says something else, as if it had been recorded so."""
        files = dict(rng.choice(seeds))
        files["statement"] = str(rng.getrandbits(64)).encode()
        return files

    def read(self, folder):
        """Change a cell, and read the folder."""
        if not (folder / "statement").exists():
            super().read(folder)
            return
        rng = random.Random((folder / "statement").read_text())
        (folder / "statement").unlink()
        try:
            with closing(sqlite3.connect(folder / _UNITS)) as database:
                change = statement(database, rng, only_cells=True)
            edit(folder, change)
        except (sqlite3.Error, AssertionError, FtonnxError, TypeError, ValueError, OverflowError):
            # of a cell that its column does not take, or that has no check value
            return
        super().read(folder)


class Maps(_Results):
    """``maps.npz``: label maps beside the counts."""

    name = "maps.npz"
    mutable = (_MAPS,)

    def write_seeds(self, folder):
        """Put two pairs of maps into every folder."""
        super().write_seeds(folder)
        golden = np.arange(48, dtype=np.uint8).reshape(6, 8) % 3
        pairs = [MapPair.of(golden, golden[::-1], rate=1e-5, repeat=n, batch=0, image=n) for n in range(2)]
        for each in folder.iterdir():
            KeptMaps(pairs=tuple(pairs), classes=3, names=("sky", None, "sea")).write(each)
