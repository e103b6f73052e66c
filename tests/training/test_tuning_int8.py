"""``finetune_int8``: what three calls do one after another, in one that can be interrupted anywhere."""

import os
from pathlib import Path

import pytest
from training_kit import Stopped, kill, opened, stop_after, without_times, write_factory, write_squares

from ftonnx.errors import ModelError, UsageError
from ftonnx.models import build, read_metadata, read_state_dict
from ftonnx.training import Int8TuningSettings, QatSettings, TrainingLog, TrainingSettings, finetune

torch = pytest.importorskip("torch")

from ftonnx.export import export_module  # noqa: E402
from ftonnx.training import finetune_int8, train_quantized, tuning_int8  # noqa: E402
from ftonnx.training.state import StateFile  # noqa: E402

QUICK = {"batch_size": 16, "flips": False, "device": "cpu", "threads": 1}
EPOCH = 96
"""Images of an epoch, training and validation."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all tests here: a checkpoint says what its data was called, and files are compared whole."""
    path = tmp_path_factory.mktemp("squares")
    write_factory(path)
    write_squares(path)
    return path


@pytest.fixture(autouse=True)
def here(folder, monkeypatch, exported):
    """Work in it; every test writes under a name of its own."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(tuning_int8, "export_module", exported)


@pytest.fixture(scope="module")
def exported():
    """Export every network once: that takes a hundred times as long as training it."""
    done = {}

    def export(net, **options):
        weights = b"".join(tensor.numpy().tobytes() for tensor in net.state_dict().values())
        key = (type(net).__name__, weights, repr(options))
        if key not in done:
            done[key] = export_module(net, **options)
        return done[key]

    return export


def settings(qat_epochs=2, **tuning):
    """Return quick settings: three epochs, then two."""
    return Int8TuningSettings(
        tuning=TrainingSettings(**{**QUICK, "epochs": 3, "learning_rate": 0.02, **tuning}),
        qat=QatSettings(
            training=TrainingSettings(**QUICK, epochs=qat_epochs, learning_rate=1e-3),
            calibration_images=32,
            frozen_epochs=1,
        ),
    )


def train(output, arch="nets.py:small", *, progress=None, weights=None, **changed):
    """Train the small network."""
    return finetune_int8(
        arch, *opened("npz:."), output, settings=settings(**changed), progress=progress, weights=weights
    )


@pytest.fixture(scope="module")
def whole(folder):
    """What an undisturbed training comes to."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        return train("whole.onnx")
    finally:
        os.chdir(before)


def check_equal(found, whole):
    """Compare files and logs with those of an undisturbed training."""
    assert found.quantized.path.read_bytes() == whole.quantized.path.read_bytes()
    assert without_times(found.quantized.log) == without_times(whole.quantized.log)
    assert without_times(found.tuned.log) == without_times(whole.tuned.log)
    assert found.tuned.log == TrainingLog.read(found.tuned.log_path)
    tensors = read_state_dict(whole.tuned.path)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in read_state_dict(found.tuned.path).items())
    stem = found.quantized.path.stem
    names = sorted(path.name for path in Path().glob(f"{stem}*"))
    assert names == [f"{stem}.float.jsonl", f"{stem}.float.pth", f"{stem}.jsonl", f"{stem}.onnx"]


def test_it_does_what_three_calls_do(whole):
    """Fine-tune, export, train the int8 file."""
    data = opened("npz:.")
    asked = settings()
    finetune("nets.py:small", *data, "steps.pth", settings=asked.tuning)
    metadata = {"ftonnx.architecture": "nets.py:small"} | read_metadata("steps.pth")
    for key in ("ftonnx.classes", "ftonnx.input_shape", "ftonnx.finished"):
        del metadata[key]
    model = export_module(build("nets.py:small", weights="steps.pth"), input_shape=(3, 8, 8), metadata=metadata)
    assert whole.model == model
    train_quantized(model, *data, "steps.onnx", settings=asked.qat)
    assert Path("steps.onnx").read_bytes() == whole.quantized.path.read_bytes()
    check_equal(whole, whole)
    assert not whole.was_tuned


