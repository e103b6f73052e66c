"""Real Dask clusters: equal results by every way of running a campaign, and clusters whose parts die."""

import json
import subprocess
from contextlib import suppress

import numpy as np
import psutil
import pytest
from campaign_kit import (
    cli,
    counts,
    digits_batches,
    finish,
    held,
    one_error_line,
    process,
    recorded,
    rows,
    wait_for_units,
)
from dask_kit import cluster, waited
from executor_kit import BATCH, BATCHES, campaign, expected, found_in
from onnx_zoo import random_floats
from packed_kit import int8_cnn
from pool_kit import Deadly, digest
from segmentation_kit import write_campaign

import ftonnx
from ftonnx.campaign import CampaignResult, merge
from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.run import on_dask
from ftonnx.datasets import load_dataset
from ftonnx.errors import IncompleteError, UsageError
from ftonnx.inject import BitFlipRates, FaultCount, FaultList
from ftonnx.runtime import FaultySession
from ftonnx.tasks import task_of_file

dask = pytest.importorskip("dask")
pytest.importorskip("distributed")

RATES = BitFlipRates([1e-5, 1e-4, 1e-3])
FAULTS = "Injection,Layer,TensorIndex,Bit\n" + "".join(
    f'{number},conv,"({number % 4}, 0, 1, {number % 3})",{20 + number % 12}\n' for number in range(12)
)


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """A scheduler and two workers, one of them with two threads."""
    with cluster(tmp_path_factory.mktemp("dask"), workers=1) as found:
        found.start_worker(threads=2)
        yield found


def summary(folder):
    """Return all that is said of a campaign but how and where it was run."""
    found = CampaignResult.open(folder).to_dict()
    del found["run"]
    return json.dumps(found, sort_keys=True)


def digits(folder):
    """The embedded model at three rates."""
    return "digits", load_dataset("digits", limit=60), RATES, {"repeats": 4}


def int8(folder):
    """A quantized network that was made in memory."""
    images = random_floats(40, 3, 8, 8, seed=3, scale=1)
    return int8_cnn(), [(images, np.arange(40) % 4)], RATES, {"repeats": 4}


def single_faults(folder):
    """Injections that all images meet."""
    return "digits", load_dataset("digits", limit=60), FaultCount(1), {"repeats": 30, "batch_size": 20}


def fault_list(folder):
    """A published list of single faults."""
    path = folder / "list.csv"
    path.write_text(FAULTS)
    return "digits", load_dataset("digits", limit=60), FaultList.read(path), {"batch_size": 20}


def maps(folder):
    """A segmentation network."""
    model, pixels, labels = write_campaign(folder)
    return model, [(pixels, labels)], RATES, {"repeats": 3}


@pytest.mark.slow
@pytest.mark.parametrize("case", [digits, int8, single_faults, fault_list, maps])
def test_every_way_of_running_a_campaign_gives_the_same_bytes(tmp_path, workers, case):
    """One process, two, three shards and a merge, and a Dask cluster of three threads in two processes."""
    model, data, faults, settings = case(tmp_path)

    def run(name, **more):
        chosen = {"strategy": "live", "threads": 1} | settings | more
        return ftonnx.evaluate(model, data, faults, results=tmp_path / name, **chosen).results

    run("alone")
    run("two", jobs=2)
    merge([run(f"shard-{k}", shard=f"{k}/3") for k in (1, 2, 3)], tmp_path / "merged")
    run("dask", engine="dask", scheduler=workers.address)
    alone = summary(tmp_path / "alone")
    for name in ("two", "merged", "dask"):
        assert summary(tmp_path / name) == alone
        assert counts(tmp_path / name) == counts(tmp_path / "alone")


