"""Which layer is the classifier, wherever it was registered."""

import pytest

from ftonnx.errors import ModelError
from ftonnx.models import build

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from ftonnx.models import load_checkpoint  # noqa: E402
from ftonnx.models.classifier import classifier_names  # noqa: E402

FAMILIES = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3", "maxvit_t", "mnasnet0_5",
    "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_0", "swin_t",
    "vgg11_bn", "vit_b_16",
)  # fmt: skip
OWN = ("resnet18-cifar", "inception_v3-cifar", "resnet20-cifar", "digits")


def of_classes(arch, classes):
    """Return the state dict of a network for so many classes, and the network; without numbers, where that can be."""
    # a RegNet computes its widths with tensors
    with torch.device("cpu" if arch.startswith("regnet") else "meta"):
        net = build(arch, classes=classes)
    return net.state_dict(), net


@pytest.mark.parametrize("arch", [*FAMILIES, *OWN])
def test_it_is_what_changes_with_the_number_of_classes(arch):
    """In every family of torchvision, and in the forms of our own."""
    if arch not in ("resnet20-cifar", "digits"):
        pytest.importorskip("torchvision")
    seven, net = of_classes(arch, 7)
    nine, _ = of_classes(arch, 9)
    expected = {name for name, tensor in seven.items() if tensor.shape != nine[name].shape}
    assert classifier_names(net) == expected != set()


class Parts(nn.Module):
    """Layers for networks that a user may write; the classifier is registered first."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(3)
        self.weight = nn.Parameter(torch.rand(3, 4))
        self.scale = nn.Parameter(torch.ones(()))
        self.backbone = nn.Linear(6, 4)
        self.unused = nn.Linear(2, 2)


class First(Parts):
    """Its classifier was registered first."""

    def forward(self, x):
        """Logits."""
        return self.head(torch.relu(self.backbone(x)))


class Normed(Parts):
    """Logits are normalized."""

    def forward(self, x):
        """Logits."""
        return self.norm(self.head(self.backbone(x)))


class Functional(Parts):
    """The classifier is no module, and its logits are scaled."""

    def forward(self, x):
        """Logits."""
        return self.scale * functional.linear(torch.relu(self.backbone(x)), self.weight)


class Auxiliary(Parts):
    """Two outputs."""

    def forward(self, x):
        """Logits, twice."""
        x = self.backbone(x)
        return self.head(x), functional.linear(x, self.weight)


class Deciding(Parts):
    """Which way it goes depends on the values."""

    def forward(self, x):
        """Logits."""
        if x.sum() > 0:
            x = -x
        return self.head(self.backbone(x))


class Empty(nn.Module):
    """Nothing to train."""

    def forward(self, x):
        """Its input."""
        return x


NORM = {"norm.weight", "norm.bias", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
CLASSIFIERS = {
    First: {"head.weight", "head.bias"},
    Normed: {"head.weight", "head.bias"} | NORM,
    Functional: {"weight", "scale"},
    Auxiliary: {"head.weight", "head.bias", "weight"},
}


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_the_way_to_the_outputs_decides_and_not_the_order_of_layers(kind, caplog):
    """Whatever a factory returns."""
    assert classifier_names(kind()) == CLASSIFIERS[kind]
    assert not caplog.messages


def test_where_the_way_cannot_be_traced_a_warning_says_what_is_taken(caplog):
    """The last layer that was registered."""
    assert classifier_names(Deciding()) == {"unused.weight", "unused.bias"}
    (said,) = (record.message for record in caplog.records if record.name.startswith("ftonnx"))
    assert said.startswith("how Deciding computes cannot be traced (")
    assert said.endswith("): its last layer is taken for the classifier: unused.bias, unused.weight")


def test_a_network_without_weights_has_none():
    """There is nothing to train."""
    assert classifier_names(Empty()) == frozenset()


def test_a_fresh_head_is_the_classifier_and_nothing_else(tmp_path):
    """The last layer of the state dict is the backbone's here."""
    stored, net = First(), First()
    head = net.head.weight.clone()
    torch.save(stored.state_dict(), tmp_path / "x.pth")
    load_checkpoint(net, tmp_path / "x.pth", fresh_head=True)
    assert torch.equal(net.head.weight, head)
    assert torch.equal(net.backbone.weight, stored.backbone.weight)
    assert torch.equal(net.unused.weight, stored.unused.weight)


def test_a_backbone_alone_is_told_from_one_that_lacks_a_layer(tmp_path):
    """By the classifier, not by the last layer."""
    state = First().state_dict()
    lacking = {
        "backbone": "check the architecture",
        "head": "this is a backbone without its classifier",
    }
    for layer, advice in lacking.items():
        torch.save({name: tensor for name, tensor in state.items() if not name.startswith(layer)}, tmp_path / "x.pth")
        with pytest.raises(ModelError, match=advice):
            load_checkpoint(First(), tmp_path / "x.pth")
