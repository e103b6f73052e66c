"""What every executor keeps to; a new leaf inherits it by one class of one line in ``campaign/test_executors.py``.

class TestMyExecutor(ExecutorContract):
    chosen = {"engine": "mine"}

The oracle opens an ordinary session for every unit and counts image by image; ftonnx only draws the patterns
and writes them into files.
"""

import os
import signal
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psutil
import pytest
from campaign_kit import COUNTS, DIGITS, counts, digits_batches, naive_outcomes, rows, session
from pool_kit import Refusing, digest

import ftonnx
from ftonnx.campaign.inputs import open_data
from ftonnx.campaign.provenance import header_of, identity_of
from ftonnx.campaign.run.base import Work, never
from ftonnx.campaign.run.batch import Recipe
from ftonnx.campaign.run.executors import EXECUTORS, executor_class, executor_for
from ftonnx.campaign.run.ledger import Ledger
from ftonnx.campaign.run.signals import StopRequest
from ftonnx.campaign.store.folder import Store
from ftonnx.errors import DataError, Interrupted
from ftonnx.inject import BitFlipRates, faulty_model, load_model

BATCH, BATCHES, REPEATS, RATES = 8, 3, 4, (1e-4, 1e-3)
UNITS = BATCHES * REPEATS * len(RATES)


def campaign(results, chosen, task=None):
    """Return a tiny campaign on the embedded model."""
    model = load_model("digits")
    return ftonnx.Campaign(
        model,
        open_data(digits_batches(BATCH, BATCH * BATCHES), model),
        BitFlipRates(RATES),
        task=task,
        settings=ftonnx.Settings(repeats=REPEATS, **chosen, batch_size=BATCH, strategy="live", threads=1),
        results=results,
    )


class Opened:
    """What is open while an executor works.

    Attributes:
        executor: the executor.
        ledger: what is left.
        stop: asks for an early end.
        progress: the numbers of recorded units that were told, in order.
    """

    def __init__(self, found, store, when_told, memory):
        self.progress = []
        self.stop = StopRequest()
        self._when_told = when_told
        self.ledger = Ledger(store, found.data, found.schedule, found.units, self._tell)
        recipe = Recipe(model=found.model, schedule=found.schedule, task=found.task, classes=found.data.classes)
        work = Work(
            recipe=recipe,
            session=found.session,
            data=found.data,
            ledger=self.ledger,
            stop=self.stop,
            memory=memory,
        )
        self.executor = executor_for(work)

    def _tell(self, done, total):
        assert total == UNITS
        self.progress.append(done)
        self._when_told(self, done)


@contextmanager
def opened(results, chosen, *, task=None, when_told=lambda found, done: None, memory=0):
    """Open a tiny campaign's folder and executor."""
    found = campaign(results, chosen, task)
    identity = identity_of(found.model, found.data, found.schedule, found.task)
    header = header_of(found.model, found.data, found.schedule, identity, found.session)
    with Store.create_or_resume(Path(results), header) as store:
        everything = Opened(found, store, when_told, memory)
        with everything.executor:
            yield everything


@cache
def expected():
    """The outcomes of every unit and the golden runs, from sessions and files of our own."""
    found = campaign(None, {})
    plain = session(DIGITS, live=True)
    units, golden = {}, {}
    for batch, (images, labels) in enumerate(digits_batches(BATCH, BATCH * BATCHES)):
        clean = plain.run(None, {"input": images})[0]
        golden[batch] = naive_outcomes(clean, clean, labels)
        for unit in found.schedule.units_of_batch(batch, range(found.schedule.units_per_batch)):
            faulty = faulty_model(found.model.proto, found.space, found.schedule.pattern(unit))
            outputs = session(faulty, live=True).run(None, {"input": images})[0]
            units[tuple(unit)] = naive_outcomes(outputs, clean, labels)
    return units, golden


def found_in(results):
    """The recorded outcomes of every unit and the golden runs."""
    units = {unit: {name: row[name] for name in COUNTS} for unit, row in counts(results).items()}
    golden = {row["batch"]: {name: row[name] for name in COUNTS} for row in rows(results, "golden")}
    return units, golden


