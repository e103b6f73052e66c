"""Architectures by name: sizes against published numbers, layouts, what they expect, and the user's own."""

import json

import pytest

from ftonnx.datasets import Preprocess, load_dataset
from ftonnx.errors import ModelError, UsageError
from ftonnx.models import architectures, build, input_shape, preprocessing

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")


def test_the_list_of_names_is_the_contract():
    """Six architectures, their CIFAR-10 forms, the digits, three CIFAR ResNets, and the paper's for segmentation."""
    six = ["resnet18", "resnet34", "resnet50", "vgg13_bn", "densenet161", "inception_v3"]
    others = ["digits", "resnet20-cifar", "resnet32-cifar", "resnet44-cifar"]
    assert list(architectures()) == [*six, *(f"{name}-cifar" for name in six), *others, "swin_unet"]


@pytest.mark.parametrize(
    ("arch", "millions", "digits"),
    [
        ("resnet18-cifar", 11.174, 3),
        ("resnet34-cifar", 21.282, 3),
        ("resnet50-cifar", 23.521, 3),
        ("vgg13_bn-cifar", 28.334, 3),
        ("densenet161-cifar", 26.483, 3),
        ("inception_v3-cifar", 21.64, 2),
        ("resnet20-cifar", 0.27, 2),
        ("resnet32-cifar", 0.46, 2),
        ("resnet44-cifar", 0.66, 2),
    ],
)
def test_sizes_of_the_cifar_forms_are_the_published_ones(arch, millions, digits):
    """The README of PyTorch_CIFAR10, and the usual numbers of the CIFAR ResNets."""
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in build(arch).parameters())
    assert round(parameters / 1e6, digits) == millions


@pytest.mark.parametrize(
    ("arch", "keys"),
    [
        ("resnet18-cifar", {"conv1.weight": (64, 3, 3, 3), "fc.weight": (10, 512)}),
        ("vgg13_bn-cifar", {"classifier.0.weight": (4096, 512), "classifier.6.bias": (10,)}),
        ("densenet161-cifar", {"features.conv0.weight": (96, 3, 3, 3), "classifier.weight": (10, 2208)}),
        (
            "inception_v3-cifar",
            {"Conv2d_1a_3x3.conv.weight": (192, 3, 3, 3), "Conv2d_1a_3x3.bn.bias": (192,), "fc.weight": (10, 2048)},
        ),
        ("resnet20-cifar", {"layer3.2.conv2.weight": (64, 64, 3, 3), "linear.weight": (10, 64)}),
    ],
)
def test_the_cifar_forms_have_the_state_dict_of_the_public_checkpoints(arch, keys):
    """Names and shapes where the form differs from torchvision's; nothing of what it leaves out."""
    with torch.device("meta"):
        state = build(arch).state_dict()
    assert {key: tuple(state[key].shape) for key in keys} == keys
    assert not any(key.startswith(("AuxLogits", "Conv2d_2a", "Conv2d_3b", "Conv2d_4a")) for key in state)


def test_a_fresh_network_is_seeded_and_leaves_the_global_generator_alone():
    """Equal weights for equal seeds, others for another, and the same random numbers afterwards."""
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second, other = build("resnet20-cifar"), build("resnet20-cifar"), build("resnet20-cifar", seed=1)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first.conv1.weight, second.conv1.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)
    assert not any(module.training for module in first.modules())


def test_digits_is_the_embedded_network_unless_it_has_other_classes():
    """It classifies the test split as well as the embedded file; with 7 classes it is fresh."""
    data = load_dataset("digits", split="test")
    pixels, labels = next(data.batches(len(data)))
    with torch.no_grad():
        hits = build("digits")(torch.from_numpy(pixels)).argmax(1).numpy() == labels
    assert hits.sum() == 353
    assert build("digits", classes=7)(torch.zeros(2, 1, 8, 8)).shape == (2, 7)


@pytest.mark.parametrize("arch", architectures())
def test_preprocessing_is_what_a_data_set_accepts(arch):
    """The JSON of every architecture is valid model metadata."""
    said = json.loads(json.dumps(preprocessing(arch)))
    assert Preprocess(**said).as_dict() == preprocessing(arch)
    # the digits have one channel, and a data set for SwinUNet says its own
    values = {"digits": lambda: [said["scale"]], "swin_unet": lambda: range(15)}.get(arch, lambda: said["mean"])
    assert len(values()) == input_shape(arch)[0]


def test_preprocessing_follows_the_published_recipes():
    """ImageNet V1 recipes, the CIFAR statistics of each family, and sixteenths for the digits."""
    imagenet = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    assert preprocessing("resnet50") == imagenet | {"resize": 256, "crop": 224}
    assert preprocessing("mobilenet_v2") == imagenet | {"resize": 256, "crop": 224}
    assert preprocessing("resnet44-cifar") == imagenet
    assert preprocessing("vgg13_bn-cifar") == {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2471, 0.2435, 0.2616]}
    assert preprocessing("digits") == {"scale": 0.0625}
    assert input_shape("inception_v3") == (3, 299, 299)
    assert input_shape("mobilenet_v2") == (3, 224, 224)


def test_inception_gets_pixels_as_its_public_weights_expect_them():
    """(p - mean) / std of the metadata equals torchvision's usual normalization undone by its transform_input."""
    from torchvision.models import Inception_V3_Weights, inception_v3

    how = Inception_V3_Weights.IMAGENET1K_V1.transforms()
    pixels = torch.rand(1, 3, 299, 299, generator=torch.Generator().manual_seed(0))
    usual = (pixels - torch.tensor(how.mean).view(-1, 1, 1)) / torch.tensor(how.std).view(-1, 1, 1)
    with torch.device("meta"):
        net = inception_v3(init_weights=False, transform_input=True)
    ours = preprocessing("inception_v3")
    mine = (pixels - torch.tensor(ours["mean"]).view(-1, 1, 1)) / torch.tensor(ours["std"]).view(-1, 1, 1)
    torch.testing.assert_close(net._transform_input(usual), mine)
    assert (ours["resize"], ours["crop"]) == (how.resize_size[0], how.crop_size[0])


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("resnet51", "did you mean resnet50"),
        ("resnet20", "did you mean .*resnet20-cifar"),
        ("mobilenetv2", "did you mean mobilenet_v2"),
        ("", "expected a classification model"),
        ("fcn_resnet50x", "expected a classification model"),
        ("nets.py", "which function"),
    ],
)
def test_an_unknown_architecture_is_refused_with_near_names(arch, message):
    """One line, exit code 4."""
    with pytest.raises(ModelError, match=message) as caught:
        build(arch)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("classes", [0, -1, 1 << 21])
def test_a_class_count_out_of_range_is_a_usage_error(classes):
    """Before anything is built."""
    with pytest.raises(UsageError, match="classes: expected 1 to"):
        build("digits", classes=classes)
