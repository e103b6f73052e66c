"""The ways of pretraining: losses with known answers, and what each does besides gradients."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightly")

from torch import nn  # noqa: E402

from ftonnx.training.pretraining.encoder import Encoder  # noqa: E402
from ftonnx.training.pretraining.few_bits import Bits  # noqa: E402
from ftonnx.training.pretraining.method import Geometry, Moment  # noqa: E402
from ftonnx.training.pretraining.registry import CLASSES  # noqa: E402
from ftonnx.training.settings import METHODS, PretrainingSettings  # noqa: E402

WIDTH = 6
SMALL = {"swav": {"prototypes": 5}, "dino": {"prototypes": 7}}


class Net(nn.Module):
    """Channel means, a convolution before them."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, WIDTH, 3)
        self.fc = nn.Linear(WIDTH, 10)

    def forward(self, images):
        """Return logits."""
        return self.fc(torch.relu(self.conv(images)).mean((2, 3)))


def made(name, **fields):
    """Return a method on a small network."""
    torch.manual_seed(0)
    settings = PretrainingSettings(method=name, **SMALL.get(name, {}), **fields)
    return CLASSES[name](Encoder(Net()), settings).train()


def views(count=2, images=4, seed=0):
    """Return two large views, and small ones."""
    generator = torch.Generator().manual_seed(seed)
    sides = [16, 16, *[8] * (count - 2)]
    return [torch.rand(images, 3, side, side, generator=generator) for side in sides]


def unit(values):
    """Return rows of unit length."""
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@pytest.mark.parametrize("name", METHODS)
class TestEveryMethod:
    """What a leaf must do."""

    def test_a_step_has_a_finite_loss_and_gradients(self, name):
        """Of everything that learns, the encoder first of all."""
        method = made(name)
        count = 4 if METHODS[name] else 2
        learnt = method.learn(views(count))
        learnt.loss.backward()
        assert learnt.loss.shape == ()
        assert torch.isfinite(learnt.loss)
        assert learnt.features.shape == (4, WIDTH)
        assert float(method.encoder.net.conv.weight.grad.abs().sum()) > 0

    def test_views_have_the_sizes_of_the_geometry(self, name):
        """From 0 to 1, large ones first."""
        from PIL import Image

        geometry = Geometry.of(64, flips=True)
        settings = PretrainingSettings(method=name)
        pixels = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
        made_views = CLASSES[name].transform(geometry, settings)(Image.fromarray(pixels))
        small = [28] * (6 if METHODS[name] else 0)
        assert [tuple(view.shape) for view in made_views] == [(3, side, side) for side in (64, 64, *small)]
        assert all(float(view.min()) >= 0 and float(view.max()) <= 1 for view in made_views)

    def test_every_parameter_that_learns_is_in_one_group(self, name):
        """And nothing else."""
        method = made(name)
        grouped = [id(parameter) for group in method.groups() for parameter in group["params"]]
        expected = [id(parameter) for parameter in method.parameters() if parameter.requires_grad]
        assert sorted(grouped) == sorted(expected)

    def test_what_is_kept_is_an_encoder(self, name):
        """With the network's own weights."""
        method = made(name)
        assert isinstance(getattr(method, method.kept), Encoder)


def test_the_names_without_torch_are_those_of_the_classes():
    """Of settings and command line."""
    assert set(METHODS) == set(CLASSES)


def test_the_geometry_is_scaled_from_224_pixels():
    """Small views of 96 pixels, a blur of 0.1 to 2."""
    assert Geometry.of(224, flips=False) == Geometry(side=224, local_side=96, mirrored=0.0, blur=(0.1, 2.0))
    assert Geometry.of(64, flips=True).local_side == 28


def test_simsiam_is_the_mean_of_two_negative_cosines():
    """Predictions of one view with projections of the other."""
    method = made("simsiam")
    rng = np.random.default_rng(0)
    projected = [torch.from_numpy(rng.normal(size=(4, 2048)).astype(np.float32)) for _ in range(2)]
    found = method.predicted(projected, projected)
    predictions = [method.predictor(each).detach().numpy() for each in projected]
    targets = [each.numpy() for each in projected]
    there = -(unit(predictions[0]) * unit(targets[1])).sum(1).mean()
    back = -(unit(predictions[1]) * unit(targets[0])).sum(1).mean()
    assert float(found.detach()) == pytest.approx((there + back) / 2, abs=1e-5)


def test_simsiam_gives_targets_no_gradient():
    """Else all features become one."""
    method = made("simsiam")
    method.predictor = nn.Identity()
    first, second = (torch.randn(4, 8, requires_grad=True) for _ in range(2))
    method.predicted([first, second], [first * 1, second * 1]).backward()
    alone = [each.grad.clone() for each in (first, second)]
    first.grad = second.grad = None
    method.predicted([first, second], [first.detach(), second.detach()]).backward()
    assert torch.equal(first.grad, alone[0])
    assert torch.equal(second.grad, alone[1])
    assert float(method.predicted([first, first], [first, first]).detach()) == pytest.approx(-1)


def test_the_rate_of_simsiams_predictor_stays():
    """Chen and He 2021, section 3."""
    method = made("simsiam")
    fixed = [group for group in method.groups() if group.get("fixed_rate")]
    assert [id(each) for group in fixed for each in group["params"]] == [
        id(each) for each in method.predictor.parameters()
    ]


