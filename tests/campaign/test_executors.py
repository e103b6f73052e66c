"""What every executor must do, for every executor."""

import weakref
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from dask_kit import cluster
from executor_kit import ExecutorContract

import ftonnx
from ftonnx.campaign.run import automatic
from ftonnx.campaign.run.executors import EXECUTORS, executor_class
from ftonnx.campaign.run.in_process import InProcess


class TestInProcess(ExecutorContract):
    """This process."""

    chosen: ClassVar = {}


class TestProcesses(ExecutorContract):
    """Two others."""

    chosen: ClassVar = {"jobs": 2}


class TestAutomatic(ExecutorContract):
    """Here and elsewhere, whichever is faster."""

    chosen: ClassVar = {"jobs": "auto"}

    @pytest.fixture(autouse=True)
    def both(self, monkeypatch):
        """Measure in both places however short the campaign is, on two cores."""
        monkeypatch.setattr(automatic, "_WORTH_SECONDS", 0.0)
        monkeypatch.setattr(automatic, "_SAMPLE_SECONDS", 0.0)
        monkeypatch.setattr(automatic, "_UNKNOWN_SECONDS", 0.0)
        monkeypatch.setattr(automatic, "_SAMPLE_UNITS", 1)
        monkeypatch.setattr(automatic, "cores", lambda: 2)


class TestOnDask(ExecutorContract):
    """The workers of a cluster."""

    chosen: ClassVar = {"engine": "dask"}

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def workers(cls, tmp_path_factory):
        """Two of them, and their scheduler."""
        with cluster(tmp_path_factory.mktemp("dask")) as found:
            cls.chosen = {"engine": "dask", "scheduler": found.address}
            yield


def test_every_registered_executor_has_signed_the_contract():
    """A new one needs its line here."""
    signed = {executor_class(ftonnx.Settings(**contract.chosen)) for contract in ExecutorContract.__subclasses__()}
    assert signed == set(EXECUTORS)


def test_one_batch_is_in_memory_at_a_time():
    """Neither the images nor what runs them are there any more when the next batch is read."""
    batches = []

    def read(size, numbers):
        for _ in numbers:
            assert all(images() is None for images in batches)
            images = np.zeros(size)
            batches.append(weakref.ref(images))
            yield images, np.zeros(size, np.int64)
            del images

    ledger = SimpleNamespace(
        open_batches=lambda: [0, 1, 2],
        has_golden=lambda number: True,
        units_left=lambda number: [],
        flush=lambda: None,
    )
    work = SimpleNamespace(
        ledger=ledger,
        memory=0,
        opened={},
        data=SimpleNamespace(batches=read),
        recipe=SimpleNamespace(schedule=SimpleNamespace(images_per_unit=4)),
        open_batch=lambda images, labels: SimpleNamespace(golden=None, nbytes=1, images=images),
    )
    assert InProcess(work).run()
    assert len(batches) == 3
