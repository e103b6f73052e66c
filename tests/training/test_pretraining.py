"""``pretrain``: what is learnt without labels, what is kept, and going on after a kill."""

import random

import numpy as np
import pytest
from training_kit import Stopped, kill, opened, stop_after, without_times, write_squares

from ftonnx.datasets import Preprocess, load_dataset
from ftonnx.errors import DataError, ModelError, UsageError
from ftonnx.models import build, read_metadata, read_state_dict
from ftonnx.training import PretrainingLog, PretrainingSettings, TrainingSettings, finetune, pretrain
from ftonnx.training.settings import METHODS

torch = pytest.importorskip("torch")
pytest.importorskip("lightly")

from ftonnx.training.pretraining.pretraining import _spread  # noqa: E402
from ftonnx.training.pretraining.views import Views  # noqa: E402

QUICK = {"batch_size": 16, "device": "cpu", "threads": 1}


def learn(data, output="out.pth", arch="nets.py:pooled", weights=None, progress=None, **settings):
    """Pretrain the small network."""
    made = PretrainingSettings(**{**QUICK, **settings})
    return pretrain(arch, data[0], output, weights=weights, settings=made, progress=progress)


def test_the_loss_falls_and_a_log_says_so(here, data):
    """From near 0, where predictions are random, towards -1, where they are perfect."""
    found = learn(data, epochs=6, learning_rate=1.0)
    losses = [each.loss for each in found.log.epochs]
    assert losses[-1] < losses[0] - 0.1
    assert all(0.02 < each.spread < 1 for each in found.log.epochs)
    assert PretrainingLog.read("out.jsonl") == found.log
    assert found.log.epochs[-1].learning_rate < 0.01
    assert sorted(path.name for path in here.glob("out*")) == ["out.jsonl", "out.pth"]


@pytest.mark.parametrize("method", METHODS)
def test_a_backbone_is_what_fine_tuning_begins_with(data, method):
    """All its weights, under names that the loader knows; the classifier is fresh."""
    few = {"prototypes": 8, "local_views": 1} if METHODS[method] else {}
    learn(data, epochs=1, method=method, **few)
    kept = read_state_dict("out.pth")
    net = build("nets.py:pooled", classes=3, weights="out.pth", fresh_head=True)
    own = net.state_dict()
    assert {f"encoder.{name}" for name in own if not name.startswith("fc.")} == set(kept)
    assert all(torch.equal(own[name.removeprefix("encoder.")], tensor) for name, tensor in kept.items())
    settings = TrainingSettings(epochs=1, batch_size=16, device="cpu", threads=1)
    assert finetune("nets.py:pooled", *data, "tuned.pth", weights="out.pth", settings=settings).classes == 3


