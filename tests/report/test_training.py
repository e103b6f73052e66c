"""Charts of trainings: what they draw, and whole epochs under it."""

import pytest

from ftonnx.report.training import pretraining_chart, save_training_chart, training_chart
from ftonnx.training.records import Epoch, PretrainingEpoch, PretrainingLog, TrainingLog


def tuned(count):
    """Return a log whose third epoch is the best."""
    epochs = [
        Epoch(
            epoch=n,
            loss=1 / n,
            accuracy=0.5,
            val_loss=1.0,
            val_accuracy=0.9 if n == 3 else 0.6,
            learning_rate=1,
            seconds=1,
        )
        for n in range(1, count + 1)
    ]
    return TrainingLog(tuple(epochs))


def pretrained(count):
    """Return a log of a pretraining."""
    epochs = [
        PretrainingEpoch(epoch=n, loss=-0.1 * n, spread=0.4, learning_rate=1, seconds=1) for n in range(1, count + 1)
    ]
    return PretrainingLog(tuple(epochs))


def nodes(value):
    """Yield every dictionary of a definition."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    for each in value if isinstance(value, list) else ():
        yield from nodes(each)


def of_epochs(chart):
    """Return the axes of epochs."""
    return [each["axis"] for each in nodes(chart.to_dict()) if each.get("field") == "epoch"]


@pytest.mark.parametrize(
    "chart", [lambda count: training_chart(tuned(count)), lambda count: pretraining_chart(pretrained(count))]
)
@pytest.mark.parametrize("count", [1, 3, 12, 13, 100, 1000])
def test_axes_name_whole_epochs(chart, count):
    """Each once, and not too many."""
    axes = of_epochs(chart(count))
    assert axes
    for axis in axes:
        assert 0 < len(axis["values"]) <= 12
        assert axis["values"][-1] <= count
        assert len(set(axis["values"])) == len(axis["values"])


def test_the_best_epoch_is_marked():
    """By a rule where it is."""
    rules = [
        each
        for each in nodes(training_chart(tuned(5)).to_dict())
        if each.get("mark", {}) == {"type": "rule", "color": "#808080"}
    ]
    assert len(rules) == 2
    values = [each for each in nodes(training_chart(tuned(5)).to_dict()) if each.get("epoch") == 3 and len(each) == 1]
    assert values


def test_a_pretraining_shows_loss_and_spread():
    """Spread from 0 to 1."""
    fields = [each["field"] for each in nodes(pretraining_chart(pretrained(4)).to_dict()) if "field" in each]
    assert {"loss", "spread"} <= set(fields)


@pytest.mark.parametrize("log", [tuned(3), pretrained(3)])
@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_both_are_written_in_every_format(tmp_path, log, ending):
    """By the name."""
    path = tmp_path / f"x.{ending}"
    save_training_chart(log, path)
    assert path.stat().st_size > 1000
