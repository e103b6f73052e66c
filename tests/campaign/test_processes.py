"""Worker processes: the same results, whatever happens to them."""

import logging
import os
import pickle
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from campaign_kit import counts, digits_batches, environment, rows
from pool_kit import Counting, Deadly, Raising, Talkative, Together, digest

import ftonnx
from ftonnx.campaign.inputs import open_data
from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.run import placed_batches, processes, worker_process
from ftonnx.errors import DataError, IncompleteError, StoreError, UsageError
from ftonnx.inject import BitFlipRates, FaultCount, load_model
from ftonnx.runtime import FaultySession
from ftonnx.tasks import Classification

BATCH, BATCHES, REPEATS, RATES = 12, 4, 3, (1e-4, 1e-3)
UNITS = BATCHES * REPEATS * len(RATES)


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Temporary files lie in a folder of the test's own, and nothing of the workers stays there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.glob("ftonnx-scratch-*"))
    assert not psutil.Process().children()


def campaign(results, faults=None, *, jobs, task=None, data=None, batch=BATCH, **settings):
    """Return a small campaign on the embedded model."""
    model = load_model("digits")
    given = {"repeats": REPEATS, "jobs": jobs} | settings
    return ftonnx.Campaign(
        model,
        open_data(digits_batches(20, BATCH * BATCHES) if data is None else data, model),
        faults or BitFlipRates(RATES),
        task=task,
        settings=ftonnx.Settings(**given, batch_size=batch, strategy="live", threads=1),
        results=results,
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The results folder of the campaign without workers."""
    folder = tmp_path_factory.mktemp("alone") / "r"
    campaign(folder, jobs=1).run()
    return folder


def same_results(folder, other):
    """Whether two folders hold the same counts for the same units and golden runs."""

    def golden(where):
        return sorted(tuple(row.values()) for row in rows(where, "golden"))

    return counts(folder) == counts(other) and golden(folder) == golden(other)


def outputs_of(unit):
    """Return the outputs of one unit of the campaign, from a session of our own."""
    found = campaign(None, jobs=1)
    images = digits_batches(BATCH, BATCH * BATCHES)[unit.batch][0]
    session = FaultySession(found.model, found.space, threads=1, strategy="live")
    return session.run(images, found.schedule.pattern(unit))[0]


def golden_of(batch):
    """Return the fault-free outputs of one batch of the campaign."""
    images = digits_batches(BATCH, BATCH * BATCHES)[batch][0]
    return FaultySession(load_model("digits"), threads=1, strategy="live").golden(images)[0]


@pytest.mark.parametrize("jobs", [2, 3])
def test_the_number_of_workers_changes_nothing(tmp_path, alone, jobs):
    """The same rows in the store, and the same summary but for the folder."""
    result = campaign(tmp_path / "r", jobs=jobs).run()
    assert same_results(tmp_path / "r", alone)
    expected = campaign(alone, jobs=1).run()  # it is finished, so nothing runs
    assert result.to_dict() | {"run": {}} == expected.to_dict() | {"run": {}}


def test_injections_do_not_depend_on_the_workers_either(tmp_path):
    """A pattern that several batches meet is recorded once, whichever worker has it first."""
    for jobs in (1, 2):
        campaign(tmp_path / str(jobs), jobs=jobs, faults=FaultCount(1), repeats=20).run()
    assert same_results(tmp_path / "1", tmp_path / "2")
    faults = []
    for name in "12":
        with closing(sqlite3.connect(tmp_path / name / "units.sqlite")) as database:
            faults.append(database.execute("SELECT * FROM faults ORDER BY injection").fetchall())
    assert faults[0] == faults[1]
    assert len(faults[0]) == 20


def test_a_campaign_can_change_its_number_of_workers_on_the_way(tmp_path, alone):
    """What one process began, two finish; batches that are done are not run again."""

    class EnoughError(Exception):
        pass

    def stop_after(done, total):
        if done >= UNITS // 2:
            raise EnoughError

    with pytest.raises(EnoughError):
        campaign(tmp_path / "r", jobs=1).run(progress=stop_after)
    begun = counts(tmp_path / "r")
    with pytest.raises(EnoughError):
        campaign(tmp_path / "r", jobs=2).run(progress=stop_after)
    assert counts(tmp_path / "r") == begun
    log = Counting(tmp_path / "log")
    campaign(tmp_path / "r", jobs=2, task=log).run()
    assert same_results(tmp_path / "r", alone)
    assert len([line for line in log.lines() if not line.startswith(f"{os.getpid()} ")]) <= BATCHES // 2 + 1


def test_a_golden_run_is_paid_once_per_batch_while_there_are_other_batches(tmp_path):
    """Only at the end may an idle worker join another one's batch, at the price of one more golden run."""
    log = Counting(tmp_path / "log")
    campaign(tmp_path / "r", jobs=2, task=log, repeats=10).run()
    in_workers = [line.split()[1] for line in log.lines() if not line.startswith(f"{os.getpid()} ")]
    assert len(set(in_workers)) == BATCHES
    assert len(in_workers) <= BATCHES + 1


def test_workers_share_a_single_batch(tmp_path):
    """With fewer batches than workers the units of a batch are split."""
    log = Together(tmp_path / "log")
    campaign(tmp_path / "r", jobs=2, task=log, data=digits_batches(8, 8), repeats=200).run()
    assert len(log.workers()) == 2
    assert len(counts(tmp_path / "r")) == 400


def test_only_a_few_batches_are_held_at_a_time(tmp_path, temporary, monkeypatch):
    """Of large ones one per worker and one in stock, however many there are."""
    monkeypatch.setattr(processes, "_STOCK_BYTES", 0)
    held = []

    def look(done, total):
        held.append(len(list(temporary.glob("ftonnx-scratch-*/batch-*"))))

    log = Together(tmp_path / "log")
    campaign(tmp_path / "r", jobs=2, task=log, data=digits_batches(8, 160), batch=4).run(progress=look)
    assert max(held) == 3


def test_data_that_can_be_read_once_only_reaches_the_workers(tmp_path, alone):
    """A generator is neither pickled nor read by a worker."""
    campaign(tmp_path / "r", jobs=2, data=(batch for batch in digits_batches(20, BATCH * BATCHES))).run()
    assert same_results(tmp_path / "r", alone)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
def test_a_unit_that_kills_its_worker_twice_is_tried_a_third_time(tmp_path, alone, how, caplog):
    """Nobody notices but the log."""
    unit = Unit(1e-3, 1, 2)
    task = Deadly(tmp_path / "log", [digest(outputs_of(unit))], times=2, how=how)
    with caplog.at_level(logging.WARNING, "ftonnx"):
        campaign(tmp_path / "r", jobs=2, task=task).run()
    assert same_results(tmp_path / "r", alone)
    assert len(task.lines()) == 2
    deaths = [record.getMessage() for record in caplog.records]
    assert deaths == [
        f"a worker process died ({how.name}) at rate 0.001, repeat 1, batch 2, time {time}" for time in (1, 2)
    ]


@pytest.mark.slow
def test_a_unit_that_always_kills_its_worker_is_reported_and_everything_else_is_done(tmp_path, alone):
    """Exit code 5, the unit by name, no innocent neighbour; starting again tries it again."""
    units = [Unit(1e-3, 0, 1), Unit(1e-4, 2, 3)]
    task = Deadly(tmp_path / "log", [digest(outputs_of(unit)) for unit in units], times=99)
    with pytest.raises(IncompleteError) as raised:
        campaign(tmp_path / "r", jobs=2, task=task).run()
    assert raised.value.exit_code == 5
    message = str(raised.value)
    assert "\n" not in message
    assert set(re.findall(r"rate [^(]*\d \(SIGKILL\)", message)) == {
        "rate 0.001, repeat 0, batch 1 (SIGKILL)",
        "rate 0.0001, repeat 2, batch 3 (SIGKILL)",
    }
    assert f"{UNITS - 2} of {UNITS} units are recorded in {tmp_path / 'r'}" in message
    assert len(task.lines()) == 6
    missing = {tuple(unit) for unit in units}
    assert counts(tmp_path / "r") == {unit: row for unit, row in counts(alone).items() if unit not in missing}
    campaign(tmp_path / "r", jobs=2).run()
    assert same_results(tmp_path / "r", alone)


def test_a_batch_whose_fault_free_run_kills_workers_is_reported_as_a_whole(tmp_path, alone):
    """Its units are missing, all others are there."""
    task = Deadly(tmp_path / "log", [digest(golden_of(2))], times=99)
    with pytest.raises(IncompleteError, match=r"each of: batch 2 without faults \(SIGKILL\)\. 18 of 24 units"):
        campaign(tmp_path / "r", jobs=2, task=task).run()
    # given up after the third; the other worker may be at it then
    assert len(task.lines()) in (3, 4)
    assert counts(tmp_path / "r") == {unit: row for unit, row in counts(alone).items() if unit[2] != 2}
    campaign(tmp_path / "r", jobs=1).run()
    assert same_results(tmp_path / "r", alone)


def test_a_worker_without_memory_counts_as_dead(tmp_path):
    """MemoryError in Python is no bug of a unit: it is tried again, then reported."""
    with pytest.raises(IncompleteError, match=r"batch 0 without faults \(out of memory\)"):
        campaign(tmp_path / "r", jobs=2, task=Raising("memory"), data=digits_batches(8, 8)).run()


def test_errors_of_ours_come_back_as_they_are(tmp_path):
    """The same class and message as without workers."""
    with pytest.raises(DataError, match=r"^these images are no good$"):
        campaign(tmp_path / "r", jobs=2, task=Raising("data")).run()


def test_a_bug_comes_back_with_its_traceback(tmp_path):
    """Where it happened in the worker can be read."""
    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*pool_kit\.py.*ZeroDivisionError: a bug in the task"):
        campaign(tmp_path / "r", jobs=2, task=Raising("bug")).run()


def test_workers_that_cannot_start_are_reported_after_three_attempts(tmp_path, monkeypatch):
    """No endless loop of new processes; nothing is blamed on a unit."""
    start = f"import os; open({str(tmp_path / 'starts')!r}, 'a').write('x'); os._exit(3)"
    monkeypatch.setattr(worker_process, "_START", start)
    with pytest.raises(IncompleteError, match=r"end while starting \(exit code 3\), 3 times in a row; 0 of 24 units"):
        campaign(tmp_path / "r", jobs=2).run()
    assert 3 <= len((tmp_path / "starts").read_text()) <= 5


def test_a_task_that_workers_cannot_import_is_refused(tmp_path):
    """With what to do about it."""

    class Local(Classification):
        pass

    with pytest.raises(UsageError, match=r"cannot import .*Local; move it into a module, or use `jobs=1`"):
        campaign(tmp_path / "r", jobs=2, task=Local()).run()


def test_a_full_disk_is_one_clear_line(tmp_path, monkeypatch):
    """Where the temporary files lie, and what to do."""

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(placed_batches, "add_batch", full)
    with pytest.raises(StoreError, match=r"cannot hold .* set TMPDIR .* or use `jobs=1`"):
        campaign(tmp_path / "r", jobs=2).run()


def test_what_workers_log_reaches_the_parent(tmp_path, caplog):
    """At the parent's level, through the parent's handlers."""
    with caplog.at_level(logging.INFO, "ftonnx"):
        campaign(tmp_path / "r", jobs=2, task=Talkative()).run()
    said = [record for record in caplog.records if record.name == "ftonnx.tests" and record.process != os.getpid()]
    assert said
    assert all(record.getMessage() == f"process {record.process} looks at 12 images" for record in said)


def test_a_script_without_a_guard_runs_once(tmp_path):
    """Workers do not import the script that started them; what they print does not reach its stdout."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import ftonnx
        print("begin")
        result = ftonnx.evaluate("digits", "digits", rates=[1e-4], repeats=2, batch_size=60, threads=1, jobs=2)
        print("end", len(result.rates))
        """)
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=environment(tmp_path), timeout=100
    )
    assert (done.stdout, done.stderr, done.returncode) == ("begin\nend 1\n", "", 0)


