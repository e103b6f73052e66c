"""``finetune``: what is trained, what is kept, and going on after a kill."""

import json
from pathlib import Path

import numpy as np
import pytest
from training_kit import Stopped, kill, opened, stop_after, without_times, write_squares

from ftonnx.datasets import load_dataset
from ftonnx.errors import DataError, ModelError, UsageError
from ftonnx.models import build, read_metadata, read_state_dict
from ftonnx.training import TrainingLog, TrainingSettings, finetune
from ftonnx.training.records import Epoch

torch = pytest.importorskip("torch")

QUICK = {"batch_size": 16, "learning_rate": 0.02, "flips": False, "device": "cpu", "threads": 1}


def train(data, output="out.pth", arch="nets.py:small", **settings):
    """Train the small network."""
    started = {key: settings.pop(key) for key in ("weights", "classes", "progress") if key in settings}
    return finetune(arch, *data, output, settings=TrainingSettings(**{**QUICK, **settings}), **started)


def accuracy_of(path, data):
    """Return the accuracy of a checkpoint."""
    net = build("nets.py:small", classes=data.classes, weights=path)
    images, labels = next(data.batches(len(data)))
    with torch.no_grad():
        return float((net(torch.from_numpy(images)).argmax(1).numpy() == labels).mean())


def test_a_network_learns_and_its_best_epoch_is_kept(here, data):
    """The file has the accuracy that the log says of it; the log is what is returned."""
    found = train(data, epochs=8)
    best = found.log.best
    assert best.val_accuracy > 0.9
    assert best.rank == max(each.rank for each in found.log.epochs)
    assert accuracy_of("out.pth", data[1]) == pytest.approx(best.val_accuracy)
    assert TrainingLog.read("out.jsonl") == found.log
    assert [each.epoch for each in found.log.epochs] == list(range(1, 9))
    assert sorted(path.name for path in here.glob("out*")) == ["out.jsonl", "out.pth"]


def test_a_checkpoint_says_what_it_is(data):
    """What export needs, and how it was trained."""
    train(data, epochs=0)
    said = read_metadata("out.pth")
    assert (said["ftonnx.architecture"], said["ftonnx.classes"]) == ("nets.py:small", "3")
    assert json.loads(said["ftonnx.input_shape"]) == [3, 8, 8]
    assert json.loads(said["ftonnx.preprocess"]) == {"scale": 1 / 255}
    assert json.loads(said["ftonnx.training"])["learning_rate"] == 0.02


def test_equal_trainings_are_equal(data):
    """Order, dropout, fresh weights; another seed is another training."""
    first = train(data, epochs=2)
    second = train(data, "again.pth", epochs=2)
    other = train(data, "other.pth", epochs=2, seed=1)
    assert without_times(first.log) == without_times(second.log)
    assert without_times(first.log) != without_times(other.log)


def test_steps_in_mixed_precision_learn_as_well_and_leave_float32_behind(data):
    """On a processor only where that is asked for; validation, and what is written, stay in float32."""
    plain = train(data, epochs=8)
    asked = train(data, "asked.pth", epochs=8, autocast="none")
    mixed = train(data, "mixed.pth", epochs=8, autocast="bfloat16")
    assert without_times(asked.log) == without_times(plain.log)
    assert mixed.log.epochs[0].loss != plain.log.epochs[0].loss
    assert mixed.log.epochs[0].loss == pytest.approx(plain.log.epochs[0].loss, rel=0.02)
    assert mixed.log.best.val_accuracy > 0.9
    assert accuracy_of("mixed.pth", data[1]) == pytest.approx(mixed.log.best.val_accuracy)
    weights = read_state_dict("mixed.pth").values()
    assert {each.dtype for each in weights if each.is_floating_point()} == {torch.float32}


