"""The results folder: resumed, refused, damaged, shared, full."""

import json
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from campaign_kit import (
    BASE,
    COUNTS,
    DIGITS,
    cli,
    cli_json,
    contents,
    counts,
    digits_batches,
    edit,
    finish,
    held,
    one_error_line,
    process,
    rows,
    wait_for_units,
)
from report_kit import HEADER

import ftonnx
from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.store import waiting
from ftonnx.campaign.store.folder import Record, Store
from ftonnx.campaign.store.golden_run import GoldenRun
from ftonnx.campaign.store.header_file import require_same, with_check
from ftonnx.campaign.store.subject import Subject
from ftonnx.cli.flags import with_flags
from ftonnx.errors import StoreError
from ftonnx.inject import (
    Accumulation,
    AsymmetricRates,
    BitFlipRates,
    Bursts,
    EveryBit,
    FaultCount,
    FaultList,
    FaultModel,
    Faults,
    Strata,
    Stratum,
    StuckRates,
    ValueRates,
)
from ftonnx.tasks import Counts

FAST = {"rates": [1e-5, 1e-4], "repeats": 2, "batch_size": 8, "strategy": "live", "threads": 1}
LONG = ("inject", *BASE, "--rate", "1e-5", "--images-per-pattern", "4", "--repeats", "2000")


def evaluate(folder, *, model="digits", data=None, **changed):
    """Run or resume the small campaign of these tests."""
    return ftonnx.evaluate(model, data or digits_batches(8, 24), **(FAST | changed), results=folder)


@pytest.fixture
def finished(tmp_path):
    """The folder of a finished campaign of 12 units."""
    evaluate(tmp_path / "r")
    return tmp_path / "r"


