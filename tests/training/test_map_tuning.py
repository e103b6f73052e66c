"""``finetune`` on label maps: what is trained, what is kept, and going on after a kill."""

import json

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score
from training_kit import kill, opened, without_times, write_maps, write_squares

from ftonnx.errors import DataError, ModelError
from ftonnx.models import build, read_metadata, read_state_dict
from ftonnx.training import TrainingLog, TrainingSettings, finetune

torch = pytest.importorskip("torch")

QUICK = {"batch_size": 8, "learning_rate": 0.02, "device": "cpu", "threads": 1}


@pytest.fixture
def data(here):
    """Training and validation images, 24 each, with maps of three classes."""
    return opened(write_maps(here))


def train(data, output="out.pth", arch="nets.py:pixels", **settings):
    """Train a small network."""
    started = {key: settings.pop(key) for key in ("weights", "classes") if key in settings}
    return finetune(arch, *data, output, settings=TrainingSettings(**{**QUICK, **settings}), **started)


def test_a_network_learns_maps_and_its_best_epoch_is_kept(data):
    """The file has the class-mean accuracy that the log says of it, by torch and scikit-learn."""
    found = train(data, epochs=6)
    best = found.log.best
    assert best.val_accuracy > 0.9
    assert TrainingLog.read("out.jsonl") == found.log
    net = build("nets.py:pixels", classes=3, weights="out.pth")
    images, labels = next(data[1].batches(24))
    with torch.no_grad():
        seen = net(torch.from_numpy(images)).argmax(1).numpy()
    known = labels != 255
    assert best.val_accuracy == pytest.approx(balanced_accuracy_score(labels[known], seen[known]))


@pytest.mark.slow
def test_a_checkpoint_says_what_it_is(data):
    """Classes, and the rate that the paper's network was trained with where nobody says one."""
    found = train(data, epochs=0, learning_rate=None)
    said = read_metadata("out.pth")
    assert (found.classes, said["ftonnx.classes"]) == (3, "3")
    assert json.loads(said["ftonnx.training"])["learning_rate"] == 1e-5


@pytest.mark.slow
def test_a_killed_process_loses_no_finished_epoch(here, data):
    """SIGKILL in the third epoch; the same file to the last byte, mirrored images and dropout included."""
    whole = train(data, "killed.pth", epochs=3)
    expected = (here / "killed.pth").read_bytes()
    (here / "killed.pth").unlink()
    (here / "killed.jsonl").unlink()
    call = (
        "from test_map_tuning import opened, train\n"
        "from ftonnx.training import TrainingSettings, finetune\n"
        f"settings = TrainingSettings(epochs=3, **{QUICK!r})\n"
        f"finetune('nets.py:pixels', *opened('npz:{here}'), 'killed.pth', settings=settings, progress=progress)\n"
    )
    kill(call, 110, here)
    assert sorted(path.name for path in here.glob("killed*")) == ["killed.jsonl", "killed.pth.training"]
    resumed = train(data, "killed.pth", epochs=3)
    assert without_times(resumed.log) == without_times(whole.log)
    assert (here / "killed.pth").read_bytes() == expected


def test_a_network_for_other_classes_gets_a_fresh_last_convolution(data):
    """All before it is the checkpoint's; a linear probe trains it alone."""
    torch.save({"state_dict": build("nets.py:unet", classes=7, seed=9).state_dict()}, "seven.pth")
    train(data, arch="nets.py:unet", epochs=2, weights="seven.pth", linear_probe=True)
    before, after = read_state_dict("seven.pth"), read_state_dict("out.pth")
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed == {"scores.weight", "scores.bias"}
    assert after["scores.weight"].shape == (3, 8, 1, 1)


def test_a_network_of_two_sensors_is_trained(here):
    """SwinUNet, reduced, on 15 channels; every parameter that is run changes."""
    rng = np.random.default_rng(2)
    for split in ("train", "val"):
        labels = np.zeros((4, 32, 32), np.uint8)
        labels[:, :, 16:] = 1
        labels[:, 24:] = 2
        images = rng.random((4, 15, 32, 32), np.float32)
        images[:, 3] += labels
        np.savez(here / f"{split}.npz", images=images, labels=labels)
    data = opened(f"npz:{here}")
    found = train(data, arch="nets.py:swin", epochs=3, batch_size=2, learning_rate=0.005)
    fresh = build("nets.py:swin", classes=3, seed=0).state_dict()
    after = read_state_dict("out.pth")
    trained = {name for name, _ in build("nets.py:swin", classes=3).named_parameters()}
    same = {name for name in trained if torch.equal(after[name], fresh[name])}
    assert not same
    assert found.log.epochs[-1].loss < found.log.epochs[0].loss
    half = {key: tensor for key, tensor in after.items() if key.startswith("backbone")}
    torch.save({"state_dict": half}, "backbones.pth")
    train(data, "again.pth", arch="nets.py:swin", epochs=1, batch_size=2, weights="backbones.pth", linear_probe=True)
    again = read_state_dict("again.pth")
    assert all(torch.equal(again[key], tensor) for key, tensor in half.items())


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("small", r"scores \(batch, classes, height, width\) were expected .*, got \(1, 3\); the labels are maps"),
        ("halved", r"scores of 8x8 pixels, as the label maps have, were expected, got \(1, 3, 4, 4\)"),
        ("two", "scores of 3 classes were expected from the network, got 2"),
        ("listed", r"scores \(batch, .* were expected from the network, got dict"),
    ],
)
def test_networks_that_are_none_for_maps_are_refused_before_anything_is_written(here, data, arch, message):
    """With one image."""
    with pytest.raises(ModelError, match=f"^{message}"):
        train(data, arch=f"nets.py:{arch}")
    assert not list(here.glob("out*"))


def test_a_segmentation_network_for_class_numbers_is_refused(here):
    """The reverse."""
    with pytest.raises(
        ModelError, match=r"^logits \(batch, classes\) were expected from the network, got \(1, 3, 8, 8\)"
    ):
        train(opened(write_squares(here)))
    assert not list(here.glob("out*"))


def test_labels_outside_the_classes_are_refused(here, data):
    """By their number."""
    with pytest.raises(DataError, match="labels from 0 to 1, or 255 for pixels without one, were expected, got 2"):
        train(data, classes=2)
    assert not list(here.glob("out*"))