def test_workers_read_the_images_of_a_file(tmp_path, workers, monkeypatch):
    """Each process for itself, after it has found them to be the client's."""
    monkeypatch.setattr(on_dask, "_SENT_BYTES", 0)
    images, labels = digits_batches(60, 60)[0]
    np.savez(tmp_path / "digits.npz", images=16 * images, labels=labels)
    chosen = {"rates": [1e-4, 1e-3], "repeats": 3, "strategy": "live", "threads": 1}

    def run(**more):
        return counts(ftonnx.evaluate("digits", f"npz:{tmp_path / 'digits.npz'}", **chosen, **more).results)

    assert run(engine="dask", scheduler=workers.address) == run()


def test_a_task_from_a_file_of_ones_own_travels_with_its_file(tmp_path, workers):
    """Workers run the file, and not from its place."""
    path = tmp_path / "own.py"
    path.write_text("from ftonnx.tasks import Classification\nclass Own(Classification):\n    name = 'own'\n")
    task = task_of_file(path, "Own")()
    alone = campaign(tmp_path / "alone", {}, task).run()
    found = campaign(tmp_path / "dask", {"engine": "dask", "scheduler": workers.address}, task).run()
    assert counts(found.results) == counts(alone.results)


def test_a_gate_asks_a_cluster_as_it_asks_one_process(tmp_path, workers):
    """Rounds, whose counts and verdict do not depend on who ran them."""
    asked = ("gate", "digits", "--data", "digits", "--max-drop", "1e-4:0.4", "--format", "q15.16", "--threads", 1)
    alone = cli(*asked, "--results", tmp_path / "alone")
    found = cli(*asked, "--results", tmp_path / "dask", "--engine", "dask", "--scheduler", workers.file)
    assert alone.code in (0, 1), alone.err
    # the first line has the seconds
    assert (found.code, found.out.splitlines()[1:]) == (alone.code, alone.out.splitlines()[1:])
    assert counts(tmp_path / "dask") == counts(tmp_path / "alone")


@pytest.mark.slow
def test_without_a_scheduler_it_is_a_cluster_on_this_machine(tmp_path):
    """Which nobody else reaches, and of which nothing is left; in a process of its own, whose children end with it."""
    asked = (
        "inject",
        "digits",
        "--data",
        "digits",
        "--limit",
        "60",
        "--rate",
        "1e-4",
        "--repeats",
        "4",
        "--threads",
        "1",
    )
    alone = finish(process(*asked, "--results", "alone", folder=tmp_path))
    assert alone.code == 0, alone.err
    client = process(*asked, "--results", "r", "--engine", "dask", "--jobs", "2", folder=tmp_path)
    started = set()
    while client.poll() is None:
        started |= set(psutil.Process(client.pid).children(recursive=True))
        listening = {each.laddr.ip for child in started for each in _listening(child)}
        assert listening <= {"127.0.0.1"}
    found = finish(client)
    assert found.code == 0, found.err
    assert counts(tmp_path / "r") == counts(tmp_path / "alone")
    assert len(started) >= 2
    waited(lambda: not any(child.is_running() for child in started))
    assert not list((tmp_path / "tmp").glob("ftonnx-scratch-*"))


def _listening(child):
    """Return the addresses that a process listens on."""
    with suppress(psutil.Error):
        return [each for each in child.net_connections("inet") if each.status == psutil.CONN_LISTEN]
    return []


def test_a_scheduler_that_is_not_there_is_named(tmp_path, monkeypatch):
    """In one line, after the stated time; nothing is left behind."""
    monkeypatch.setitem(dask.config.config["distributed"]["comm"]["timeouts"], "connect", "0.5s")
    for scheduler in ("tcp://127.0.0.1:1", str(tmp_path / "none.json"), "here"):
        with pytest.raises(UsageError, match=r"a Dask scheduler was expected at .*, got none"):
            campaign(None, {"engine": "dask", "scheduler": scheduler}).run()


