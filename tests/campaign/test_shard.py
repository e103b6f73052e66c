"""Shards: equal parts of a campaign that together are all of it, and how job arrays say which is meant."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from campaign_kit import cli, cli_json, counts, environment, rows
from hypothesis import given
from hypothesis import strategies as st

import ftonnx
from ftonnx.campaign.plan.settings import Settings
from ftonnx.campaign.plan.shard import Shard
from ftonnx.datasets import load_dataset
from ftonnx.errors import UsageError
from ftonnx.gates.goals import Goal
from ftonnx.inject import PerLayer

pytestmark = pytest.mark.usefixtures("temporary_folder")

FAST = {"strategy": "live", "threads": 1, "repeats": 3}
RATES = [1e-5, 1e-4]
RUN = ("--data", "digits", "--limit", "60", "--strategy", "live", "--threads", "1", "--repeats", "3", "--rate", "1e-5")


def share_of(number, of, batches, units_per_batch):
    """Return what a shard has of a campaign whose last batch has one image, the others three."""
    return Shard(number, of).share(samples=3 * batches - 2, images_per_batch=3, units_per_batch=units_per_batch)


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 50))
def test_shards_are_all_of_a_campaign_and_have_no_unit_in_common(batches, units_per_batch, of):
    """However many; they differ by a batch's worth of rounding at most, and only the last batches are cut."""
    shares = [share_of(number, of, batches, units_per_batch) for number in range(1, of + 1)]
    units = [(batch, number) for share in shares for batch in share.batches for number in share.units_of(batch)]
    assert sorted(units) == [(batch, number) for batch in range(batches) for number in range(units_per_batch)]
    sizes = [share.units for share in shares]
    assert sum(sizes) == batches * units_per_batch
    assert max(sizes) - min(sizes) <= 1
    whole = [batch for share in shares for batch in share.whole]
    assert whole == list(range(batches // of * of))
    assert all(share.batches == sorted(set(share.batches)) for share in shares)


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 50))
def test_a_share_has_nothing_of_other_batches(batches, units_per_batch, of):
    """Its list of batches is complete, and none in it is empty."""
    for number in range(1, of + 1):
        share = share_of(number, of, batches, units_per_batch)
        having = [batch for batch in range(batches) if len(share.units_of(batch))]
        assert share.batches == having


@pytest.mark.parametrize(
    ("variables", "shards", "expected"),
    [
        ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "16", "SLURM_ARRAY_TASK_MIN": "0"}, None, (4, 16)),
        ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "16", "SLURM_ARRAY_TASK_MIN": "1"}, 16, (3, 16)),
        (
            {
                "SLURM_ARRAY_TASK_ID": "14",
                "SLURM_ARRAY_TASK_COUNT": "4",
                "SLURM_ARRAY_TASK_MIN": "2",
                "SLURM_ARRAY_TASK_STEP": "4",
            },
            None,
            (4, 4),
        ),
        ({"JOB_COMPLETION_INDEX": "0"}, 3, (1, 3)),
        ({"JOB_COMPLETION_INDEX": "2"}, 3, (3, 3)),
        ({"PBS_ARRAY_INDEX": "1"}, 3, (1, 3)),
        ({"PBS_ARRAY_INDEX": "3"}, 3, (3, 3)),
    ],
)
def test_job_arrays_say_which_shard_is_meant(variables, shards, expected):
    """Slurm says of how many, too."""
    assert Shard.of_environment(variables, shards) == Shard(*expected)


