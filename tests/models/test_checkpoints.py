"""Checkpoints in every wrapper and under every prefix, and files that must be refused."""

import argparse
import os
import pickle
import re
import zipfile

import numpy as np
import pytest

from ftonnx.errors import ModelError
from ftonnx.models import build

torch = pytest.importorskip("torch")

from torch_nets import TinyResNet, images, run_torch, tiny_resnet  # noqa: E402

from ftonnx.models import load_checkpoint, read_state_dict  # noqa: E402

INPUTS = images(2, (3, 5, 5))


@pytest.fixture
def trained():
    """The network whose weights are stored."""
    return tiny_resnet(seed=3)


@pytest.fixture
def save(tmp_path):
    """Store an object with torch, and give the path."""

    def _save(content, name="checkpoint.pth"):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return _save


def _loads(trained, *paths):
    """Load into another network and compare the logits bit for bit."""
    net = tiny_resnet(seed=8)
    assert not np.array_equal(run_torch(net, INPUTS), run_torch(trained, INPUTS))
    load_checkpoint(net, *paths)
    np.testing.assert_array_equal(run_torch(net, INPUTS), run_torch(trained, INPUTS))


def _prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 7, "best_acc1": 0.5},
        lambda state: {"model": state, "optimizer": {"state": {}, "param_groups": []}},
        lambda state: {"model_weights": state, "optim_state": {}, "val_stats": {}, "epochs": 3},
        lambda state: {"student": {}, "teacher": state, "args": argparse.Namespace(lr=0.1)},
        lambda state: {"model_state_dict": dict(state)},
        lambda state: {"model": {"state_dict": state}},
        lambda state: dict(state) | {"epoch": 7},
    ],
)
def test_every_wrapper_is_opened(trained, save, wrap):
    """A plain state dict, the usual keys, DINO's with its Namespace, one inside the other."""
    _loads(trained, save(wrap(trained.state_dict())))


@pytest.mark.parametrize(
    "prefix",
    ["module.", "backbone.", "encoder.", "model.", "module.backbone.", "module.encoder_q.model.", "_orig_mod."],
)
@pytest.mark.parametrize("name", ["checkpoint.pth.tar", "checkpoint.safetensors"])
def test_every_prefix_is_stripped_in_every_format(trained, tmp_path, save, prefix, name):
    """Also several, one behind the other."""
    state = _prefixed(trained.state_dict(), prefix)
    if name.endswith("safetensors"):
        pytest.importorskip("safetensors.torch").save_file(state, tmp_path / name)
        _loads(trained, tmp_path / name)
    else:
        _loads(trained, save({"state_dict": state}, name))


def test_a_prefix_is_never_cut_out_of_the_middle_of_a_name(tmp_path):
    """A network whose own names hold the words keeps them."""
    net = torch.nn.Sequential()
    net.add_module("encoder", torch.nn.Sequential())
    net.encoder.add_module("my_model", torch.nn.Linear(2, 2))
    net.encoder.add_module("backbone", torch.nn.Linear(2, 2))
    state = {name: torch.rand(tensor.shape) for name, tensor in net.state_dict().items()}
    torch.save(_prefixed(state, "module."), tmp_path / "x.pt")
    load_checkpoint(net, tmp_path / "x.pt")
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in state.items())


def test_counters_of_batches_may_be_missing(trained, save):
    """Checkpoints of old torch versions have none."""
    state = {name: tensor for name, tensor in trained.state_dict().items() if "num_batches" not in name}
    _loads(trained, save(state))


def test_a_backbone_and_its_linear_head_complete_each_other(trained, save):
    """As SwAV and DINO publish them: pre-training parts are left out, linear.* is the classifier."""
    state = trained.state_dict()
    backbone = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    noise = {"projection_head.0.weight": torch.rand(3, 6), "prototypes.weight": torch.rand(9, 3)}
    first = save(_prefixed(backbone | noise, "module."), "backbone.pth.tar")
    head = {f"module.linear.{name}": state[f"fc.{name}"] for name in ("weight", "bias")}
    second = save({"state_dict": head}, "head.pth.tar")
    _loads(trained, first, second)
    with pytest.raises(ModelError, match="give the file of the head as a second one of `weights`"):
        load_checkpoint(tiny_resnet(), first)
    with pytest.raises(ModelError, match=r"expected what the files before it lack, got fc\.bias, fc\.weight again"):
        load_checkpoint(tiny_resnet(), first, second, second)