@pytest.mark.parametrize("images", [5, 100, 200, 330])
def test_an_interrupted_training_goes_on_to_the_same_result(here, data, images):
    """From its last finished epoch, wherever it was stopped."""
    whole = train(data, epochs=4)
    expected = read_state_dict("out.pth")
    with pytest.raises(Stopped):
        train(data, "part.pth", epochs=4, progress=stop_after(images))
    done = TrainingLog.read("part.jsonl").epochs if (here / "part.jsonl").exists() else ()
    assert len(done) == images // 96
    resumed = train(data, "part.pth", epochs=4)
    assert without_times(resumed.log) == without_times(whole.log)
    found = read_state_dict("part.pth")
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert not list(here.glob("*.training"))


def test_a_killed_process_loses_no_finished_epoch(here, data):
    """SIGKILL, in the middle of the third epoch; nothing but the state is left, and the command goes on."""
    whole = train(data, epochs=4)
    call = (
        "from ftonnx.training import TrainingSettings, finetune\n"
        "from training_kit import opened\n"
        f"settings = TrainingSettings(epochs=4, **{QUICK!r})\n"
        f"finetune('nets.py:small', *opened('npz:{here}'), 'killed.pth', settings=settings, progress=progress)\n"
    )
    kill(call, 220, here)
    assert sorted(path.name for path in here.glob("killed*")) == ["killed.jsonl", "killed.pth.training"]
    resumed = train(data, "killed.pth", epochs=4)
    assert without_times(resumed.log) == without_times(whole.log)


def test_more_epochs_go_on_only_while_a_training_is_interrupted(data):
    """The state is of one training; another one is named."""
    with pytest.raises(Stopped):
        train(data, epochs=4, progress=stop_after(150))
    with pytest.raises(ModelError, match=r"out\.pth\.training: expected this training's .*with settings.* or remove"):
        train(data, epochs=4, seed=5)
    with pytest.raises(ModelError, match=r"with data "):
        train((data[1], data[1]), epochs=4)
    assert len(train(data, epochs=2).log.epochs) == 2
    Path("out.pth.training").write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match=r"expected an interrupted training, got .*; remove it"):
        train(data, epochs=2)


def test_a_pretrained_backbone_gets_a_fresh_classifier(here, data):
    """No epoch: the backbone as it was, a head for these classes."""
    torch.manual_seed(3)
    other = build("nets.py:small", classes=7, seed=9)
    torch.save({"state_dict": other.state_dict()}, "seven.pth")
    train(data, epochs=0, weights="seven.pth")
    found = read_state_dict("out.pth")
    assert torch.equal(found["conv.weight"], other.conv.weight)
    assert found["fc.weight"].shape == (3, 128)
    train(data, "five.pth", epochs=0, weights="seven.pth", classes=5)
    assert read_state_dict("five.pth")["fc.weight"].shape == (5, 128)


def test_a_linear_probe_changes_the_classifier_alone(data):
    """Batch statistics stay too."""
    train(data, "start.pth", epochs=0)
    train(data, epochs=3, weights="start.pth", linear_probe=True)
    before, after = read_state_dict("start.pth"), read_state_dict("out.pth")
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed == {"fc.weight", "fc.bias"}


def test_a_linear_probe_knows_a_classifier_that_was_registered_first(data):
    """The last layer of the file is the backbone's then."""
    train(data, "start.pth", arch="nets.py:first", epochs=0)
    train(data, arch="nets.py:first", epochs=2, weights="start.pth", linear_probe=True)
    before, after = read_state_dict("start.pth"), read_state_dict("out.pth")
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed == {"fc.weight", "fc.bias"}


def test_a_network_without_weights_is_refused(data):
    """By its name, in one line."""
    with pytest.raises(ModelError, match="Flatten: a network with weights was expected, got none to train"):
        train(data, arch="nets.py:empty")


def test_training_ends_and_the_rate_falls_where_nothing_gets_better(data):
    """A rate so small that nothing changes."""
    found = train(data, epochs=50, learning_rate=1e-12, patience=2, factor=0.5, stop_after=6)
    assert len(found.log.epochs) == 7
    assert found.log.since_best == 6
    rates = [each.learning_rate for each in found.log.epochs]
    assert rates[0] == 1e-12
    assert sorted(rates, reverse=True) == rates


