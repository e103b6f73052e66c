"""Units on a Dask cluster: the same results, whatever happens to it."""

import pickle
import time
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from campaign_kit import counts, digits_batches
from executor_kit import UNITS, campaign, expected, found_in, opened

import ftonnx
from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.run import dask_cluster, dask_place, on_dask
from ftonnx.campaign.run.base import Work
from ftonnx.campaign.run.dask_cluster import Answer, Died, Lost
from ftonnx.campaign.run.dask_place import Kit, Place
from ftonnx.campaign.run.messages import Report, Trouble
from ftonnx.campaign.run.wire import Missing, decoded, encoded
from ftonnx.campaign.store.folder import Record
from ftonnx.campaign.store.golden_run import GoldenRun
from ftonnx.datasets import load_dataset
from ftonnx.errors import DataError, IncompleteError, UsageError
from ftonnx.inject import Faults
from ftonnx.tasks import Counts

pytest.importorskip("distributed")

DASK = {"engine": "dask", "jobs": 1}


class Scripted:
    """In place of a cluster: tasks are run at once, here, but where the script says what becomes of them."""

    name = "the scripted cluster"
    silent_since = None
    is_closed = False
    threads = 2

    def __init__(self, *_):
        self.script = deque()
        self.answers = deque()
        self.submitted = []
        self.refused = frozenset()

    def __enter__(self):
        Scripted.last = self
        self.script.extend(Scripted.plan)
        return self

    def __exit__(self, *_):
        return

    plan = ()

    def keep(self, make, *arguments):
        """Make it here."""
        return make(*arguments)

    def submit(self, function, place, work, model):
        """Run a task, or let become of it what the script says."""
        items, _ = pickle.loads(work)
        Scripted.seen(work)
        key = str(len(self.submitted))
        self.submitted.append(items)
        fate = self.script.popleft() if self.script else None
        if Scripted.deadly(items):
            fate = Died("killed")
        content = function(place, work, model) if fate is None else fate
        self.answers.append(Answer(key, content))
        return key

    @staticmethod
    def seen(work):
        """Look at what a task is given."""

    @staticmethod
    def deadly(items):
        """Say whether workers die over these."""
        return False

    def answer(self, timeout):
        """Return the oldest."""
        return self.answers.popleft() if self.answers else None


@pytest.fixture
def scripted(monkeypatch):
    """A cluster that does what a test says."""
    monkeypatch.setattr(on_dask, "Cluster", Scripted)
    monkeypatch.setattr(Scripted, "plan", ())
    return Scripted


def test_what_the_cluster_has_lost_is_run_again(tmp_path, scripted, monkeypatch):
    """Forgotten tasks, and a result that went with its worker."""
    monkeypatch.setattr(scripted, "plan", (None, Lost(), None, Lost(), Lost()))
    with opened(tmp_path / "r", DASK) as found:
        assert found.executor.run()
    assert found_in(tmp_path / "r") == expected()
    assert found.progress == list(range(UNITS + 1))


def test_units_over_which_workers_died_are_tried_alone_and_innocent_ones_stay(tmp_path, scripted, monkeypatch):
    """Dask blames whatever was on the worker; one of these is really deadly, and is left out after two more deaths."""
    poison = Unit(1e-3, 2, 1)
    monkeypatch.setattr(scripted, "deadly", staticmethod(lambda items: poison in items))
    monkeypatch.setattr(scripted, "plan", (None, None, Died("killed")))
    message = r"died 2 times over each of: rate 0\.001, repeat 2, batch 1 \(killed\)\. 23 of 24 units are recorded"
    with pytest.raises(IncompleteError, match=message), opened(tmp_path / "r", DASK) as found:
        found.executor.run()
    assert [items for items in scripted.last.submitted if poison in items][-2:] == [(poison,), (poison,)]
    kept = found_in(tmp_path / "r")
    assert kept[0] == {unit: row for unit, row in expected()[0].items() if unit != tuple(poison)}
    assert kept[1] == expected()[1]


def test_a_deadly_golden_run_costs_its_batch_and_no_other(tmp_path, scripted, monkeypatch):
    """It is not tried again for every unit of the batch."""
    monkeypatch.setattr(
        scripted, "deadly", staticmethod(lambda items: any(getattr(item, "batch", item) == 1 for item in items))
    )
    message = r"each of: batch 1 without faults \(killed\)\. 16 of 24"
    with pytest.raises(IncompleteError, match=message), opened(tmp_path / "r", DASK) as found:
        found.executor.run()
    assert found_in(tmp_path / "r")[0] == {unit: row for unit, row in expected()[0].items() if unit[2] != 1}
    deadly = [items for items in scripted.last.submitted if any(getattr(item, "batch", item) == 1 for item in items)]
    assert len(deadly) <= 4 + 2  # tasks that were on their way, and the golden run twice