@pytest.mark.slow
@pytest.mark.parametrize("failures", [0, 3])
def test_a_unit_that_kills_its_workers_is_left_out_and_its_neighbours_are_not(tmp_path, failures):
    """By a cluster that blames at once, and by one that first tries a task on four workers."""
    poison = Unit(1e-3, 2, 1)
    task = Deadly(tmp_path / "log", {digest(outputs_of(poison))}, times=100)
    message = r"died 2 times over each of: rate 0\.001, repeat 2, batch 1 \(killed\)\. 23 of 24 units are recorded"
    with cluster(tmp_path, workers=0, allowed_failures=failures) as found:
        for _ in range(2):
            found.start_worker(nanny=True)
        with pytest.raises(IncompleteError, match=message):
            campaign(tmp_path / "r", {"engine": "dask", "scheduler": found.address}, task).run()
    kept = found_in(tmp_path / "r")
    assert kept[0] == {unit: row for unit, row in expected()[0].items() if unit != tuple(poison)}
    assert kept[1] == expected()[1]
    assert len(task.lines()) <= 3 * (failures + 1)


def outputs_of(unit):
    """Return the outputs of one unit of the tiny campaign, from a session of our own."""
    found = campaign(None, {})
    images = digits_batches(BATCH, BATCH * BATCHES)[unit.batch][0]
    session = FaultySession(found.model, found.space, threads=1, strategy="live")
    return session.run(images, found.schedule.pattern(unit))[0]


@pytest.mark.slow
def test_workers_may_die_come_and_go(tmp_path):
    """Every unit once, with the same counts."""
    with cluster(tmp_path, workers=1) as found:
        first = found.workers[0]
        changed = []

        def change(done, total):
            if done == 4:
                found.start_worker()
            if done == 8 and not changed:
                first.kill()
                changed.append(done)

        campaign(tmp_path / "r", {"engine": "dask", "scheduler": found.address}).run(progress=change)
    assert changed
    assert found_in(tmp_path / "r") == expected()


def begun(folder, cluster):
    """Start a campaign on a cluster in a process of its own, and wait for its first units."""
    asked = ("inject", "digits", "--data", "digits", "--rate", "1e-4", "--repeats", "60", "--threads", "1")
    place = ("--results", "r", "--engine", "dask", "--scheduler", cluster.file)
    client = process(*asked, *place, folder=folder)
    wait_for_units(folder / "r", client, beyond=recorded(folder / "r"))
    return client


def require_all(results, before=()):
    """Every unit is recorded once, and what was recorded before is still there."""
    after = rows(results)
    assert all(row in after for row in before)
    assert len(after) == len(counts(results)) == 45 * 60


@pytest.mark.slow
def test_a_client_that_is_killed_goes_on_where_it_was(tmp_path):
    """Its workers forget it; what is recorded is not run again."""
    with cluster(tmp_path) as found:
        client = begun(tmp_path, found)
        client.kill()
        client.communicate()
        before = rows(tmp_path / "r")
        assert finish(begun(tmp_path, found)).code == 0
    require_all(tmp_path / "r", before)


@pytest.mark.slow
def test_without_its_scheduler_a_client_ends_and_another_one_goes_on(tmp_path, monkeypatch):
    """In the time that Dask gives to connections, with exit code 5."""
    with cluster(tmp_path) as found:
        with monkeypatch.context() as changed:
            changed.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "1s")
            client = begun(tmp_path, found)
        found.scheduler.kill()
        ended = finish(client)
        assert ended.code == 5
        assert one_error_line(ended).endswith("the same command goes on")
        assert "does not answer any more; " in ended.err
        before = rows(tmp_path / "r")
    with cluster(tmp_path) as found:
        assert finish(begun(tmp_path, found)).code == 0
    require_all(tmp_path / "r", before)


@pytest.mark.slow
def test_a_worker_that_stops_for_a_while_is_waited_for(tmp_path):
    """Others do what they can meanwhile."""
    with cluster(tmp_path) as found:
        client = begun(tmp_path, found)
        with held(found.workers[0]), pytest.raises(subprocess.TimeoutExpired):
            client.wait(3)
        assert finish(client).code == 0
    require_all(tmp_path / "r")