def test_a_folder_holds_two_files_that_other_tools_can_read(finished):
    """campaign.json says what ran and on what; units.sqlite holds integers only."""
    assert sorted(contents(finished)) == [".lock", "campaign.json", "units.sqlite"]
    header = json.loads((finished / "campaign.json").read_text())
    assert header["schema_version"] == 5
    assert len(header["model"]["sha256"]) == len(header["data"]["sha256"]) == 64
    assert header["identity"]["faults"] == {"name": "rates", "rates": [1e-5, 1e-4]}
    assert {"ftonnx", "onnxruntime", "numpy"} <= header["identity"]["versions"].keys()
    assert {"onnx", "cpu", "platform"} <= header["machine"].keys()
    assert header["engine"]["providers"] == ["CPUExecutionProvider"]
    with closing(sqlite3.connect(finished / "units.sqlite")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    for row in rows(finished):
        assert row.keys() == {"rate", "repeat", "batch", *COUNTS, "n_faults", "wall_ns"}
        assert all(isinstance(value, int) for name, value in row.items() if name != "rate")


def test_a_finished_campaign_is_summed_up_again_without_running(finished):
    """Nothing is written to the database, and the result is the same."""
    before = (finished / "units.sqlite").read_bytes()
    seen = []
    again = evaluate(finished, progress=lambda *now: seen.append(now))
    assert seen == [(12, 12)]
    assert (finished / "units.sqlite").read_bytes() == before
    assert again.to_dict() == evaluate(finished).to_dict()


def test_only_missing_units_are_run(finished):
    """Units taken out of the database come back the same; the others are not written again."""
    whole = counts(finished)
    edit(
        finished,
        "DELETE FROM units WHERE batch = 1 OR (batch = 2 AND repeat = 1)",
        "DELETE FROM golden WHERE batch = 2",
        "UPDATE units SET wall_ns = -1",
    )
    evaluate(finished)
    assert counts(finished) == whole
    kept = {(row["batch"], row["repeat"]) for row in rows(finished) if row["wall_ns"] == -1}
    assert kept == {(0, 0), (0, 1), (2, 0)}
    assert [row["batch"] for row in rows(finished, "golden")] == [0, 1, 2]


def _other_data():
    images, labels = digits_batches(24, 24)[0]
    images = images.copy()
    images[0, 0, 0, 0] += 1
    return [(images, labels)]


def _other_model(folder):
    import onnx

    model = onnx.load(DIGITS)
    model.doc_string = "another file"
    onnx.save(model, folder / "other.onnx")
    return folder / "other.onnx"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 1}, "recorded with seed 0, asked for seed 1: give `seed=0`, or another `results`"),
        ({"repeats": 1}, "recorded with 2 repeats, asked for 1: give `repeats=2`, or another `results`"),
        (
            {"faults": FaultCount(3), "rates": [], "batch_size": None},
            "rate 1e-05,0.0001, asked for faults per run 3; ",
        ),
        ({"batch_size": 4}, "recorded with batch size 8, asked for batch size 4: give `batch_size=8`, or"),
        ({"format": "ieee"}, "recorded with format auto, asked for format ieee: give `format=auto`, or"),
        ({"strategy": "rebuild"}, "recorded with strategy live, asked for strategy rebuild: give `strategy=live`, or"),
        ({"threads": None}, "recorded with threads 1, asked for no threads: give `threads=1`, or"),
        ({"include": ["c*"]}, "recorded with no include, asked for include c*: give no `include`, or"),
        ({"seed": 3, "bits": [7]}, "no bits, asked for bits 7: give `seed=0`, no `bits`, or another `results`"),
        ({"data": _other_data()}, "other images or labels in batches (24 images), asked for these (24): give the data"),
        ({"data": digits_batches(8, 25)}, "in batches (24 images), asked for these (25): give the data that ran, or"),
        ({"model": _other_model}, "digits.onnx, asked for model"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_another_campaigns_folder_is_refused_by_what_differs(finished, changed, said):
    """Everything that differs is said in words, with what to give; nothing in the folder changes."""
    before = contents(finished)
    if callable(changed.get("model")):
        changed = {"model": changed["model"](finished.parent)}
    with pytest.raises(StoreError, match="belongs to another campaign: recorded with ") as refused:
        evaluate(finished, **changed)
    assert said in str(refused.value)
    assert contents(finished) == before


@pytest.mark.parametrize(
    ("recorded", "asked", "said"),
    [
        (
            Accumulation("1h,6h,1d,7d,14d", 1e-6),
            Accumulation("1h,6h,1d,7d,14d", 2e-6),
            "recorded with upsets per bit day 1e-06, asked for upsets per bit day 2e-06: "
            "give --upsets-per-bit-day 1e-06,",
        ),
        (
            Accumulation("1h,6h,1d,7d", 1e-6),
            Accumulation("1h,6h,1d,8d", 1e-6),
            "recorded with over 1h,6h,1d,7d, asked for over 1h,6h,1d,8d: give --over 1h,6h,1d,7d,",
        ),
        (
            Bursts([1e-6, 1e-5], "2:0.9,4:0.1", "row", "words=32,columns=64"),
            Bursts([1e-6, 1e-5], "2:0.9,4:0.1", "row", "words=32,columns=128"),
            "recorded with memory words=32,columns=64,interleave=1, asked for memory words=32,columns=128,interleave=1"
            ": give --memory words=32,columns=64,interleave=1,",
        ),
        (StuckRates(1e-6, 0), StuckRates(1e-6, 1), "stuck at 0, asked for stuck at 1: give --stuck-at 0,"),
        (ValueRates(1e-6, "zero"), ValueRates(1e-6, 0.5), "value zero, asked for value 0.5: give --value zero,"),
        (AsymmetricRates(1e-6), AsymmetricRates(1e-5), "1e-06, asked for rate 1to0 1e-05: give --rate-1to0 1e-06,"),
        (
            BitFlipRates([1e-6, 1e-5]),
            ValueRates(1e-6, "zero"),
            "rate 1e-06,1e-05, asked for value rate 1e-06 and value zero: give --rate 1e-06,1e-05,",
        ),
        (
            Strata([Stratum("a", (0,), 5), Stratum("b", (1,), 5)]),
            EveryBit(),
            "stratum a:0:5,b:1:5, asked for exhaustive: give the same --stratum,",
        ),
        (EveryBit(), FaultCount(1), "recorded with exhaustive, asked for faults per run 1: give --exhaustive,"),
        (FaultList(None, "a" * 64), FaultList(None, "b" * 64), "aaa, asked for fault list bbbbbbbbbbbb: give the same"),
    ],
    ids=lambda value: value.name if isinstance(value, FaultModel) else "",
)
def test_other_faults_are_told_by_the_options_in_which_they_differ(recorded, asked, said, tmp_path):
    """All values of these, as they are given again."""
    subjects = [
        replace(Subject.of(HEADER), identity=replace(HEADER.identity, faults=faults)) for faults in (recorded, asked)
    ]
    with pytest.raises(StoreError) as refused:
        require_same(tmp_path, *subjects)
    assert said in with_flags(str(refused.value))


def test_a_changed_model_is_told_from_another_one(tmp_path):
    """Someone who exported again to the same name sees that it is not the same content."""
    model = _other_model(tmp_path)
    evaluate(tmp_path / "r", model=model)
    model.write_bytes(DIGITS.read_bytes())
    with pytest.raises(StoreError, match=r"recorded with another content of .*other.onnx \(SHA-256 \w{12}\), asked"):
        evaluate(tmp_path / "r", model=model)


def test_another_version_is_named(finished, monkeypatch):
    """Other versions may compute something else, so that their units do not belong together."""
    recorded = json.loads((finished / "campaign.json").read_text())["identity"]["versions"]["onnxruntime"]
    monkeypatch.setattr(onnxruntime, "__version__", "9.9.9")
    said = f"recorded with onnxruntime {recorded}, asked for onnxruntime 9.9.9: give onnxruntime {recorded}, or another"
    with pytest.raises(StoreError, match=re.escape(said)):
        evaluate(finished)


def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(tmp_path):
    """No lock file, no database, nothing is added to a stranger's folder."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"not empty and holds no campaign \(it has 'notes.txt'\)"):
        evaluate(tmp_path)
    assert contents(tmp_path) == {"notes.txt": b"mine"}


def test_a_file_is_no_results_folder(tmp_path):
    """The message says what it is; the file stays."""
    (tmp_path / "r").write_text("mine")
    with pytest.raises(StoreError, match="is a file"):
        evaluate(tmp_path / "r")
    assert (tmp_path / "r").read_text() == "mine"


def test_an_empty_folder_can_be_used(tmp_path):
    """As made by mkdir or mktemp -d."""
    (tmp_path / "r").mkdir()
    evaluate(tmp_path / "r")
    assert len(rows(tmp_path / "r")) == 12


def test_a_start_that_was_killed_before_the_settings_were_written_is_begun_again(tmp_path, finished):
    """An empty database and half-written settings are leftovers of ours."""
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "campaign.json.tmp").write_text('{"schema_ver')
    (tmp_path / "left" / "units.sqlite").touch()
    (tmp_path / "left" / ".lock").touch()
    evaluate(tmp_path / "left")
    assert counts(tmp_path / "left") == counts(finished)


def test_units_without_their_settings_are_refused_and_kept(finished):
    """Someone lost campaign.json: the units are not thrown away."""
    (finished / "campaign.json").unlink()
    before = counts(finished)
    with pytest.raises(StoreError, match=r"holds units but no campaign\.json"):
        evaluate(finished)
    assert counts(finished) == before


def _cut(data, share):
    return data[: int(len(data) * share)]


def _garbage(data):
    return np.random.default_rng(5).bytes(len(data))


def _torn_page(data):
    return data[:4096] + _garbage(data[4096:8192]) + data[8192:]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: _cut(data, 0.01),
        lambda data: _cut(data, 0.3),
        lambda data: _cut(data, 0.9),
        _garbage,
        _torn_page,
        lambda data: b"x" + data[1:],
        None,
    ],
    ids=["empty", "100 bytes", "a third", "nine tenths", "garbage", "torn page", "first byte", "missing"],
)
def test_a_damaged_database_is_refused_and_left_as_it_is(finished, damage):
    """Cut, overwritten or lost: one line, exit 4, for running and for replaying; nothing is written."""
    database = finished / "units.sqlite"
    whole = database.read_bytes()
    database.unlink()
    if damage:
        database.write_bytes(damage(whole))
    before = contents(finished)
    with pytest.raises(StoreError) as refused:
        evaluate(finished)
    assert refused.value.exit_code == 4
    assert str(finished) in str(refused.value)
    with pytest.raises(StoreError):
        ftonnx.replay(finished, rate=1e-5, repeat=0, batch=0)
    assert contents(finished) == before
    database.write_bytes(whole)
    assert len(rows(finished)) == 12


def test_another_programs_database_is_refused(finished):
    """A SQLite file with a table ``units`` of other columns."""
    (finished / "units.sqlite").unlink()
    with closing(sqlite3.connect(finished / "units.sqlite")) as database, database:
        database.execute("CREATE TABLE units (name TEXT)")
    before = contents(finished)
    with pytest.raises(StoreError, match="another program's"):
        evaluate(finished)
    assert contents(finished) == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        '{"schema_version": 5}',
        '{"schema_version": 5, "identity": []}',
        '{"schema_version": 5, "identity": {}}',
        '{"schema_version": 5, "identity": {},"model": {}, "data": {},"fault_space": {}, "engine": {}, "stopping": 1}',
        "[" * 100_000,
        "\x00\x01",
        b"\xff\xfe\xfd",
    ],
    ids=range(12),
)
def test_damaged_settings_are_refused_and_left_as_they_are(finished, text):
    """Torn, empty, other JSON, or no text at all."""
    (finished / "campaign.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    before = contents(finished)
    with pytest.raises(StoreError, match="damaged"):
        evaluate(finished)
    with pytest.raises(StoreError, match="damaged"):
        ftonnx.replay(finished, rate=1e-5, repeat=0, batch=0)
    assert contents(finished) == before


@pytest.mark.parametrize(
    ("version", "reader"), [(1, "the version of ftonnx that made it"), (2, "ftonnx 0.1"), (3, "the version of ftonnx")]
)
def test_a_folder_of_another_version_is_refused_by_its_number(finished, version, reader):
    """The message names both schema versions and says what to do; nothing is changed."""
    header = json.loads((finished / "campaign.json").read_text())
    (finished / "campaign.json").write_text(json.dumps(header | {"schema_version": version}))
    before = contents(finished)
    with pytest.raises(StoreError, match=f"schema version {version}, this ftonnx reads 5; read it with {reader}"):
        evaluate(finished)
    assert contents(finished) == before


def test_a_second_process_is_refused_while_the_first_lives_and_readers_are_not(tmp_path):
    """The message names the process; recorded units can be replayed meanwhile; a killed process holds nothing."""
    first = process(*LONG, "--results", "r", folder=tmp_path)
    try:
        wait_for_units(tmp_path / "r", first)
        with held(first):
            line = one_error_line(finish(process(*LONG, "--results", "r", folder=tmp_path)))
        assert f"is in use by process {first.pid} on " in line
        reading = cli_json("faults", tmp_path / "r", "--rate", "1e-5", "--repeat", "0", "--batch", "0")
        assert reading["recorded"]["n"] == 4
        assert len(reading["faults"]) == reading["unit"]["n_faults"]
        assert first.poll() is None
    finally:
        first.kill()
        finish(first)
    third = process(*LONG, "--results", "r", folder=tmp_path)
    try:
        wait_for_units(tmp_path / "r", third, len(rows(tmp_path / "r")))
    finally:
        third.kill()
        finish(third)


HOLDER = """
import json, sys
from pathlib import Path
from ftonnx.campaign.store.folder import Store
from ftonnx.campaign.store.header import Header
with Store.create_or_resume(Path(sys.argv[1]), Header.from_dict(json.loads(sys.argv[2]))):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_the_lock_is_the_kernels_and_goes_with_its_process(tmp_path):
    """A lock file left by a killed process does not lock anyone out."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "r"), json.dumps(HEADER.to_dict())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "held\n"
        (tmp_path / "r" / "campaign.json").write_text(json.dumps(with_check(HEADER.to_dict())))
        before = contents(tmp_path / "r")
        with pytest.raises(StoreError, match=f"in use by process {holder.pid}"):
            Store.create_or_resume(tmp_path / "r", HEADER)
        assert contents(tmp_path / "r") == before
    finally:
        holder.kill()
        holder.communicate()
    assert (tmp_path / "r" / ".lock").read_text().startswith(f"process {holder.pid} ")
    with Store.create_or_resume(tmp_path / "r", HEADER) as store:
        assert store.units() == {}


def _limit(size):
    """Make every file of a child process end at ``size`` bytes, as a full disk does."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.slow
@pytest.mark.parametrize("size", [300_000, 400_000])
def test_a_full_disk_ends_in_one_line_and_loses_nothing(tmp_path, size):
    """Exit 4; the recorded units are readable, and with room again the campaign ends as if nothing had been."""
    command = ("inject", *BASE, "--rate", "1e-5", "--images-per-pattern", "1", "--repeats", "15", "--results", "r")
    full = finish(process(*command, folder=tmp_path, preexec_fn=_limit(size)))
    assert full.code == 4
    assert "what was recorded is kept" in one_error_line(full)
    kept = counts(tmp_path / "r")
    assert len(kept) > 10
    for unit in list(kept)[:3]:
        assert (
            ftonnx.replay(tmp_path / "r", rate=unit[0], repeat=unit[1], batch=unit[2]).record.n_faults
            == kept[unit]["n_faults"]
        )
    assert cli(*command[:-2], "--results", tmp_path / "r").code == 0
    assert cli(*command[:-2], "--results", tmp_path / "whole").code == 0
    assert kept.items() <= counts(tmp_path / "r").items()
    assert counts(tmp_path / "r") == counts(tmp_path / "whole")


@pytest.mark.parametrize("size", [0, 10, 1000, 9000])
def test_a_disk_that_is_full_from_the_start_leaves_nothing_behind(tmp_path, size):
    """Not even the folder, whichever file is the first that does not fit."""
    code = (
        "import json, resource, sys\n"
        "from pathlib import Path\n"
        "from ftonnx.campaign.store.folder import Store\n"
        "from ftonnx.campaign.store.header import Header\n"
        "from ftonnx.errors import StoreError\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
        "try:\n"
        "    Store.create_or_resume(Path(sys.argv[1]), Header.from_dict(json.loads(sys.argv[2])))\n"
        "except StoreError as error:\n"
        "    print('StoreError', error)\n"
    )
    header = json.dumps(replace(HEADER, machine={"cpu": "x" * 5000}).to_dict())
    for existing in (False, True):
        folder = tmp_path / f"r{existing}"
        if existing:
            folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", code, str(folder), header], capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith("StoreError the results in"), done
        assert folder.exists() == existing
        assert not existing or not list(folder.iterdir())


def test_a_full_temporary_folder_is_reported_and_left_clean(tmp_path):
    """Without --results, and with no room for them."""
    full = finish(
        process("inject", *BASE, "--rate", "0", "--strategy", "rebuild", folder=tmp_path, preexec_fn=_limit(1000))
    )
    assert full.code == 4
    assert full.err.splitlines()[-1].startswith("error: ")
    assert os.listdir(tmp_path / "tmp") == []


def test_a_unit_is_recorded_whole_or_not_at_all(tmp_path):
    """Each row appears in one transaction, also to a reader while the writer works."""
    writer = process(*LONG, "--results", "r", folder=tmp_path)
    try:
        wait_for_units(tmp_path / "r", writer)
        lengths = []
        for _ in range(30):
            found = rows(tmp_path / "r")
            lengths.append(len(found))
            assert all(row["n"] == 4 and None not in row.values() for row in found)
        assert lengths == sorted(lengths)
    finally:
        writer.send_signal(signal.SIGKILL)
        finish(writer)
    assert writer.returncode == -signal.SIGKILL


class Clock:
    """Time that passes when it is told to."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        """Return the time in seconds."""
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """The time by which a store groups units."""
    found = Clock()
    monkeypatch.setattr(waiting, "time", found)
    return found


def record(repeat, faults=None):
    """Return a finished unit of the campaign of ``HEADER``."""
    counted = Counts(dict.fromkeys(HEADER.task.counts, 1))
    return Record(Unit(1e-5, repeat, 0), counted, 1, 5, faults)


def golden_run(repeat):
    """Return a golden run with the outcomes of a unit."""
    return GoldenRun(record(repeat).outcomes, b"outputs", b"")


def repeats(path):
    """Return what another process sees: the repeats that are recorded, in order."""
    return [row["repeat"] for row in rows(path)]


def test_units_of_the_same_moment_share_a_transaction_and_a_longer_one_has_its_own(tmp_path, clock):
    """A kill loses less than a twentieth of a second of finished work; whoever has the store open sees all of it."""
    with Store.create_or_resume(tmp_path / "r", HEADER) as store:
        store.add(record(0))
        assert repeats(tmp_path / "r") == [0]
        for repeat in (1, 2, 3, 4):
            clock.now += 0.012
            store.add(record(repeat))
        assert repeats(tmp_path / "r") == [0]
        clock.now += 0.012
        store.add(record(5))
        assert repeats(tmp_path / "r") == [0, 1, 2, 3, 4, 5]
        for repeat in (6, 7):
            clock.now += 0.06
            store.add(record(repeat))
            assert repeats(tmp_path / "r")[-1] == repeat
        store.add(record(8))
        store.add_golden(0, golden_run(8))
        assert repeats(tmp_path / "r")[-1] == 7
        assert len(store.recorded()) == 9
        assert repeats(tmp_path / "r")[-1] == 8
        assert len(rows(tmp_path / "r", "golden")) == 1


@pytest.mark.parametrize("end", [None, KeyboardInterrupt, ValueError])
def test_whatever_ends_a_store_but_a_kill_loses_nothing(tmp_path, clock, end):
    """An exception neither."""
    with suppress(KeyboardInterrupt, ValueError), Store.create_or_resume(tmp_path / "r", HEADER) as store:
        for repeat in range(3):
            store.add(record(repeat))
        assert repeats(tmp_path / "r") == [0]
        if end is not None:
            raise end
    assert repeats(tmp_path / "r") == [0, 1, 2]


def test_an_injection_and_its_faults_share_a_transaction(tmp_path, clock):
    """Also where what was recorded of earlier ones is looked up in between."""
    with Store.create_or_resume(tmp_path / "r", HEADER) as store:
        store.add_golden(0, golden_run(0))
        for repeat in range(2):
            store.add(record(repeat, Faults([0], [repeat], [3])))
            assert len(repeats(tmp_path / "r")) == len(rows(tmp_path / "r", "units JOIN faults ON injection = repeat"))
        store.flush()
        assert len(repeats(tmp_path / "r")) == 2


def test_a_kill_leaves_whole_transactions_and_the_rest_is_run_again(tmp_path, finished):
    """SIGKILL in the middle of a group of units: those before it are there, and the campaign goes on from them."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, ftonnx\n"
        "from ftonnx.campaign.store import waiting\n"
        "waiting._COMMIT_SECONDS = 1000.0\n"
        "def die(done, total):\n"
        "    if done == 7: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from test_folder import FAST, digits_batches\n"
        f"ftonnx.evaluate('digits', digits_batches(8, 24), **FAST, results={str(tmp_path / 'k')!r}, progress=die)\n"
    )
    here = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1]), *sys.path])
    died = subprocess.run([sys.executable, script], env=os.environ | {"PYTHONPATH": here}, timeout=100)
    assert died.returncode == -signal.SIGKILL
    kept = counts(tmp_path / "k")
    assert len(kept) < 7
    assert kept.items() <= counts(finished).items()
    evaluate(tmp_path / "k")
    assert counts(tmp_path / "k") == counts(finished)