def test_the_model_is_sent_once_where_workers_do_not_have_its_file(tmp_path, scripted, monkeypatch):
    """And then the same is computed."""
    model = tmp_path / "model.onnx"
    model.write_bytes(Path(ftonnx.models.resolve("digits")).read_bytes())
    data = ftonnx.load_dataset("digits", limit=24)
    plain = ftonnx.evaluate(model, data, rates=[1e-4], repeats=2, strategy="live", threads=1)
    asked = []
    monkeypatch.setattr(dask_place, "_is_here", lambda found: bool(asked.append(found)))
    sent = ftonnx.evaluate(model, data, rates=[1e-4], repeats=2, strategy="live", threads=1, engine="dask")
    assert counts(sent.results) == counts(plain.results)
    assert len({id(items) for items in scripted.last.submitted}) > 0
    assert asked


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """Images in a file, which are many enough to be read by workers."""
    monkeypatch.setattr(on_dask, "_SENT_BYTES", 0)
    images, labels = zip(*digits_batches(60, 60), strict=True)
    np.savez(tmp_path / "digits.npz", images=16 * np.concatenate(images), labels=np.concatenate(labels))
    return f"npz:{tmp_path / 'digits.npz'}"


def run_on(data, **more):
    """Run a small campaign and return its counts."""
    settings = {"rates": [1e-4, 1e-3], "repeats": 3, "strategy": "live", "threads": 1}
    return counts(ftonnx.evaluate("digits", data, **settings, **more).results)


def sent(work):
    """Return the batches that travelled with a task, and None for those that did not."""
    return pickle.loads(work)[1].values()


def test_workers_read_the_images_that_are_theirs_too(stored, scripted, monkeypatch):
    """By the client's path, in the client's form; none is sent."""
    plain = run_on(stored)
    tasks = []
    monkeypatch.setattr(scripted, "seen", staticmethod(tasks.append))
    assert run_on(stored, engine="dask") == plain
    assert tasks
    assert all(batch is None for work in tasks for batch in sent(work))


@pytest.mark.parametrize("there", ["nothing", "something else"])
def test_images_are_sent_where_the_workers_have_others_or_none(stored, scripted, monkeypatch, there):
    """From the first worker that says so on, to all."""
    plain = run_on(stored)
    tasks = []
    monkeypatch.setattr(scripted, "seen", staticmethod(tasks.append))

    def load(spec, **asked):
        if there == "nothing":
            raise DataError("nothing is there")
        return load_dataset(spec, **asked | {"limit": 59})

    monkeypatch.setattr(dask_place, "load_dataset", load)
    assert run_on(stored, engine="dask") == plain
    with_images = [all(batch is not None for batch in sent(work)) for work in tasks]
    assert not with_images[0]
    # so many were on their way
    assert all(with_images[4:])


def refuse(cluster, *arguments):
    """Take no task, as a client does whose connection was given up a moment ago."""
    raise ConnectionError("closed")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"silent_since": time.monotonic() - 601}, "has had no worker for 600 s"),
        ({"is_closed": True}, "does not answer any more"),
        ({"submit": refuse}, "does not answer any more"),
    ],
)
def test_nothing_is_waited_for_longer_than_is_said(tmp_path, scripted, monkeypatch, what, message):
    """Without a worker, and without the scheduler."""
    for name, value in what.items():
        monkeypatch.setattr(scripted, name, value)
    monkeypatch.setattr(scripted, "answer", lambda self, timeout: None)
    message = rf"^the scripted cluster {message}; 0 of 24 units are recorded in .*; the same command goes on$"
    with pytest.raises(IncompleteError, match=message), opened(tmp_path / "r", DASK) as found:
        found.executor.run()