def test_a_full_dino_checkpoint_gives_its_teacher(trained, save):
    """Its head is left out; the linear head comes from a second file."""
    state = trained.state_dict()
    backbone = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    teacher = _prefixed(backbone, "module.backbone.") | {"module.head.mlp.0.weight": torch.rand(2, 6)}
    student = {name: tensor + 1 for name, tensor in teacher.items()}
    full = {"student": student, "teacher": teacher, "epoch": 1, "args": argparse.Namespace(arch="resnet50")}
    head = {f"module.linear.{name}": state[f"fc.{name}"] for name in ("weight", "bias")}
    _loads(trained, save(full, "full.pth"), save({"state_dict": head}, "head.pth"))


def test_the_projection_of_a_simsiam_encoder_is_not_taken_for_a_classifier(trained, save):
    """Where a predictor is present, encoder.fc.* is left out, so the classifier is missing."""
    state = _prefixed(trained.state_dict(), "module.encoder.") | {"module.predictor.0.weight": torch.rand(2, 2)}
    with pytest.raises(ModelError, match=r"2 missing keys \(fc\.weight, fc\.bias\); this is a backbone"):
        load_checkpoint(tiny_resnet(), save({"state_dict": state}))


def test_the_names_of_ssql_are_mapped(trained, save):
    """Quantized convolutions keep their BatchNorm as bn_function."""
    mapped = {}
    for name, tensor in trained.state_dict().items():
        new = name.replace("bn1.", "conv1.bn_function.").replace("downsample.1.", "downsample.bn_function.")
        mapped["model." + new.replace("downsample.0.", "downsample.")] = tensor
    mapped["model.layer1.0.conv1.weight_quantizer.scale"] = torch.ones(1)
    _loads(trained, save({"state_dict": mapped, "epoch": 3}))


def test_the_names_of_transformers_resnets_are_mapped(save):
    """Stages and layers count from 0 there; with its classifier, and as a backbone."""
    pytest.importorskip("torchvision")
    first, second = build("resnet50", classes=3, seed=1), build("resnet50", classes=3, seed=2)
    stored = {}
    for name, tensor in first.state_dict().items():
        new = re.sub(r"^conv1\.", "embedder.embedder.convolution.", name)
        new = re.sub(r"^bn1\.", "embedder.embedder.normalization.", new)
        new = re.sub(r"^layer(\d)\.", lambda found: f"encoder.stages.{int(found[1]) - 1}.layers.", new)
        new = re.sub(r"\.conv(\d)\.", lambda found: f".layer.{int(found[1]) - 1}.convolution.", new)
        new = re.sub(r"\.bn(\d)\.", lambda found: f".layer.{int(found[1]) - 1}.normalization.", new)
        new = new.replace("downsample.0.", "shortcut.convolution.").replace("downsample.1.", "shortcut.normalization.")
        stored[f"resnet.{new}" if not name.startswith("fc.") else name.replace("fc.", "classifier.1.")] = tensor
    assert "resnet.encoder.stages.3.layers.2.layer.1.normalization.running_mean" in stored
    load_checkpoint(second, save(stored))
    assert all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in first.state_dict().items())
    backbone = {name.removeprefix("resnet."): tensor for name, tensor in stored.items() if "classifier" not in name}
    third = build("resnet50", classes=7, weights=save(backbone), fresh_head=True)
    assert torch.equal(third.layer4[2].conv3.weight, first.layer4[2].conv3.weight)