def test_a_loss_that_is_not_finite_ends_it_and_keeps_the_best_epoch(data):
    """Six steps: an epoch of three is finished."""
    with pytest.raises(ModelError, match="epoch 2: a finite loss was expected, got nan; lower"):
        train(data, arch="nets.py:breaking", epochs=4)
    assert len(TrainingLog.read("out.jsonl").epochs) == 1
    assert read_state_dict("out.pth")["fc.weight"].isfinite().all()


def test_a_loss_on_the_validation_images_that_is_not_finite_is_said(here, data):
    """No log could hold it; a network that has it from the beginning is not trained."""
    with pytest.raises(ModelError, match=r"^a finite loss on the validation images was expected, got nan; check"):
        train(data, arch="nets.py:untested")
    assert not list(here.glob("out*"))


def test_what_cannot_be_trained_is_refused_before_anything_is_written(here, data):
    """One class, other classes, a device that is not there, a network for other images."""
    np.savez("one.npz", images=np.zeros((4, 3, 8, 8), np.uint8), labels=np.zeros(4, np.int64), classes=3)
    with pytest.raises(DataError, match="images of two classes or more were expected, got one"):
        train((load_dataset("npz:one.npz"), data[1]))
    (here / "two").mkdir()
    with pytest.raises(DataError, match="expected 3 classes, as the training images have, got 2"):
        train((data[0], load_dataset(write_squares(here / "two", classes=2))))
    with pytest.raises(UsageError, match="classes: 3 or more were expected"):
        train(data, classes=2)
    with pytest.raises(UsageError, match=r"out\.jsonl: this is the name of the log, which lies beside the output"):
        train(data, output="out.jsonl")
    Path("none.txt").write_text("an output may be there")
    with pytest.raises(ModelError, match=r"none\.pth: expected a checkpoint, but it cannot be read: No such file"):
        train(data, output="none.txt", weights="none.pth")
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="a CUDA device was expected, got none"):
            train(data, device="cuda")
    with pytest.raises(ModelError, match=r"^a network for images .* was expected, but this one fails"):
        train(opened(f"npz:{here}", crop=5), epochs=1)
    with pytest.raises(ModelError, match=r"^logits of 3 classes were expected from the network, got 2"):
        train(data, arch="nets.py:one_too_few")
    assert not list(here.glob("out*"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": -1}, "epochs must be 0 or more, got -1"),
        ({"batch_size": 0}, "batch_size must be 1 or more"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0"),
        ({"factor": 1.0}, "factor must be above 0 and below 1"),
        ({"autocast": "bf16"}, "autocast: expected one of auto, none, float16, bfloat16, got 'bf16'"),
        ({"device": "cdua"}, "device: expected one of auto, cpu, cuda, got 'cdua'; did you mean cuda"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    """One line each."""
    with pytest.raises(UsageError, match=message):
        TrainingSettings(**settings)


def test_a_log_of_something_else_is_refused(tmp_path):
    """With its name."""
    (tmp_path / "x.jsonl").write_text('{"epoch": 1}\n')
    with pytest.raises(DataError, match=r"x\.jsonl: expected a log of a training"):
        TrainingLog.read(tmp_path / "x.jsonl")


def test_of_equal_epochs_the_first_is_the_best():
    """By accuracy, then by loss."""

    def epoch(number, accuracy, loss):
        return Epoch(
            epoch=number, loss=1, accuracy=0.5, val_loss=loss, val_accuracy=accuracy, learning_rate=1, seconds=1
        )

    log = TrainingLog((epoch(1, 0.5, 1), epoch(2, 0.6, 2), epoch(3, 0.6, 1), epoch(4, 0.6, 1), epoch(5, 0.5, 0)))
    assert log.best.epoch == 3
    assert log.since_best == 2
    assert TrainingLog().best is None