def test_a_task_takes_some_seconds_and_the_last_ones_are_shared(tmp_path, scripted, monkeypatch):
    """One unit first; then as many as take the time, but no more than leave the other threads something."""
    with opened(tmp_path / "r", DASK) as found:
        assert found.executor.run()
    sizes = [len([item for item in items if isinstance(item, Unit)]) for items in scripted.last.submitted]
    assert sizes[0] == 1
    assert max(sizes) > 1
    assert sum(sizes) == UNITS
    assert max(sizes) <= -(-UNITS // 4)


@pytest.fixture
def place():
    """A place with a campaign on digits, and one batch of it."""
    found = campaign(None, {})
    work = Work(recipe=found._recipe, session=found.session, data=found.data, ledger=None, stop=None)
    images = next(found.data.batches(8))
    return pickle.dumps(Kit.of(work, 1, reads=False)), images


def said_by(place, items, batch, model=None):
    """Return what a worker says of some items of batch 0."""
    return decoded(dask_place.run_items(place, pickle.dumps((items, {0: batch})), model))


def test_a_worker_with_other_versions_is_refused_with_both(place):
    """Before anything of the client's is read."""
    said = decoded(
        dask_place.run_items(Place({"onnxruntime": "0.1"}, b"unreadable"), pickle.dumps(([0], {0: place[1]})), None)
    )
    assert isinstance(said, Trouble)
    assert isinstance(said.error, UsageError)
    assert "has onnxruntime " in str(said.error)
    assert "and the client 0.1: the same versions were expected" in str(said.error)


def test_a_place_travels_without_its_sessions(place):
    """And opens its own where it arrives."""
    kit, batch = place
    here = Place({}, kit)
    unit = Unit(1e-3, 0, 0)
    first = said_by(here, [unit], batch)
    there = pickle.loads(pickle.dumps(here))
    assert len(pickle.dumps(here)) < len(kit) + 1000
    second = said_by(there, [unit], batch)
    assert first.records[0].outcomes == second.records[0].outcomes
    assert dict(first.golden) == dict(second.golden)


def test_a_worker_without_the_models_file_says_so(tmp_path):
    """And takes the bytes; the file of another model is not the file."""
    model = tmp_path / "model.onnx"
    content = Path(ftonnx.models.resolve("digits")).read_bytes()
    model.write_bytes(content)
    found = ftonnx.Campaign(
        ftonnx.load_model(model),
        ftonnx.load_dataset("digits", limit=8),
        ftonnx.inject.BitFlipRates(1e-3),
        settings=ftonnx.Settings(strategy="live", threads=1),
    )
    work = Work(recipe=found._recipe, session=found.session, data=found.data, ledger=None, stop=None)
    kit = pickle.dumps(Kit.of(work, 1, reads=False))
    batch = next(found.data.batches(8))
    whole = dask_place.packed_model(found.model)
    items = [Unit(1e-3, 0, 0)]
    at_home = said_by(Place({}, kit), items, batch)
    for spoil in (model.unlink, lambda: model.write_bytes(content + b" ")):
        spoil()
        assert said_by(Place({}, kit), items, batch) is Missing.MODEL
        sent = said_by(Place({}, kit), items, batch, whole)
        assert sent.records[0].outcomes == at_home.records[0].outcomes
        assert dict(sent.golden) == dict(at_home.golden)


def test_what_workers_say_is_read_as_numbers_and_texts():
    """All of a report comes through; pickles and other things do not."""
    faults = Faults([0, 3], [5, 2**40], [31, 0])
    records = [
        Record(Unit(1e-7, 3, 5), Counts(n=8, correct1=7), 2, 10**12, faults),
        Record(Unit(0.0, 0, 0), Counts(n=1), 0, 5),
    ]
    golden = {5: GoldenRun(Counts(n=8, correct1=8), b"\x00\xff", b"abcd")}
    found = decoded(encoded(Report(2, golden, records, [])))
    assert dict(found.golden[5].outcomes) == {"n": 8, "correct1": 8}
    assert found.golden[5][1:] == golden[5][1:]
    assert [each.unit for each in found.records] == [each.unit for each in records]
    assert [dict(each.outcomes) for each in found.records] == [{"n": 8, "correct1": 7}, {"n": 1}]
    for name in ("target", "element", "bit"):
        assert getattr(found.records[0].faults, name).dtype == getattr(faults, name).dtype
        assert np.array_equal(getattr(found.records[0].faults, name), getattr(faults, name))
    assert found.records[1].faults is None
    trouble = decoded(encoded(Trouble.of(DataError("bad images"))))
    assert isinstance(trouble.error, DataError)
    assert str(trouble.error) == "bad images"
    assert decoded(encoded(Trouble.of(ZeroDivisionError("a bug")))).error is None
    for other in (b"", pickle.dumps(print), b"\xc1", encoded(Missing.MODEL)[:-1], b"\x92\xa6report\x01"):
        with pytest.raises(IncompleteError, match="a worker's report was expected"):
            decoded(other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "ray"}, "`engine`: local or dask was expected, got 'ray'"),
        ({"scheduler": "tcp://here:1"}, "`engine=dask` was expected with it, got 'local'"),
        ({"engine": "dask", "scheduler": "tcp://here:1", "jobs": 2}, "no `jobs` was expected"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    """One line each."""
    with pytest.raises(UsageError, match=message):
        ftonnx.Settings(**settings)


def test_without_dask_it_is_said_how_to_install_it(monkeypatch):
    """Before any work."""
    monkeypatch.setattr(dask_cluster, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'ftonnx\[dask\]'"):
        campaign(None, DASK).run()