@pytest.mark.parametrize("classes", [5, 7])
def test_a_fresh_head_keeps_its_own_weights(trained, save, classes):
    """A backbone alone, one whose classifier knows other classes, and one that was trained without labels."""
    state = trained.state_dict()
    backbone = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    projected = _prefixed(backbone, "module.encoder.") | {"module.encoder.fc.0.weight": torch.rand(3, 6)}
    projected |= {"module.predictor.0.weight": torch.rand(3, 3)}
    for number, content in enumerate((backbone, dict(state), projected)):
        net = tiny_resnet(classes, seed=8)
        head = net.fc.weight.clone()
        load_checkpoint(net, save(content, f"{number}.pth"), fresh_head=True)
        assert torch.equal(net.fc.weight, head)
        assert torch.equal(net.conv1.weight, trained.conv1.weight)


def test_a_fresh_head_does_not_forgive_anything_else(trained, save):
    """A backbone that lacks a layer is refused."""
    state = trained.state_dict()
    del state["conv1.weight"]
    with pytest.raises(ModelError, match=r"1 missing key \(conv1\.weight\)"):
        load_checkpoint(tiny_resnet(), save(state), fresh_head=True)


def test_swavs_head_on_features_that_are_not_pooled_is_refused(save):
    """Its evaluation has them as a choice; this network has no such features."""
    pytest.importorskip("torchvision")
    state = build("resnet50", classes=3).state_dict() | {"fc.weight": torch.rand(3, 8192)}
    backbone = save({name: tensor for name, tensor in state.items() if not name.startswith("fc.")}, "backbone.pth")
    head = {f"module.linear.{name}": state[f"fc.{name}"] for name in ("weight", "bias")}
    with pytest.raises(
        ModelError, match=r"8192 features that SwAV's evaluation takes with --global_avg false; use one"
    ):
        build("resnet50", classes=3, weights=[backbone, save({"state_dict": head}, "head.pth")])


@pytest.mark.parametrize("module", ["numpy._core.multiarray", "numpy.core.multiarray"])
def test_numbers_of_numpy_are_plain_data(trained, save, module):
    """As accuracies in the file of the public SwinUNet; numpy's module had another name when it was written."""
    path = save({"model_weights": trained.state_dict(), "val_stats": {"accuracy": np.float64(0.5)}})
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    (pickled,) = [name for name in entries if name.endswith("data.pkl")]
    assert b"numpy._core.multiarray" in entries[pickled]
    entries[pickled] = entries[pickled].replace(b"numpy._core.multiarray", module.encode())
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    _loads(trained, path)


def test_the_old_names_of_torchvisions_densenet_files_are_mapped(save):
    """Its public weights write norm.1 where the module says norm1."""
    pytest.importorskip("torchvision")
    first, second = build("densenet121", classes=3, seed=1), build("densenet121", classes=3, seed=2)
    old = {}
    for name, tensor in first.state_dict().items():
        parts = name.split(".")
        if any(part.startswith("denselayer") for part in parts):
            name = ".".join(p[:-1] + "." + p[-1] if p in ("norm1", "norm2", "conv1", "conv2") else p for p in parts)
        old[name] = tensor
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    load_checkpoint(second, save(old))
    assert all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in first.state_dict().items())