@pytest.mark.slow
def test_weights_are_mapped_and_not_copied(tmp_path, temporary):
    """Of 16 MB of weights that two workers map, each holds a part of its own, though flips reach every page."""
    rng = np.random.default_rng(0)
    shape = (2048, 2048)
    weight = onnx.numpy_helper.from_array(rng.standard_normal(shape, np.float32), "weight")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Flatten", ["x"], ["flat"]),
            onnx.helper.make_node("MatMul", ["flat", "weight"], ["y"], name="dense"),
        ],
        "dense",
        [value("x", onnx.TensorProto.FLOAT, ["batch", 2, 32, 32])],
        [value("y", onnx.TensorProto.FLOAT, ["batch", 2048])],
        [weight],
    )
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(proto, tmp_path / "dense.onnx")
    images = rng.standard_normal((8, 2, 32, 32), np.float32)
    own = []

    def look(done, total):
        for worker in psutil.Process().children():
            maps = worker.memory_maps(grouped=True)
            own.extend((m.anonymous, m.size) for m in maps if str(temporary) in m.path and "weights" in m.path)

    ftonnx.evaluate(
        tmp_path / "dense.onnx",
        [(images, np.arange(8))],
        rates=[2e-6],
        repeats=60,
        threads=1,
        strategy="live",
        jobs=2,
        results=tmp_path / "r",
        progress=look,
    )
    assert own
    assert max(size for _, size in own) >= 4 * 2048 * 2048
    assert 0 < max(copied for copied, _ in own) < 2048 * 2048