@pytest.mark.parametrize("images", [150, 3 * EPOCH + 1, 4 * EPOCH + 1])
def test_interrupted_it_goes_on_to_the_same_result(whole, images):
    """In either training, and before the first epoch of the second; what has been fine-tuned is not tuned again."""
    name = f"part{images}.onnx"
    with pytest.raises(Stopped):
        train(name, progress=stop_after(images))
    counts = []
    found = train(name, progress=lambda done, most: counts.append((done, most)))
    check_equal(found, whole)
    assert found.was_tuned == (images > 3 * EPOCH)
    done = [each for each, _ in counts]
    assert done == sorted(done)
    assert done[0] >= images // EPOCH * EPOCH
    assert counts[-1] == (5 * EPOCH, 5 * EPOCH)


@pytest.mark.slow
def test_a_killed_process_loses_no_finished_epoch(whole):
    """SIGKILL, in the second epoch of the second training."""
    call = "from test_tuning_int8 import train\ntrain('killed.onnx', progress=progress)\n"
    kill(call, 4 * EPOCH + 1, Path.cwd())
    assert Path("killed.onnx.training").exists()
    found = train("killed.onnx")
    check_equal(found, whole)
    assert found.was_tuned


def test_a_kill_just_before_the_state_is_removed_changes_nothing(whole, monkeypatch):
    """The checkpoint is there already."""
    with monkeypatch.context() as patched:
        patched.setattr(StateFile, "remove", lambda self: stop_after(0)(1, 1))
        with pytest.raises(Stopped):
            train("late.onnx")
    assert Path("late.float.pth").exists()
    check_equal(train("late.onnx"), whole)


def test_other_settings_of_the_int8_training_take_the_checkpoint_as_it_is(whole):
    """Other settings of fine-tuning do not."""
    train("again.onnx", qat_epochs=0, epochs=1)
    assert train("again.onnx", qat_epochs=1, epochs=1).was_tuned
    assert not train("again.onnx", qat_epochs=0, epochs=2).was_tuned


def test_an_interrupted_training_of_another_checkpoint_is_refused_before_anything_is_tuned(whole):
    """Nothing of it is overwritten."""
    with pytest.raises(Stopped):
        train("first.onnx", progress=stop_after(4 * EPOCH + 1))
    before = Path("first.float.pth").read_bytes()
    with pytest.raises(ModelError, match=r"first\.onnx\.training: expected first\.float\.pth of the same training"):
        train("first.onnx", seed=1)
    assert Path("first.float.pth").read_bytes() == before


def test_a_network_that_cannot_be_trained_as_int8_is_refused_before_it_is_tuned():
    """With its node."""
    with pytest.raises(ModelError, match=r"node .* \(Erf\): .* are trained, this operator is not"):
        train("odd.onnx", "nets.py:odd")
    assert not list(Path().glob("odd*"))


def test_a_loss_that_is_not_finite_is_no_end_of_fine_tuning():
    """The same call does not go on to the int8 file; in the very first epoch, nothing but the checkpoint is there."""
    for _ in range(2):
        with pytest.raises(ModelError, match=r"^epoch 1: a finite loss was expected, got nan; .* in broken.float.pth"):
            train("broken.onnx", "nets.py:breaking", batch_size=4)
    assert not Path("broken.onnx").exists()


def test_a_loss_that_is_not_finite_says_which_rate_is_meant(monkeypatch):
    """And in which of the two trainings."""
    from ftonnx.training import qat

    def broken(*arguments):
        raise ModelError("epoch 1: a finite loss was expected, got nan; lower `learning_rate`")

    monkeypatch.setattr(qat, "run", broken)
    with pytest.raises(ModelError, match=r"^quantization-aware training: epoch 1: .*; lower `qat_learning_rate`"):
        train("rate.onnx", epochs=0)


def test_a_checkpoint_is_not_overwritten_by_what_starts_from_it():
    """Neither by the result of fine-tuning alone."""
    train("own.onnx", epochs=0, qat_epochs=0)
    with pytest.raises(UsageError, match=r"own\.float\.pth is the checkpoint that it starts from itself"):
        train("own.onnx", weights="own.float.pth")
    with pytest.raises(UsageError, match="is the checkpoint that it starts from itself"):
        finetune("nets.py:small", *opened("npz:."), "own.float.pth", weights="own.float.pth")