def test_ssql_is_half_of_each_pass(monkeypatch):
    """Targets of both are the projections in floating point; with many bits both are the same."""
    monkeypatch.setattr("ftonnx.training.pretraining.few_bits._MOST_BITS", 20)
    method = made("ssql")
    monkeypatch.setattr("ftonnx.training.pretraining.ssql._drawn", lambda: Bits(weights=20, activations=20))
    given = views()
    found = float(method.learn(given).loss.detach())
    simple = made("simsiam")
    assert found == pytest.approx(float(simple.learn(given).loss.detach()), abs=1e-3)


def test_ssql_draws_every_number_of_bits():
    """Weights 2 to 8, activations 4 to 8."""
    from ftonnx.training.pretraining.ssql import _drawn

    torch.manual_seed(0)
    drawn = [_drawn() for _ in range(300)]
    assert {each.weights for each in drawn} == set(range(2, 9))
    assert {each.activations for each in drawn} == set(range(4, 9))


def sinkhorn(similarities, rounds=3, epsilon=0.05):
    """Return codes ``(images, prototypes)``, each prototype as often as the others."""
    codes = np.exp(similarities / epsilon).T
    codes /= codes.sum()
    for _ in range(rounds):
        codes /= codes.sum(1, keepdims=True) * codes.shape[0]
        codes /= codes.sum(0, keepdims=True) * codes.shape[1]
    return (codes * codes.shape[1]).T


def log_softmax(values):
    """Return logarithms of shares, row by row."""
    shifted = values - values.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def test_swav_predicts_codes_of_large_views_from_all_others():
    """Caron et al. 2020, equations 1 to 3, temperature 0.1."""
    method = made("swav").eval()
    given = views(4)
    with torch.no_grad():
        found = float(method.learn(given).loss)
        outputs = []
        for view in given:
            projected = unit(method.projection_head(method.encoder(view)).numpy())
            outputs.append(projected @ method.prototypes.weight.numpy().T)
    expected = []
    for large in (0, 1):
        codes = sinkhorn(outputs[large])
        others = [outputs[number] for number in range(4) if number != large]
        expected.append(np.mean([-(codes * log_softmax(other / 0.1)).sum(1).mean() for other in others]))
    assert found == pytest.approx(np.mean(expected), rel=1e-4)


def test_swavs_prototypes_have_unit_length_and_wait_an_epoch():
    """No bias, as published."""
    method = made("swav")
    method.learn(views(3)).loss.backward()
    method.before_update(Moment(done=0.1, epoch=0))
    assert method.prototypes.weight.grad is None
    assert method.prototypes.bias is None
    with torch.no_grad():
        method.prototypes.weight.mul_(3)
    method.after_update(Moment(done=0.1, epoch=0))
    torch.testing.assert_close(method.prototypes.weight.norm(dim=1), torch.ones(5))


def test_dino_learns_what_the_teacher_says_of_other_views():
    """Cross entropy of all pairs of different views, temperatures 0.04 and 0.1, the center 0 at first."""
    method = made("dino").eval()
    given = views(3)
    with torch.no_grad():
        taught = [method.teacher_head(method.teacher(view)).numpy() for view in given[:2]]
        said = [method.head(method.encoder(view)).numpy() for view in given]
        found = float(method.learn(given).loss)
    pairs = []
    for teacher, large in enumerate(taught):
        targets = np.exp(log_softmax(large / 0.04))
        pairs += [
            -(targets * log_softmax(each / 0.1)).sum(1).mean()
            for student, each in enumerate(said)
            if student != teacher
        ]
    assert found == pytest.approx(np.mean(pairs), rel=1e-4)


def test_dinos_teacher_follows_ever_more_slowly():
    """From 0.996 along a cosine to 1; the teacher is what is kept, and gets no gradient."""
    method = made("dino")
    assert getattr(method, method.kept) is method.teacher
    assert not any(parameter.requires_grad for parameter in method.teacher.parameters())
    for done in (0.0, 0.25, 0.9):
        before = method.teacher.net.conv.weight.clone()
        with torch.no_grad():
            method.encoder.net.conv.weight.add_(1)
        method.after_update(Moment(done=done, epoch=3))
        momentum = 1 - 0.004 * (math.cos(math.pi * done) + 1) / 2
        expected = before * momentum + method.encoder.net.conv.weight.detach() * (1 - momentum)
        torch.testing.assert_close(method.teacher.net.conv.weight, expected)


def test_dinos_last_layer_waits_an_epoch():
    """Its gradients are left out, those of the rest not."""
    method = made("dino")
    for epoch in (0, 1):
        method.zero_grad()
        method.learn(views(3)).loss.backward()
        method.before_update(Moment(done=0.1, epoch=epoch))
        gradients = [each.grad is not None for each in method.head.last_layer.parameters() if each.requires_grad]
        assert any(gradients) == (epoch == 1)
        assert method.head.layers[0].weight.grad is not None


def test_a_network_that_ends_in_no_linear_layer_is_refused():
    """It has no features before a classifier."""
    from ftonnx.errors import ModelError

    with pytest.raises(
        ModelError,
        match=r"a network whose last layer is linear was expected, got Conv2d",
    ):
        Encoder(nn.Sequential(nn.Conv2d(3, 4, 3)))