@pytest.mark.parametrize("in_memory", [False, True])
def test_models_whose_weights_cannot_be_shared_run_in_workers_too(tmp_path, in_memory):
    """Weights that are multiplied: workers read the model's file, or are given the model."""
    value, node = onnx.helper.make_tensor_value_info, onnx.helper.make_node
    weight = onnx.numpy_helper.from_array(np.random.default_rng(0).standard_normal((16, 5)).astype(np.float32), "w")
    nodes = [node("Mul", ["w", "w"], ["v"]), node("Flatten", ["x"], ["f"]), node("MatMul", ["f", "v"], ["y"])]
    inputs, outputs = [value("x", 1, ["batch", 1, 4, 4])], [value("y", 1, ["batch", 5])]
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "squared", inputs, outputs, [weight]),
        opset_imports=[onnx.helper.make_opsetid("", 20)],
        ir_version=10,
    )
    onnx.save(proto, tmp_path / "squared.onnx")
    images = np.random.default_rng(1).standard_normal((12, 1, 4, 4)).astype(np.float32)
    for jobs in (1, 2):
        result = ftonnx.evaluate(
            proto if in_memory else tmp_path / "squared.onnx",
            [(images, np.arange(12) % 5)],
            rates=[1e-2],
            repeats=4,
            batch_size=4,
            threads=1,
            jobs=jobs,
            results=tmp_path / str(jobs),
        )
        assert result.engine.strategy == "rebuild"
        assert "is not possible" in result.engine.fallback
    assert same_results(tmp_path / "1", tmp_path / "2")


