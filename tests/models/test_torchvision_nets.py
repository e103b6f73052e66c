"""torchvision's own networks, and their forms for small images."""

import pytest

from ftonnx.models import build
from ftonnx.models.torchvision_nets import cifar_form, classification_models, described

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")


def _parameters(net):
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize(
    ("arch", "published"),
    [
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("vgg13_bn", 133_053_736),
        ("densenet161", 28_681_000),
        ("inception_v3", 27_161_264 - 3_326_696),  # torchvision's number, less the auxiliary classifier
        ("mobilenet_v2", 3_504_872),
    ],
)
def test_sizes_are_those_that_torchvision_publishes(arch, published):
    """Parameter counts from the table of torchvision's weights."""
    with torch.device("meta"):
        assert _parameters(build(arch)) == published


def test_the_pooling_behind_the_first_convolution_stays_in_the_cifar_resnets():
    """A 32 x 32 image is 2 x 2 in the last stage, as in the public networks."""
    net = build("resnet18-cifar")
    sizes = []
    net.layer4.register_forward_hook(lambda _module, _inputs, output: sizes.append(tuple(output.shape)))
    net(torch.zeros(1, 3, 32, 32))
    assert sizes == [(1, 512, 2, 2)]


def test_what_torchvision_says_of_a_model_is_what_its_weights_say():
    """Sizes, classes and statistics of the first weights, which all classification models were trained with."""
    from torchvision.models import MobileNet_V2_Weights

    weights = MobileNet_V2_Weights.IMAGENET1K_V1
    said = described("mobilenet_v2")
    assert said["classes"] == len(weights.meta["categories"]) == 1000
    assert said["input_shape"] == (3, 224, 224)
    assert list(said["preprocess"]["mean"]) == weights.transforms().mean


def test_only_classification_models_are_offered():
    """No detection, no segmentation, no video."""
    names = classification_models()
    assert {"resnet18", "vgg13_bn", "mobilenet_v2"} <= set(names)
    assert not any(word in name for name in names for word in ("fcn", "rcnn", "r3d"))


def test_the_short_stem_of_inception_keeps_every_pixel():
    """A 32 x 32 image arrives at the first mixed block as it came, with 192 channels."""
    net = cifar_form("inception_v3-cifar", 10).eval()
    sizes = []
    net.Mixed_5b.register_forward_pre_hook(lambda _module, inputs: sizes.append(tuple(inputs[0].shape)))
    with torch.no_grad():
        net(torch.zeros(1, 3, 32, 32))
    assert sizes == [(1, 192, 32, 32)]