def test_the_auxiliary_classifier_of_a_public_inception_is_left_out(save):
    """The export has none."""
    pytest.importorskip("torchvision")
    from torchvision.models import googlenet

    stored = googlenet(num_classes=4, aux_logits=True, init_weights=False)
    net = build("googlenet", classes=4)
    load_checkpoint(net, save(stored.state_dict()))
    assert torch.equal(net.fc.weight, stored.fc.weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("conv1.weight"), r"expected the weights of TinyResNet, got 1 missing key \(conv1\.weight\)"),
        (lambda s: s.update({"extra.weight": torch.ones(1)}), r"1 unexpected key \(extra\.weight\); check the archi"),
        (
            lambda s: s.update({f"extra.{i}": s.pop(k) for i, k in enumerate(list(s)[:6])}),
            r"missing keys \(conv1\.weight, bn1\.weight, .* more\) and 6 unexpected keys \(extra\.0, .* and 3 more\)",
        ),
        (
            lambda s: s.update({"fc.weight": torch.ones(7, 6), "fc.bias": torch.ones(7)}),
            "with 5 classes, got 7.*`classes=7`",
        ),
        (
            lambda s: s.update({"conv1.weight": torch.ones(4, 3, 7, 7)}),
            r"conv1\.weight \(4, 3, 3, 3\), got \(4, 3, 7, 7\)",
        ),
        (lambda s: s["fc.bias"].fill_(float("nan")), r"finite; got NaN or Inf in fc\.bias"),
        (lambda s: s.update({"module.fc.bias": torch.ones(5)}), r"got both fc\.bias and module\.fc\.bias"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_loaded(trained, save, change, message):
    """Missing, unexpected and misshapen weights, a wrong class count, NaN, the same weight twice."""
    state = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    change(state)
    net = tiny_resnet(seed=8)
    before = run_torch(net, INPUTS)
    with pytest.raises(ModelError, match=message) as caught:
        load_checkpoint(net, save(state))
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(run_torch(net, INPUTS), before)


class _Evil:
    """Creates a file when it is unpickled by a careless loader."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return os.mkdir, (self.witness,)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_pickle_is_refused_and_not_run(trained, tmp_path, legacy):
    """The message names the code and says what to do instead."""
    witness = str(tmp_path / "was-run")
    content = {"state_dict": trained.state_dict(), "args": _Evil(witness)}
    torch.save(content, tmp_path / "evil.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ModelError, match=r"evil\.pth: expected tensors only, got a pickle with code \(posix\.mkdir\)"):
        read_state_dict(tmp_path / "evil.pth")
    assert not os.path.exists(witness)
    with open(tmp_path / "plain.pth", "wb") as file:
        pickle.dump(_Evil(witness), file)
    with pytest.raises(ModelError, match=r"plain\.pth: expected"):
        read_state_dict(tmp_path / "plain.pth")
    assert not os.path.exists(witness)


def test_a_whole_pickled_network_is_refused(trained, save):
    """Which is what torch.save(network) writes."""
    with pytest.raises(ModelError, match=r"pickle with code \(torch_nets\.TinyResNet\).*save network\.state_dict\(\)"):
        read_state_dict(save(trained))


def test_the_allowance_for_a_namespace_ends_with_the_load(save):
    """It is not left in torch's global list."""
    with pytest.raises(ModelError, match="expected a state dict"):
        read_state_dict(save({"args": argparse.Namespace()}))
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


@pytest.mark.parametrize("name", ["x.pth", "x.pt", "x.safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"hello", b"PK\x03\x04 torn", b"\x80\x02}q\x00.", b"\xff" * 64, b"\x08" + b"\0" * 7 + b"{}"]
)
def test_a_damaged_file_is_refused(tmp_path, name, content):
    """Empty, text, a torn archive, a pickle of something else, noise."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=f"{name}: expected"):
        read_state_dict(tmp_path / name)


def test_a_truncated_checkpoint_is_refused(trained, save):
    """Half a download."""
    path = save(trained.state_dict())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelError, match="expected"):
        read_state_dict(path)


def test_an_archive_that_is_no_checkpoint_is_refused(tmp_path):
    """Any zip file starts like one."""
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(ModelError, match=r"x\.pt: expected"):
        read_state_dict(tmp_path / "x.pt")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": {}}, 5, None])
def test_a_file_without_tensors_is_refused(save, content):
    """The message says what it holds."""
    with pytest.raises(ModelError, match="expected a state dict, got an object"):
        read_state_dict(save(content))


def test_a_missing_file_is_refused(tmp_path):
    """In both formats, and a folder too."""
    for path in (tmp_path / "none.pth", tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(ModelError, match="expected"):
            read_state_dict(path)


def test_half_precision_weights_are_widened(trained, save):
    """They arrive as float32, equal to the stored values."""
    state = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in trained.state_dict().items()
    }
    net = TinyResNet()
    load_checkpoint(net, save(state))
    assert net.fc.weight.dtype == torch.float32
    assert torch.equal(net.fc.weight, state["fc.weight"].float())
