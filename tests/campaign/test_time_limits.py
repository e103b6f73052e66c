"""Runs that do not end: a detected error where a flip is the cause, a refused model where none is, and never a hang."""

import math
import threading

import pytest
from campaign_kit import rows, summary
from loop_kit import FOREVER, dataset, images, loop_model

import ftonnx
from ftonnx.campaign.campaign import Campaign
from ftonnx.campaign.plan.settings import Settings
from ftonnx.datasets import load_dataset
from ftonnx.errors import ModelError, UsageError
from ftonnx.inject import BitFlipRates, load_model
from ftonnx.sessions import RunTimeoutError, SessionOptions, TimeLimit, open_session, run_session
from ftonnx.tasks import Classification

BIT = 40
"""Of the trip count, whose flip makes a loop of 2^40 rounds."""

SETTINGS = {
    "rates": [0.5],
    "include": ["trips=weight"],
    "exclude": ["w", "eye"],
    "bits": [BIT],
    "threads": 1,
    "seed": 6,
}


def run(model, folder, **settings):
    """Run units of which some do not end; only the trip count can flip."""
    return ftonnx.evaluate(model, dataset(), results=folder, **(SETTINGS | settings))


def n_faults(folder):
    """Return the number of flipped bits of every unit."""
    return [row["n_faults"] for row in rows(folder)]


@pytest.mark.slow
def test_a_flip_that_makes_a_loop_endless_is_a_detected_error(tmp_path):
    """In every unit that it hits alone; so with more processes, and nothing is run twice."""
    settings = {"repeats": 4, "unit_timeout": 0.3, "strategy": "rebuild"}
    found = run(loop_model(), tmp_path / "one", **settings)
    hit = sum(faults > 0 for faults in n_faults(tmp_path / "one"))
    assert found.rates[0].due.mean == pytest.approx(hit / 4)
    assert 0 < hit < 4
    run(loop_model(), tmp_path / "two", **settings, jobs=2)
    assert summary(tmp_path / "one") == summary(tmp_path / "two")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ftonnx.campaign.run.batch.BatchRunner.run", None)
        again = run(loop_model(), tmp_path / "one", **settings)
    assert again.to_dict() == found.to_dict()


@pytest.mark.slow
def test_a_loop_that_cannot_be_ended_ends_with_its_process(tmp_path):
    """ONNX Runtime looks between operators, and this loop has none: its units are detected errors all the same."""
    found = run(loop_model(has_nodes=False), tmp_path / "r", repeats=1, unit_timeout=0.3, strategy="rebuild")
    assert n_faults(tmp_path / "r") == [1]
    assert found.rates[0].due.mean == 1
    assert found.complete


@pytest.mark.parametrize("has_nodes", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_model_that_does_not_end_without_faults_is_refused(tmp_path, has_nodes):
    """In one line, and nothing is recorded."""
    with pytest.raises(ModelError, match=r"the model does not end: a run.* took more than 0\.3 s \(`unit_timeout`\)"):
        run(loop_model(FOREVER, has_nodes=has_nodes), tmp_path / "r", repeats=1, unit_timeout=0.3)
    assert not (tmp_path / "r").exists()


def test_a_run_is_ended_and_the_session_runs_on():
    """The limit is every run's own; one that was ended leaves nothing behind."""
    batch = {"x": images()[0]}
    endless = open_session(loop_model(FOREVER).SerializeToString(), SessionOptions())
    short = open_session(loop_model().SerializeToString(), SessionOptions())
    with TimeLimit(0.2) as limit:
        for _ in range(2):
            with pytest.raises(RunTimeoutError, match=r"did not end within 0\.2 s"):
                run_session(endless, batch)
            (scores,) = run_session(short, batch)
            assert (scores == batch["x"]).all()
    assert limit.seconds == 0.2


def test_limits_of_threads_are_their_own():
    """A short one beside a long one ends its own run alone."""
    batch = {"x": images()[0]}
    session = open_session(loop_model(FOREVER).SerializeToString(), SessionOptions())
    ended = []

    def run_for(seconds):
        with TimeLimit(seconds), pytest.raises(RunTimeoutError):
            run_session(session, batch)
        ended.append(seconds)

    threads = [threading.Thread(target=run_for, args=(seconds,)) for seconds in (1.0, 0.2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended == [0.2, 1.0]


def test_the_usual_limit_is_generous():
    """A minute where runs are short, so that a busy machine makes no faults."""
    data = load_dataset("digits", limit=8)
    usual = Campaign(load_model("digits"), data, BitFlipRates([1e-5]), settings=Settings(threads=1))
    assert usual._recipe.unit_seconds == 60
    asked = Campaign(load_model("digits"), data, BitFlipRates([1e-5]), settings=Settings(threads=1, unit_timeout=9))
    assert asked._recipe.unit_seconds == 9


@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan, "1", True])
def test_odd_limits_are_refused(value):
    """With the range, or the kind."""
    with pytest.raises(UsageError, match="`unit_timeout`"):
        Settings(unit_timeout=value)


def test_a_task_that_other_processes_cannot_import_keeps_the_runs_here(tmp_path, caplog):
    """Which is said, as runs that ONNX Runtime cannot end are ended there only; others end here too."""

    class Own(Classification):
        name = "own"

    found = run(loop_model(), tmp_path / "r", task=Own(), repeats=1, unit_timeout=0.3, strategy="rebuild")
    assert found.rates[0].due.mean == 1
    assert "a run that ONNX Runtime cannot end would not be ended: worker processes cannot import" in caplog.text
