"""Helpers for the tests of campaigns and of the command line: oracles, runners, small inputs.

The oracles share no code with ftonnx: images are counted one at a time, the store is read with sqlite3.
"""

import json
import logging
import math
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import namedtuple
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper
from schema_kit import require_described

from ftonnx.campaign import CampaignResult
from ftonnx.campaign.store.checked_rows import CheckedRows
from ftonnx.campaign.store.folder import Store
from ftonnx.campaign.store.header_file import with_check
from ftonnx.campaign.store.tables import Tables
from ftonnx.cli import main
from ftonnx.cli.lazy import SUMMARIES
from ftonnx.tasks import Counts

DIGITS = Path(__file__).parents[1] / "models" / "digits.onnx"
COUNTS = ("n", "correct1", "correct5", "sdc1", "sdc5", "sdc10", "sdc20", "masked", "due", "beneficial")
Finished = namedtuple("Finished", "code out err")
BASE = ("--data", "digits", "--strategy", "live", "--threads", "1")


def naive_outcomes(outputs, golden, labels, nan="due"):
    """Count outcomes one image at a time with sorted(); returns a dict."""
    if nan == "argmax":
        return naive_outcomes_by_argmax(outputs, golden, labels)
    counts = dict.fromkeys(COUNTS, 0)
    probabilities = all(is_distribution(gold) for gold in golden.tolist() if all(map(math.isfinite, gold)))
    for row, gold, label in zip(outputs, golden, labels, strict=True):
        counts["n"] += 1
        counts["masked"] += row.tobytes() == gold.tobytes()
        if not all(math.isfinite(score) for score in row.tolist()):
            counts["due"] += 1
            continue
        order = ranking(row)
        counts["correct1"] += order[0] == label
        counts["correct5"] += label in order[:5]
        golden_answer = None
        if all(math.isfinite(score) for score in gold.tolist()):
            golden_answer = ranking(gold)[0]
            counts["sdc1"] += order[0] != golden_answer
            counts["sdc5"] += order[0] not in ranking(gold)[:5]
            expected, found = (confidence(scores.tolist(), probabilities) for scores in (gold, row))
            counts["sdc10"] += abs(found - expected) > 0.1 * expected
            counts["sdc20"] += abs(found - expected) > 0.2 * expected
        counts["beneficial"] += order[0] == label != golden_answer
    return counts


def naive_outcomes_by_argmax(outputs, golden, labels):
    """Count outcomes one image at a time, where an output with NaN has the class that numpy's argmax finds."""
    counts = dict.fromkeys(COUNTS, 0)
    probabilities = all(is_distribution(gold) for gold in golden.tolist() if all(map(math.isfinite, gold)))
    for row, gold, label in zip(outputs, golden, labels, strict=True):
        answer, expected = ranking(row), ranking(gold)
        assert (answer[0], expected[0]) == (np.argmax(row), np.argmax(gold))
        before, after = (confidence(scores.tolist(), probabilities) for scores in (gold, row))
        counts["n"] += 1
        counts["masked"] += row.tobytes() == gold.tobytes()
        counts["due"] += not all(math.isfinite(score) for score in row.tolist())
        counts["correct1"] += answer[0] == label
        counts["correct5"] += label in answer[:5]
        counts["sdc1"] += answer[0] != expected[0]
        counts["sdc5"] += answer[0] not in expected[:5]
        for name, share in (("sdc10", 0.1), ("sdc20", 0.2)):
            lost = not math.isfinite(after) or abs(after - before) > share * before
            counts[name] += math.isfinite(before) and lost
        counts["beneficial"] += answer[0] == label != expected[0]
    return counts


def is_distribution(scores):
    """Say whether scores are probabilities of one image, up to the rounding of small number formats."""
    return all(0 <= score <= 1 for score in scores) and abs(sum(scores) - 1) <= 0.01


def confidence(scores, probabilities):
    """Return the probability of the best class, by a softmax where the scores are no probabilities."""
    best = scores[ranking(scores)[0]]
    if probabilities or not math.isfinite(best):
        return best if probabilities else math.nan
    return 1 / math.fsum(math.exp(score - best) for score in scores)