@pytest.mark.parametrize("method", METHODS)
def test_every_weight_of_the_network_learns(data, method):
    """Though ``models.build`` gives networks for inference, whose weights have no gradients."""
    few = {"prototypes": 8, "local_views": 1} if METHODS[method] else {}
    learn(data, epochs=1, method=method, learning_rate=0.5, **few)
    trained = read_state_dict("out.pth")
    untrained = build("nets.py:pooled", seed=0).state_dict()
    for name in ("conv.weight", "bn.weight", "bn.bias", "conv2.weight", "conv2.bias"):
        assert not torch.equal(trained[f"encoder.{name}"], untrained[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("autocast", ["float16", "bfloat16"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_in_mixed_precision(data, method, autocast):
    """The loss is that of float32, shares of thousands of prototypes included, and so are the weights."""
    many = {"prototypes": 5_000, "local_views": 1} if METHODS[method] else {}
    # so low that what a step changes does not show in the next
    settings = {"epochs": 1, "method": method, "learning_rate": 1e-6, **many}
    (plain,) = learn(data, **settings).log.epochs
    (mixed,) = learn(data, "mixed.pth", autocast=autocast, **settings).log.epochs
    assert mixed.loss == pytest.approx(plain.loss, rel=2e-4, abs=5e-4)
    assert all(each.dtype != getattr(torch, autocast) for each in read_state_dict("mixed.pth").values())


def test_a_backbone_alone_is_no_network(data):
    """It says what it lacks."""
    learn(data, epochs=1)
    assert "ftonnx.classes" not in read_metadata("out.pth")
    with pytest.raises(ModelError, match=r"a backbone without its classifier"):
        build("nets.py:pooled", classes=3, weights="out.pth")


def test_a_pretraining_may_begin_with_a_checkpoint(data):
    """Such as one that was trained with labels elsewhere."""
    torch.manual_seed(5)
    state = build("nets.py:pooled", classes=7, seed=5).state_dict()
    torch.save(state, "other.pth")
    first = learn(data, epochs=1, weights="other.pth", learning_rate=1e-9)
    kept = read_state_dict(first.path)
    torch.testing.assert_close(kept["encoder.conv.weight"], state["conv.weight"], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("images", [20, 80])
def test_an_interrupted_pretraining_goes_on_to_the_same_result(here, data, method, images):
    """Momentum, teacher, center, rates: all is in the state."""
    few = {"prototypes": 8, "local_views": 1} if METHODS[method] else {}
    whole = learn(data, epochs=3, method=method, **few)
    expected = read_state_dict("out.pth")
    with pytest.raises(Stopped):
        learn(data, "part.pth", epochs=3, method=method, progress=stop_after(images), **few)
    assert (here / "part.jsonl").exists() == (images > 48)
    resumed = learn(data, "part.pth", epochs=3, method=method, **few)
    assert without_times(resumed.log) == without_times(whole.log)
    found = read_state_dict("part.pth")
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert not list(here.glob("*.training"))


@pytest.mark.slow
def test_a_killed_process_loses_no_finished_epoch(here, data):
    """SIGKILL in the second epoch."""
    whole = learn(data, epochs=2)
    call = (
        "from ftonnx.training import PretrainingSettings, pretrain\n"
        "from training_kit import opened\n"
        f"settings = PretrainingSettings(epochs=2, **{QUICK!r})\n"
        f"pretrain('nets.py:pooled', opened('npz:{here}')[0], 'killed.pth', settings=settings, progress=progress)\n"
    )
    kill(call, 60, here)
    assert sorted(path.name for path in here.glob("killed*")) == ["killed.jsonl", "killed.pth.training"]
    assert without_times(learn(data, "killed.pth", epochs=2).log) == without_times(whole.log)


def test_the_state_is_of_one_pretraining(data):
    """Even the number of epochs: the learning rate follows from it."""
    with pytest.raises(Stopped):
        learn(data, epochs=3, progress=stop_after(60))
    with pytest.raises(ModelError, match=r"out\.pth\.training: expected this training's .*with settings"):
        learn(data, epochs=4)
    with pytest.raises(ModelError, match=r"with settings"):
        learn(data, epochs=3, method="ssql")


def test_a_loss_that_is_not_finite_ends_it_and_keeps_what_was(data, monkeypatch):
    """With the epoch, and a hint."""
    from ftonnx.training.pretraining.simsiam import SimSiam

    original = SimSiam.predicted
    calls = []

    def breaking(self, projected, targets):
        calls.append(0)
        return original(self, projected, targets) * (float("nan") if len(calls) > 4 else 1)

    monkeypatch.setattr(SimSiam, "predicted", breaking)
    said = r"epoch 2: a finite loss was expected, got nan; lower `learning_rate`; what epoch 1 came to is in out\.pth"
    with pytest.raises(ModelError, match=said):
        learn(data, epochs=3)
    assert read_state_dict("out.pth")
    assert len(PretrainingLog.read("out.jsonl").epochs) == 1


def test_settings_out_of_range_are_refused():
    """Each with what was expected."""
    for wrong, said in (
        ({"method": "simsam"}, r"method: expected one of simsiam, ssql, swav, dino, got 'simsam'.*simsiam"),
        ({"epochs": 0}, r"epochs must be 1 or more, got 0"),
        ({"batch_size": 1}, r"batch_size must be 2 or more"),
        ({"learning_rate": 0.0}, r"learning_rate must be above 0"),
        ({"prototypes": 10}, r"prototypes: simsiam has none; leave it out"),
        ({"method": "ssql", "local_views": 2}, r"local_views: ssql has none"),
        ({"device": "gpu"}, r"device: expected one of auto, cpu, cuda, got 'gpu'"),
    ):
        with pytest.raises(UsageError, match=said):
            PretrainingSettings(**wrong)


def test_a_network_without_global_pooling_takes_one_size(data):
    """It is told so, with the way on."""
    with pytest.raises(ModelError, match=r"for images of 4 pixels, got \(96, 32\).*`local_views=0`"):
        learn(data, epochs=1, arch="nets.py:small", method="swav", prototypes=8)
    learn(data, epochs=1, arch="nets.py:small", method="swav", prototypes=8, local_views=0)


def first_pixel(image):
    """Stand for a transform: two views that are the image and its random part."""
    pixels = torch.from_numpy(np.asarray(image, np.float32).transpose(2, 0, 1) / 255)
    return [pixels, pixels * torch.rand(()) * random.random() * np.random.random()]  # noqa: NPY002


def test_views_follow_from_seeds_alone(data):
    """Not from processes; and the generators of others stay as they were."""
    views = Views(data[0], first_pixel)
    before = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy())  # noqa: NPY002
    once = list(views.shuffled(16, np.random.SeedSequence(3), 0))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert np.array_equal(before[2], np.random.get_state()[1])  # noqa: NPY002
    again = list(views.shuffled(16, np.random.SeedSequence(3), 2))
    assert all(torch.equal(a, b) for one, two in zip(once, again, strict=True) for a, b in zip(one, two, strict=True))
    others = list(views.shuffled(16, np.random.SeedSequence(4), 0))
    assert not torch.equal(once[0][1], others[0][1])


def test_every_image_is_met_once_as_the_network_is_fed(here):
    """With the data's own mean and standard deviation; what fills no batch is left out."""
    data = opened(f"npz:{here}", mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)) if write_squares(here) else None
    batches = list(Views(data[0], first_pixel).shuffled(20, np.random.SeedSequence(0), 0))
    assert [len(batch[0]) for batch in batches] == [20, 20]
    met = torch.cat([batch[0] for batch in batches]).numpy()
    fed = next(data[0].batches(48))[0]
    found = [int(np.abs(fed - image).reshape(48, -1).max(1).argmin()) for image in met]
    assert len(set(found)) == 40
    np.testing.assert_allclose(met, fed[found], atol=1e-5)


def test_images_that_have_no_views_are_refused(here):
    """One colour, floats, no squares, one image."""
    for images, said in (
        (np.zeros((1, 3, 8, 8), np.uint8), r"2 images or more were expected, got 1"),
        (np.zeros((4, 1, 8, 8), np.uint8), r"8-bit images of three colours were expected, got 1 of uint8"),
        (np.zeros((4, 3, 8, 8), np.float32), r"got 3 of float32"),
        (np.zeros((4, 3, 8, 6), np.uint8), r"square images were expected, got \(3, 8, 6\); give resize and crop"),
    ):
        np.savez(here / "x.npz", images=images, labels=np.arange(len(images)))
        with pytest.raises(DataError, match=said):
            learn((load_dataset("npz:x.npz", preprocess=Preprocess()),), epochs=1)
    assert not list(here.glob("out*"))


@pytest.mark.parametrize("processes", [0, 1])
def test_an_image_that_cannot_be_read_is_named(here, processes):
    """In one line, wherever views are made."""
    from PIL import Image

    for number in range(6):
        (here / f"tree/{number % 2}").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(here / f"tree/{number % 2}/{number}.png")
    views = Views(load_dataset("folder:tree"), first_pixel)
    (here / "tree/1/3.png").write_bytes(b"not a picture")
    with pytest.raises(DataError) as refused:
        list(views.shuffled(2, np.random.SeedSequence(0), processes))
    assert "3.png" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_spread_is_zero_where_all_features_are_equal():
    """And 1 where they fill all room."""
    assert _spread(torch.ones(8, 5)) == pytest.approx(0, abs=1e-6)
    assert _spread(torch.randn(4000, 50, generator=torch.Generator().manual_seed(0))) == pytest.approx(1, abs=0.01)
