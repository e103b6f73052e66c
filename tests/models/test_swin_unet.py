"""SwinUNet: its blocks against a straight second implementation, its checkpoints, its file."""

import re

import numpy as np
import onnx
import pytest
from campaign_kit import counts, session
from onnx import numpy_helper
from segmentation_kit import naive_counts

import ftonnx
from ftonnx.errors import ModelError

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402
from torch_nets import assert_same, open_onnx, run_torch  # noqa: E402

from ftonnx.export import export_module  # noqa: E402
from ftonnx.mitigate import ActMax  # noqa: E402
from ftonnx.models import load_checkpoint  # noqa: E402
from ftonnx.models.swin import Form  # noqa: E402
from ftonnx.models.swin_unet import SwinUNet  # noqa: E402

SMALL = Form(side=32, embed=8, depths=(2, 1, 1, 1), heads=(1, 2, 2, 4), window=4, patch=2)


def small(seed, classes=3):
    """A reduced network in which no two parameters are equal."""
    torch.manual_seed(seed)
    net = SwinUNet(classes, SMALL).eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    return net


def some_images(count=2):
    """Images of both sensors."""
    return torch.rand(count, 15, 32, 32, generator=torch.Generator().manual_seed(4))


class Straight:
    """The network pixel by pixel and window by window, from a state dict alone."""

    def __init__(self, state, form):
        self.state = state
        self.form = form

    def linear(self, name, x):
        """A linear layer, with a bias where there is one."""
        return x @ self.state[f"{name}.weight"].T + self.state.get(f"{name}.bias", 0)

    def norm(self, name, x):
        """Over channels."""
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def attention(self, name, window, heads, allowed):
        """Of one window (side, side, channels); pairs that are not allowed get 100 less."""
        side, _, channels = window.shape
        tokens = window.reshape(side * side, channels)
        table = self.state[f"{name}.relative_position_bias_table"]
        parts = self.linear(f"{name}.qkv", tokens).chunk(3, dim=1)
        size = channels // heads
        out = torch.zeros(side * side, channels)
        for head in range(heads):
            columns = slice(head * size, (head + 1) * size)
            q, k, v = (part[:, columns] for part in parts)
            scores = q @ k.T / size**0.5
            for i in range(side * side):
                for j in range(side * side):
                    down, across = i // side - j // side + side - 1, i % side - j % side + side - 1
                    scores[i, j] += table[down * (2 * side - 1) + across, head]
                    scores[i, j] -= 0 if allowed[i, j] else 100
            out[:, columns] = scores.softmax(1) @ v
        return self.linear(f"{name}.proj", out).view(side, side, channels)

    def block(self, name, x, heads, shifted):
        """Every token takes what the attention of its window gives it."""
        size = x.shape[0]
        side = min(self.form.window, size)
        shift = side // 2 if shifted and size > side else 0
        normed = self.norm(f"{name}.norm1", x)
        mixed = torch.zeros_like(x)
        for top in range(0, size, side):
            for left in range(0, size, side):
                # where the tokens of a window come from in the map before the shift
                rows = [(top + r + shift) % size for r in range(side)]
                columns = [(left + c + shift) % size for c in range(side)]
                places = [(r, c) for r in rows for c in columns]
                # tokens from beyond an edge are strangers to those before it
                around = [((r < shift and top + side == size), (c < shift and left + side == size)) for r, c in places]
                allowed = torch.tensor([[a == b for b in around] for a in around])
                window = normed[rows][:, columns]
                mixed_window = self.attention(f"{name}.attn", window, heads, allowed)
                for (r, c), token in zip(places, mixed_window.reshape(-1, x.shape[-1]), strict=True):
                    mixed[r, c] = token
        x = x + mixed
        hidden = self.linear(f"{name}.mlp.fc1", self.norm(f"{name}.norm2", x))
        gelu = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
        return x + self.linear(f"{name}.mlp.fc2", gelu)

    def blocks(self, name, x, stage):
        """Those of a stage."""
        for number in range(self.form.depths[stage]):
            x = self.block(f"{name}.blocks.{number}", x, self.form.heads[stage], number % 2 == 1)
        return x

    def merged(self, name, x):
        """Four neighbours become one."""
        fours = torch.cat([x[0::2, 0::2], x[1::2, 0::2], x[0::2, 1::2], x[1::2, 1::2]], -1)
        return self.linear(f"{name}.reduction", self.norm(f"{name}.norm", fours))

    def expanded(self, name, x, factor):
        """One becomes several, row by row."""
        wide = self.linear(f"{name}.expand", x)
        size, channels = x.shape[0], wide.shape[-1] // factor**2
        out = torch.zeros(size * factor, size * factor, channels)
        for row in range(factor):
            for column in range(factor):
                start = (row * factor + column) * channels
                out[row::factor, column::factor] = wide[..., start : start + channels]
        return self.norm(f"{name}.norm", out)

    def encoder(self, name, image):
        """What the last stage gives, and what every stage got."""
        patch = self.form.patch
        weight = self.state[f"{name}.patch_embed.proj.weight"]
        size = image.shape[1] // patch
        x = torch.zeros(size, size, weight.shape[0])
        for row in range(size):
            for column in range(size):
                pixels = image[:, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
                x[row, column] = (weight * pixels).sum((1, 2, 3)) + self.state[f"{name}.patch_embed.proj.bias"]
        x = self.norm(f"{name}.patch_embed.norm", x)
        given = []
        for stage in range(4):
            given.append(x)
            x = self.blocks(f"{name}.layers.{stage}", x, stage)
            if stage < 3:
                x = self.merged(f"{name}.layers.{stage}.downsample", x)
        return self.norm(f"{name}.norm", x), given

    def decoder(self, name, x, given):
        """Back to the size of the first stage."""
        x = self.expanded(f"{name}.layers_up.0", x, 2)
        for number, stage in ((1, 2), (2, 1), (3, 0)):
            x = self.linear(f"{name}.concat_back_dim.{number}", torch.cat([x, given[stage]], -1))
            x = self.blocks(f"{name}.layers_up.{number}", x, stage)
            if stage:
                x = self.expanded(f"{name}.layers_up.{number}.upsample", x, 2)
        return self.norm(f"{name}.norm_up", x)

    def __call__(self, image):
        """Scores of one image."""
        both = []
        for number, channels in ((1, slice(0, 2)), (2, slice(2, 15))):
            both.append(self.decoder(f"decoder{number}", *self.encoder(f"backbone{number}", image[channels])))
        pixels = self.expanded("decoder1.up", torch.cat(both, -1), self.form.patch)
        return functional.linear(pixels, self.state["decoder1.output.weight"][:, :, 0, 0]).permute(2, 0, 1)


def test_it_computes_what_a_straight_implementation_does():
    """Window by window, token by token, from the state dict; up to rounding."""
    net, images = small(1), some_images(1)
    expected = torch.stack([Straight(net.state_dict(), SMALL)(image) for image in images])
    np.testing.assert_allclose(net(images).numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_the_full_network_has_the_live_keys_and_parameters_of_the_authors():
    """Of their 1,456 keys and 140,225,804 parameters; without memory for either."""
    with torch.device("meta"):
        net = SwinUNet()
    assert len(net.state_dict()) == 704
    assert sum(parameter.numel() for parameter in net.parameters()) == 83_070_216


def official(state):
    """A state dict in the form of the authors, with all that their code holds and never runs."""
    dead = {}
    for number in (1, 2):
        own = {key: value for key, value in state.items() if key.startswith(f"backbone{number}.")}
        for name, value in own.items():
            rest = name.removeprefix(f"backbone{number}.")
            dead[f"decoder{number}.backbone.{rest}"] = value + 1
            if rest.startswith("layers."):
                dead[f"decoder{number}.{rest}"] = value + 2
        dead[f"backbone{number}.head.weight"] = torch.zeros(1000, 64)
        dead[f"backbone{number}.head.bias"] = torch.zeros(1000)
    dead |= {"decoder2.up.expand.weight": torch.zeros(64, 16), "decoder2.output.weight": torch.zeros(3, 16, 1, 1)}
    return state | dead


def test_the_authors_checkpoints_are_loaded_strictly(tmp_path):
    """Under model_weights, without what is never run."""
    trained, net = small(1), small(2)
    torch.save({"model_weights": official(trained.state_dict()), "epochs": 3}, tmp_path / "a.pth")
    load_checkpoint(net, tmp_path / "a.pth")
    assert torch.equal(net(some_images()), trained(some_images()))


@pytest.mark.parametrize("key", ["backbone2.norm.weight", "decoder2.layers_up.1.upsample.expand.weight"])
def test_a_key_that_is_missing_or_strange_is_named(tmp_path, key):
    """Nothing is left as it was by chance."""
    state = official(small(1).state_dict())
    tensor = state.pop(key)
    torch.save({"model_weights": state | {"decoder3.x": tensor}}, tmp_path / "a.pth")
    with pytest.raises(ModelError, match=rf"{re.escape(key)}.*decoder3\.x"):
        load_checkpoint(small(2), tmp_path / "a.pth")


def test_backbones_of_pre_training_are_loaded_alone_where_the_rest_is_trained_later(tmp_path):
    """Else it is said what they lack."""
    trained, net = small(1), small(2)
    backbones = {key: value for key, value in official(trained.state_dict()).items() if key.startswith("backbone")}
    torch.save({"state_dict": backbones}, tmp_path / "swin_t.pth")
    with pytest.raises(ModelError, match="this is a pre-trained backbone"):
        load_checkpoint(net, tmp_path / "swin_t.pth")
    before = {key: value.clone() for key, value in net.state_dict().items()}
    load_checkpoint(net, tmp_path / "swin_t.pth", fresh_head=True)
    for key, value in net.state_dict().items():
        assert torch.equal(value, (trained.state_dict() if key.startswith("backbone") else before)[key]), key


def test_part_of_a_decoder_is_no_backbone(tmp_path):
    """What is missing is missing, also where a head may be fresh."""
    state = small(1).state_dict()
    del state["decoder2.norm_up.weight"]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(ModelError, match=r"decoder2\.norm_up\.weight"):
        load_checkpoint(small(2), tmp_path / "a.pth", fresh_head=True)


def test_images_of_another_size_are_refused():
    """Windows and masks are made for one."""
    with pytest.raises(ValueError, match=r"\(15, 32, 32\) were expected, got \(15, 64, 64\)"):
        small(1)(torch.rand(1, 15, 64, 64))


@pytest.mark.slow
@pytest.mark.timeout(1200)  # torch's exporter takes a minute for so many blocks, on a busy machine several
def test_its_file_keeps_names_is_protected_and_runs_with_faults(tmp_path):
    """Export, ActMax and a campaign, whose units are what their saved models do in a plain session."""
    net, images = small(1), some_images(16)
    proto = export_module(net, input_shape=(15, 32, 32))
    run = open_onnx(proto)
    for batch in (1, 3):
        some = images[:batch].numpy()
        assert_same(run_torch(net, some), run(some))
    stored = {each.name: numpy_helper.to_array(each) for each in proto.graph.initializer}
    for name, parameter in net.named_parameters():
        if name.endswith("relative_position_bias_table"):
            continue
        values = parameter.numpy()
        linear = values.ndim == 2
        np.testing.assert_array_equal(stored[name], values.T if linear else values, err_msg=name)
    floats = [name for name, values in stored.items() if values.dtype == np.float32 and values.size > 1]
    assert all("." in name for name in floats)
    onnx.save(proto, tmp_path / "net.onnx")
    labels = net(images).argmax(1).numpy()
    data = [(images.numpy()[start : start + 4], labels[start : start + 4]) for start in range(0, 16, 4)]
    protected = ftonnx.protect(tmp_path / "net.onnx", data, ActMax())
    kinds = [node.op_type for node in protected.proto.graph.node]
    assert (kinds.count("ClipAbove"), kinds.count("Gelu")) == (18, 18)
    protected.save(tmp_path / "clipped.onnx")
    found = ftonnx.evaluate(
        tmp_path / "clipped.onnx", data, rates=[1e-5], repeats=2, images_per_pattern=4, strategy="live", threads=1,
        results=tmp_path / "r",
    )  # fmt: skip
    assert found.golden["pixel_accuracy"] > 0.99
    recorded = counts(found.results)
    for repeat, batch in ((0, 1), (1, 3)):
        ftonnx.replay(found.results, rate=1e-5, repeat=repeat, batch=batch).save_model(tmp_path / "faulty.onnx")
        runs = [
            session(path, live=True).run(None, {"input": data[batch][0]})[0]
            for path in (tmp_path / "faulty.onnx", tmp_path / "clipped.onnx")
        ]
        unit = recorded[1e-5, repeat, batch]
        unit.pop("n_faults")
        assert unit == naive_counts(*runs, data[batch][1], 3, 0.01)