def ranking(row):
    """Return class numbers, best score first; NaN before all numbers, equal scores in the order of the classes."""
    return sorted(range(len(row)), key=lambda index: (not math.isnan(row[index]), -ordered(row[index]), index))


def ordered(score):
    """Return a number that sorts as the score does; every NaN is alike."""
    return 0.0 if math.isnan(score) else float(score)


def session(model, *, live=False):
    """Open a fresh session as the given strategy does; one thread."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if live:
        options.add_session_config_entry("session.disable_prepacking", "1")
    source = str(model) if isinstance(model, str | Path) else model.SerializeToString()
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def digits_batches(size, limit=None):
    """Return the test split's (images, labels) batches, read with numpy from the embedded archive."""
    with np.load(DIGITS.parents[1] / "datasets" / "digits.npz") as archive:
        chosen = archive["split"] == 2
        images = archive["images"][chosen][:limit].astype(np.float32) * np.float32(1 / 16)
        labels = archive["labels"][chosen][:limit].astype(np.int64)
    return [(images[i : i + size], labels[i : i + size]) for i in range(0, len(labels), size)]


def rows(results, table="units"):
    """Return the recorded rows in the order of their keys, as dicts, without their check values."""
    where = (Path(results).absolute() / "units.sqlite").as_uri()
    with closing(sqlite3.connect(f"{where}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        found = [dict(row) for row in database.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3")]
    return [{name: value for name, value in row.items() if name != "check"} for row in found]


def counts(results):
    """Return {(rate, repeat, batch): everything recorded but the time}."""
    found = {}
    for row in rows(results):
        row.pop("wall_ns")
        found[row.pop("rate"), row.pop("repeat"), row.pop("batch")] = row
    return found


def faults(results):
    """Return the recorded faults of all injections."""
    query = "SELECT injection, target, element, bit FROM faults ORDER BY 1, 2, 3, 4"
    with closing(sqlite3.connect(Path(results) / "units.sqlite")) as database:
        return database.execute(query).fetchall()


def edit(results, *statements):
    """Change what is recorded, as if it had been recorded so; each statement has to change something."""
    header = Store.header_of(Path(results))
    tables = Tables(header.task)
    with closing(sqlite3.connect(Path(results) / "units.sqlite")) as database, database:
        for statement in statements:
            assert database.execute(statement).rowcount > 0
        found = {
            name: database.execute(tables.select(name, columns)).fetchall() for name, columns in tables.columns.items()
        }
        checked = CheckedRows(database, tables, header)
        checked.start()
        for name, recorded_rows in found.items():
            database.execute(f"DELETE FROM {name}")
            checked.add(name, recorded_rows)


def edit_header(results, change):
    """Change what campaign.json says, as if it had been written so: ``change`` is called with its content."""
    file = Path(results) / "campaign.json"
    content = json.loads(file.read_text())
    change(content)
    content.pop("check")
    file.write_text(json.dumps(with_check(content)))


def summary(results):
    """Return all that is said of a campaign but how and where it was run."""
    found = CampaignResult.open(results).to_dict()
    del found["run"]
    return json.dumps(found, sort_keys=True)


def contents(folder):
    """Return the bytes of every file below ``folder`` by relative path."""
    folder = Path(folder)
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def cli(*arguments):
    """Run the command line in this process."""
    out, err = StringIO(), StringIO()
    handlers, level = logging.root.handlers[:], logging.getLogger("ftonnx").level
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main([str(argument) for argument in arguments])
    finally:
        logging.root.handlers[:] = handlers
        logging.getLogger("ftonnx").setLevel(level)
    return Finished(code, out.getvalue(), err.getvalue())


def cli_json(*arguments):
    """Run a command with --json in this process and return the object it prints, which its schema describes."""
    finished = cli(*arguments, "--json")
    assert finished.code == 0, finished.err
    found = json.loads(finished.out)
    require_described(next(each for each in arguments if each in SUMMARIES), found)
    return found


def environment(folder, **changed):
    """Return the environment of a process whose temporary files lie in ``folder``/tmp, which is there then."""
    temporary = Path(folder) / "tmp"
    temporary.mkdir(exist_ok=True)
    return os.environ | {"TMPDIR": str(temporary), "ORT_DISABLE_TELEMETRY": "1", "COLUMNS": "100"} | changed