@pytest.mark.parametrize(
    ("variables", "shards", "message"),
    [
        ({}, 3, "SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX or PBS_ARRAY_INDEX, and none is set: say K/N"),
        ({"JOB_COMPLETION_INDEX": "0"}, None, "say `shards` too"),
        ({"JOB_COMPLETION_INDEX": "3"}, 3, "JOB_COMPLETION_INDEX=3 was found; from 0 to 2 was expected for 3 shards"),
        ({"PBS_ARRAY_INDEX": "0"}, 3, "PBS_ARRAY_INDEX=0 was found; from 1 to 3 was expected"),
        ({"JOB_COMPLETION_INDEX": "x"}, 3, "JOB_COMPLETION_INDEX: a number was expected in the environment, got 'x'"),
        ({"SLURM_ARRAY_TASK_ID": "3"}, 3, "SLURM_ARRAY_TASK_MIN: a number was expected in the environment, got ''"),
        (
            {"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "1"},
            None,
            "SLURM_ARRAY_TASK_ID=9 is none of 3 tasks numbered in equal steps, such as 1 to 3",
        ),
        (
            {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "1"},
            4,
            "`shards=4` was asked for, and the job array has 3 tasks",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(variables, shards, message):
    """With what was found and what was expected."""
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        Shard.of_environment(variables, shards)


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", "1/3/5", ""])
def test_a_shard_is_k_of_n(text):
    """From 1."""
    with pytest.raises(UsageError, match="`shard`: K/N"):
        Settings(shard=text)


def run(results, faults=None, **options):
    """Run a campaign on sixty digits."""
    data = load_dataset("digits", limit=60)
    what = {"faults": faults} if faults is not None else {"rates": RATES}
    return ftonnx.evaluate("digits", data, results=results, **what, **(FAST | options))


def test_a_shard_runs_its_units_alone_and_the_first_golden_run(tmp_path):
    """By which machines are told apart."""
    whole = run(tmp_path / "whole")
    done = [run(tmp_path / f"{number}", shard=f"{number}/3") for number in (1, 2, 3)]
    parts = [counts(result.results) for result in done]
    assert [len(part) for part in parts] == [16, 16, 16]
    assert parts[0] | parts[1] | parts[2] == counts(whole.results)
    assert all(not result.complete for result in done)
    golden = [[row["batch"] for row in rows(result.results, "golden")] for result in done]
    assert golden == [[0, 1, 6], [0, 2, 3, 6, 7], [0, 4, 5, 7]]
    first = [rows(result.results, "golden")[0]["digest"] for result in done]
    assert len(set(first)) == 1


@pytest.mark.parametrize("shard", ["1/2", "2/3"])
def test_a_shard_tells_of_the_tensors_that_its_faults_hit(tmp_path, shard):
    """Where it has only some of the injections that every tensor gets."""
    result = run(tmp_path / "r", PerLayer(3), repeats=None, batch_size=60, shard=shard)
    units = {row["repeat"]: row for row in rows(result.results)}
    names = [tensor.tensor for tensor in result.fault_space.tensors]
    assert len(result.layers) > 1
    for layer in result.layers:
        first = 3 * names.index(layer.tensor)
        hit = [units[number] for number in range(first, first + 3) if number in units][: layer.injections]
        assert len(hit) == layer.injections
        assert layer.sdc1.mean == pytest.approx(sum(row["sdc1"] for row in hit) / (60 * len(hit)))


def test_workers_run_a_shard_too(tmp_path):
    """And nothing besides."""
    alone = run(tmp_path / "alone", shard="2/3")
    together = run(tmp_path / "together", shard="2/3", jobs=2)
    assert counts(alone.results) == counts(together.results)


def test_a_killed_shard_goes_on(tmp_path):
    """Its progress is that of its share, whatever else the folder holds."""
    told = []
    data = load_dataset("digits", limit=60)
    options = {"rates": RATES, "results": tmp_path / "r", **FAST}
    ftonnx.evaluate("digits", data, shard="1/3", **options)
    ftonnx.evaluate("digits", data, shard="2/3", progress=lambda done, units: told.append((done, units)), **options)
    assert told[0] == (0, 16)
    assert told[-1] == (16, 16)
    ftonnx.evaluate("digits", data, shard="2/3", progress=lambda done, units: told.append((done, units)), **options)
    assert told[-1] == (16, 16)
    assert len(counts(tmp_path / "r")) == 32
    assert ftonnx.evaluate("digits", data, **options).complete


@pytest.mark.parametrize("name", ["precision", "budget", "images_per_pattern"])
def test_what_shards_would_decide_differently_is_refused(name):
    """Each knows of its own units alone."""
    value = {"precision": 0.1, "budget": "5units", "images_per_pattern": "auto"}[name]
    with pytest.raises(UsageError, match=f"`{name}`"):
        Settings(shard="1/2", **{name: value})


def test_a_gate_takes_no_shard():
    """Its verdict needs all of the evidence."""
    goal = Goal("min_accuracy", 0.5, 1e-9)
    with pytest.raises(UsageError, match="no `shard` was expected with `precision`, `budget` or a gate"):
        ftonnx.gate("digits", load_dataset("digits", limit=60), [goal], shard="1/2")


def test_more_shards_than_units_are_refused(tmp_path):
    """Before anything is run; those with units do them."""
    with pytest.raises(UsageError, match=r"`shard=1/100` has nothing to do: the campaign has 48 units"):
        run(tmp_path / "r", shard="1/100")
    assert not (tmp_path / "r").exists()
    assert len(counts(run(tmp_path / "r", shard="100/100").results)) == 1


def test_the_command_line_runs_a_shard(tmp_path, monkeypatch):
    """Of a job array, too; it says what comes next, and forecasts its share."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    done = cli("inject", *RUN, "--shard", "auto", "--shards", "4", "--results", "r")
    assert done.code == 0
    assert "6 units of shard 2/4 are done; put the parts together with ftonnx merge" in done.err
    assert {batch for _, _, batch in counts("r")} == {2, 3}
    assert cli_json("inject", *RUN, "--shard", "1/4", "--results", "x", "--dry-run")["batches"] == 2
    without = cli("inject", *RUN, "--shard", "1/4")
    assert (without.code, "--results DIR is missing" in without.err) == (2, True)
    useless = cli("inject", *RUN, "--shard", "1/4", "--shards", "4", "--results", "r")
    assert (useless.code, "--shards is for --shard auto" in useless.err) == (2, True)
    wrong = cli("inject", *RUN, "--shard", "5/4", "--results", "r")
    assert (wrong.code, "--shard: K/N with K from 1 to N was expected, got 5/4" in wrong.err) == (2, True)


def test_the_script_for_slurm_does_as_it_says(tmp_path):
    """Run by a stand-in for an array of three tasks, which sets what Slurm sets."""
    script = Path(__file__).parents[2] / "examples" / "shards.sbatch"
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "ftonnx"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ftonnx "$@"\n')
    command.chmod(0o755)
    usual = environment(tmp_path, MODEL="digits", DATA="digits", PARTS=str(tmp_path / "parts"))
    usual |= {"PATH": f"{command.parent}:{os.environ['PATH']}", "SLURM_CPUS_PER_TASK": "1"}
    rest = ("--limit", "60", "--rate", "1e-5", "--repeats", "3", "--strategy", "live")
    for number in (1, 2, 3):
        array = {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "3"}
        subprocess.run(["bash", script, *rest], env=usual | array, cwd=tmp_path, check=True, capture_output=True)
    merged = ftonnx.merge([tmp_path / "parts" / str(number) for number in (1, 2, 3)], tmp_path / "all")
    assert (merged.units, merged.missing) == (24, {})