def test_fault_spaces_survive_pickling():
    """Workers flip in the same way as their parent, float16 rounded once included."""
    for dtype in (np.float16, np.float32, np.float64):
        value = onnx.helper.make_tensor_value_info
        weight = onnx.numpy_helper.from_array(np.linspace(-3, 3, 64, dtype=dtype).reshape(8, 8), "w")
        kind = weight.data_type
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [value("x", kind, [1, 8])],
            [value("y", kind, [1, 8])], [weight],
        )  # fmt: skip
        proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
        space = ftonnx.FaultSpace.of(proto)
        copy = pickle.loads(pickle.dumps(space))
        assert copy == space
        assert copy.fingerprint == space.fingerprint
        elements, masks = np.arange(64), np.left_shift(np.uint64(1), np.arange(64, dtype=np.uint64) % 32)
        flipped = []
        for each in (space, copy):
            words = np.linspace(-3, 3, 64, dtype=dtype).view(f"u{np.dtype(dtype).itemsize}").copy()
            each.targets[0].format.flip(words, elements, masks)
            flipped.append(words.tobytes())
            assert each.targets[0].format.known_to_numpy
        assert flipped[0] == flipped[1]


def test_random_kills_of_workers_change_nothing(tmp_path, alone):
    """SIGKILL for whichever worker there is, many times during one campaign."""
    rng, kills = np.random.default_rng(5), []

    def sometimes(done, total):
        if done and rng.random() < 0.15:
            workers = psutil.Process().children()
            victim = workers[rng.integers(len(workers))]
            kills.append(victim.pid)
            victim.kill()

    campaign(tmp_path / "r", jobs=2).run(progress=sometimes)
    assert len(set(kills)) >= 2
    assert same_results(tmp_path / "r", alone)


def test_temporary_files_go_with_an_exception_of_the_caller(tmp_path):
    """A progress callback that raises ends the workers too."""

    def fail(done, total):
        if done:
            raise KeyError("progress")

    with pytest.raises(KeyError):
        campaign(tmp_path / "r", jobs=2).run(progress=fail)
    assert 1 <= len(counts(tmp_path / "r")) < UNITS
    assert Path(tmp_path / "r" / "campaign.json").exists()
