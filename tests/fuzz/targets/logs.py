"""What one command wrote for another: logs, thresholds, ranges, distributions."""

import json

import numpy as np

from ftonnx.mitigate.points import Evaluation
from ftonnx.mitigate.search_log import SearchLog
from ftonnx.mitigate.thresholds import Thresholds as ThresholdsFile
from ftonnx.quant.cache import CalibrationCache
from ftonnx.report import Activations, activation_chart, activations_table
from ftonnx.report.activation_panels import histogram_grid
from ftonnx.report.training import pretraining_chart, training_chart
from ftonnx.training.records import PretrainingLog, TrainingLog
from fuzz.target import Target

_IDENTITY = {"model": "ab" * 32, "seed": 3}


class TrainingLogs(Target):
    """Logs of trainings and of pretrainings."""

    name = "training-log"

    def write_seeds(self, folder):
        """Write both kinds."""
        for name in ("tuned", "pretrained"):
            (folder / name).mkdir()
        whole = {
            "loss": 0.5,
            "accuracy": 0.8,
            "val_loss": 0.6,
            "val_accuracy": 0.7,
            "learning_rate": 0.1,
            "seconds": 2.0,
        }
        TrainingLog(tuple(TrainingLog.entry(epoch=n, **whole) for n in (1, 2, 3))).write(
            folder / "tuned" / "tuned.jsonl"
        )
        few = {"loss": -0.5, "spread": 0.8, "learning_rate": 0.1, "seconds": 2.0}
        PretrainingLog(tuple(PretrainingLog.entry(epoch=n, **few) for n in (1, 2))).write(
            folder / "pretrained" / "pre.jsonl"
        )

    def read(self, folder):
        """Read and draw it."""
        if (folder / "tuned.jsonl").exists():
            log = TrainingLog.read("tuned.jsonl")
            assert log.since_best >= 0 or log.best is not None
            training_chart(log).to_dict()
        if (folder / "pre.jsonl").exists():
            pretraining_chart(PretrainingLog.read("pre.jsonl")).to_dict()


class SearchLogs(Target):
    """The log of a search for thresholds."""

    name = "search-log"

    def write_seeds(self, folder):
        """Write one of two measurements."""
        with SearchLog(folder / "log", _IDENTITY) as log:
            for threshold in (1.5, 2.5):
                key = {"activation": "relu1", "iteration": 0, "threshold": threshold}
                log["relu1", 0, threshold] = Evaluation(**key, score=0.7, accuracy=(0.9, None, 0.5), at_most=0.8)

    def read(self, folder):
        """Go on with it."""
        with SearchLog(folder, _IDENTITY) as log:
            sum(evaluation.at_most for evaluation in log.values())


class Thresholds(Target):
    """Thresholds of activations."""

    name = "thresholds"

    def write_seeds(self, folder):
        """Write one per tensor and one per channel."""
        for scope, shape in {"tensor": (), "channel": (1, 4, 1, 1)}.items():
            (folder / scope).mkdir()
            values = {"relu1": np.full(shape, 1.5, np.float32), "relu2": np.full(shape, 0.1, np.float32)}
            made = ThresholdsFile(
                method="actmax", scope=scope, model="ab" * 32, values=values, search={"rates": [1e-6]}
            )
            made.save(folder / scope / "t.json")

    def read(self, folder):
        """Read and write it."""
        found = ThresholdsFile.load("t.json")
        json.dumps(found.to_dict())


class CalibrationRanges(Target):
    """Ranges of activations."""

    name = "calibration"

    def write_seeds(self, folder):
        """Write some."""
        (folder / "ranges").mkdir()
        _cache(folder / "ranges").save(_CALIBRATED, {"relu1": (0.0, 3.5), "conv1": (-1.0, 1.0)})

    def read(self, folder):
        """Read them."""
        _cache(folder).load(_CALIBRATED)


_CALIBRATED = {"model": "ab" * 32, "calibration": "minmax"}


def _cache(folder):
    return CalibrationCache(path=folder / "ranges.json", data="cd" * 32)


class ActivationTables(Target):
    """Distributions of activations, as the report shows them."""

    name = "activations"

    def write_seeds(self, folder):
        """Write two rows."""
        (folder / "table").mkdir()
        numbers = {
            "count": 100, "not_finite": 0.0, "minimum": 0.0, "quartile1": 0.1, "median": 0.2, "quartile3": 0.5,
            "maximum": 3.0, "mean": 0.4, "sparsity": 0.5, "above": "NaN",
            "edges": [0.0, 1.5, 3.0], "histogram": [90, 10],
        }  # fmt: skip
        rows = [{"activation": "relu1", "rate": rate, **numbers} for rate in (0, 1e-5)]
        (folder / "table" / "a.json").write_text(json.dumps({"model": "digits", "activations": rows}))

    def read(self, folder):
        """Read and draw them."""
        found = Activations.load("a.json")
        activations_table([found])
        activation_chart(found).to_dict()
        filled = [each for each in found.histograms if any(each.counts)]
        if filled:
            histogram_grid(filled).to_dict()