def process(*arguments, folder, **options):
    """Start the command line as a process of its own whose temporary files lie in ``folder``/tmp."""
    command = [sys.executable, "-m", "ftonnx", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=folder, env=environment(folder), text=True, **(pipes | options))


def finish(popen):
    """Wait for a process and return what it printed."""
    out, err = popen.communicate(timeout=120)
    return Finished(popen.returncode, out, err)


def uninterrupted(command, folder):
    """Run a campaign that records in ``folder``/r to its end, and move that away; return its output and its counts."""
    whole = finish(process(*command, folder=folder))
    assert whole.code == 0, whole.err
    return whole.out, counts(move_away(Path(folder) / "r", "whole"))


def recorded(results):
    """Return the number of units recorded so far, 0 where there is no database yet."""
    try:
        return len(rows(results))
    except sqlite3.OperationalError:
        return 0


def wait_for_units(results, popen, beyond=0):
    """Wait until a campaign in another process has recorded more units than ``beyond``."""
    deadline = time.monotonic() + 60
    while True:
        ended = popen.poll() is not None
        if recorded(results) > beyond:
            return
        assert not ended, popen.communicate()
        assert time.monotonic() < deadline, "no unit was recorded within a minute"
        time.sleep(0.005)


def kill_at_random(commands, folder, *, units, printed, seed, early, strike=None):
    """Kill a campaign that records in ``folder``/r again and again, wherever it is.

    Most kills hit it at work, after some new unit; every fourth hits it at most ``early`` seconds after its start.
    Where it was faster than the kill, as on some machine it is, it has printed what it had to, and is begun once more.

    Args:
        commands: arguments for each start that is to be killed.
        folder: where they run.
        units: how many a whole campaign has.
        printed: what an uninterrupted one prints.
        seed: of the moments.
        early: seconds.
        strike: what else happens to a process at work before the kill: a function of it and of the source of moments.

    Returns:
        How many units each kill found recorded.
    """
    results, moments, found = Path(folder) / "r", random.Random(seed), []
    for number, command in enumerate(commands):
        while True:
            before = recorded(results)
            running = process(*command, folder=folder)
            if number % 4 and before < units:
                wait_for_units(results, running, before)
                if strike is not None:
                    strike(running, moments)
                time.sleep(moments.uniform(0, 0.05))
            else:
                time.sleep(moments.uniform(0, early))
            running.kill()
            finished = finish(running)
            if finished.code:
                break
            assert finished.out == printed
            shutil.rmtree(results)
        assert finished.code == -signal.SIGKILL, finished.err
        found.append(recorded(results))
    return found


@contextmanager
def held(popen):
    """Let a process stand still within the block, however fast it is."""
    popen.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        popen.send_signal(signal.SIGCONT)


def one_error_line(finished):
    """Return the only line on stderr, which must be an error, with nothing on stdout."""
    assert finished.out == ""
    lines = finished.err.splitlines()
    assert len(lines) == 1, finished.err
    assert lines[0].startswith("error: ")
    assert "Traceback" not in lines[0]
    return lines[0]


def move_away(folder, suffix):
    """Rename a folder and return its new path."""
    return Path(shutil.move(folder, f"{folder}-{suffix}"))


def flipped(tensor, index, bit):
    """Return the embedded model with one bit of one float flipped, by numpy alone."""
    model = onnx.load(DIGITS)
    (stored,) = (each for each in model.graph.initializer if each.name == tensor)
    values = numpy_helper.to_array(stored).copy()
    values.view(np.uint32)[index] ^= np.uint32(1 << bit)
    stored.CopyFrom(numpy_helper.from_array(values, tensor))
    return model


def outcomes(n, correct1=0, sdc1=0):
    """Return counts; what a gate does not look at is 0."""
    others = dict.fromkeys(("correct5", "sdc5", "sdc10", "sdc20", "masked", "due", "beneficial"), 0)
    return Counts(n=n, correct1=correct1, sdc1=sdc1, **others)