class ExecutorContract:
    """Subclasses say which settings mean their executor."""

    chosen = None

    @pytest.fixture(autouse=True)
    def temporary(self, tmp_path, monkeypatch):
        """Temporary files lie in a folder of the test's own; they and all processes are gone at the end."""
        folder = tmp_path / "temporary"
        folder.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        before = set(psutil.Process().children())
        yield
        assert not list(folder.iterdir())
        assert set(psutil.Process().children()) <= before

    def test_it_is_the_only_one_that_the_setting_means(self):
        """And the registry finds it."""
        settings = ftonnx.Settings(**self.chosen)
        assert [kind for kind in EXECUTORS if kind.takes(settings)] == [executor_class(settings)]
        assert executor_class(settings).speedup(settings) >= 1

    def test_every_unit_and_every_golden_run_is_recorded_once_with_the_counts_of_a_plain_loop(self, tmp_path):
        """Every record is shown to whoever may have enough, and told as progress."""
        seen = []
        with opened(tmp_path / "r", self.chosen) as found:
            assert found.executor.run(lambda record: seen.append(tuple(record.unit)))
            assert found.executor.at_once >= 1
        assert found_in(tmp_path / "r") == expected()
        assert sorted(seen) == sorted(expected()[0])
        assert found.progress == list(range(UNITS + 1))

    def test_what_is_recorded_is_not_run_again(self, tmp_path):
        """Whoever began; of a finished campaign nothing is left."""
        with opened(tmp_path / "r", {}) as begun:
            assert not begun.executor.run(lambda record: begun.ledger.recorded == UNITS // 2)
        before = rows(tmp_path / "r")
        with opened(tmp_path / "r", self.chosen) as found:
            assert found.executor.run()
        assert found.progress == list(range(UNITS // 2, UNITS + 1))
        assert found_in(tmp_path / "r") == expected()
        after = rows(tmp_path / "r")
        assert all(row in after for row in before)
        with opened(tmp_path / "r", self.chosen) as finished:
            assert finished.executor.run()
        assert finished.progress == [UNITS]

    def test_it_pauses_when_it_is_enough_and_goes_on_when_it_is_called_again(self, tmp_path):
        """Not one unit more is recorded; the same executor does the rest."""
        with opened(tmp_path / "r", self.chosen) as found:
            for pause in (1, 2, UNITS // 2):
                assert not found.executor.run(lambda record, pause=pause: found.ledger.recorded == pause)
                assert len(rows(tmp_path / "r")) == pause
            assert found.executor.run()
        assert found_in(tmp_path / "r") == expected()

    def test_it_does_what_the_ledger_has_come_to_ask_for(self, tmp_path):
        """One repeat at some rates, then others: so campaigns work that may end early."""
        done = {}
        with opened(tmp_path / "r", self.chosen) as found:
            for repeat, rates in ((0, RATES), (2, RATES[1:]), (2, RATES)):
                found.ledger.ask_for(repeat, rates)
                assert found.executor.run()
                done |= {unit: row for unit, row in expected()[0].items() if unit[0] in rates and unit[1] == repeat}
                assert found_in(tmp_path / "r")[0] == done
        assert found_in(tmp_path / "r")[1] == expected()[1]

    def test_rounds_one_after_the_other_record_what_is_asked_for_and_nothing_else(self, tmp_path):
        """Whoever runs ahead records nothing before it is asked for, nor what is not asked for in the end."""
        done = {}
        seen = []
        with opened(tmp_path / "r", self.chosen, memory=10**8) as found:
            for repeat, rates in ((0, RATES), (1, RATES), (2, RATES[:1]), (3, RATES[:1])):
                found.ledger.ask_for(repeat, rates)
                assert found.executor.run(lambda record: seen.append(tuple(record.unit)))
                done |= {unit: row for unit, row in expected()[0].items() if unit[0] in rates and unit[1] == repeat}
                assert found_in(tmp_path / "r") == (done, expected()[1])
        assert sorted(seen) == sorted(done)
        assert found.progress == list(range(len(done) + 1))

    def test_the_units_that_end_a_budget_are_the_same_for_every_executor(self, tmp_path):
        """The first ones in the order of the batches, and no golden run of the others."""
        with opened(tmp_path / "r", self.chosen, memory=10**8) as found:
            found.ledger.ask_for(0, RATES, most=3)
            assert found.executor.run()
            first = [(rate, 0, batch) for batch in range(BATCHES) for rate in RATES]
            assert set(found_in(tmp_path / "r")[0]) == set(first[:3])
            assert set(found_in(tmp_path / "r")[1]) == {0, 1}
            found.ledger.ask_for(0, RATES, most=2)
            assert found.executor.run()
            assert set(found_in(tmp_path / "r")[0]) == set(first[:5])

    def test_a_request_to_stop_ends_it_with_everything_recorded_that_is_finished(self, tmp_path):
        """In one line that says how far it is; the campaign can go on elsewhere."""

        def ask(found, done):
            if done == 5:
                found.stop.signum = signal.SIGTERM

        with pytest.raises(Interrupted) as raised, opened(tmp_path / "r", self.chosen, when_told=ask) as found:
            found.executor.run()
        kept = counts(tmp_path / "r")
        assert 5 <= len(kept) < UNITS
        assert str(raised.value) == (
            f"stopped by SIGTERM: {len(kept)} of {UNITS} units are recorded in {tmp_path / 'r'}"
        )
        with opened(tmp_path / "r", {}) as other:
            assert other.executor.run()
        assert found_in(tmp_path / "r") == expected()

    def test_a_signal_ends_a_campaign_that_it_works_for(self, tmp_path):
        """SIGTERM for this process, which asks the executor to stop."""

        def kill(done, total):
            if done == 3:
                os.kill(os.getpid(), signal.SIGTERM)

        with pytest.raises(Interrupted, match=f"stopped by SIGTERM: .* of {UNITS} units"):
            campaign(tmp_path / "r", self.chosen).run(progress=kill)
        assert 3 <= len(counts(tmp_path / "r")) < UNITS

    def test_an_error_in_running_a_unit_is_told_as_it_is(self, tmp_path):
        """Wherever the unit ran; a bug shows what went wrong."""
        images = digits_batches(BATCH, BATCH * BATCHES)[1][0]
        second = digest(session(DIGITS, live=True).run(None, {"input": images})[0])
        with (
            pytest.raises(DataError, match=r"^these images are no good$"),
            opened(tmp_path / "r", self.chosen, task=Refusing(second, "data")) as found,
        ):
            found.executor.run()
        with (
            pytest.raises((ZeroDivisionError, RuntimeError), match="a bug in the task"),
            opened(tmp_path / "other", self.chosen, task=Refusing(second, "bug")) as found,
        ):
            found.executor.run()

    def test_an_error_of_whoever_is_told_ends_it_too(self, tmp_path):
        """What is recorded stays, and nothing else does."""

        def fail(found, done):
            if done == 2:
                raise KeyError("progress")

        with pytest.raises(KeyError), opened(tmp_path / "r", self.chosen, when_told=fail) as found:
            found.executor.run(never)
        assert len(counts(tmp_path / "r")) == 2
