"""torchvision's classification models, and the forms of six of them for 32 x 32 images.

The CIFAR-10 forms have the state-dict keys of the public checkpoints of huyvnphan/PyTorch_CIFAR10, the networks of
the paper's section V. Only the stem and the classifier differ from torchvision's.
"""

import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

from ftonnx.models.extras import require

if TYPE_CHECKING:
    from torch import nn

__all__ = ["cifar_form", "classification_models", "described", "imagenet_form"]


@cache
def classification_models() -> tuple[str, ...]:
    """The names of torchvision's classification models.

    Raises:
        UsageError: torchvision is missing.
    """
    require("torch", "torchvision")
    from torchvision import models

    # those of the module itself: detection, segmentation and so on live in modules below it
    listed = models.list_models(module=models)
    return tuple(listed)


def described(name: str) -> dict[str, Any]:
    """Input shape, class count and preprocessing of torchvision's first weights for a model."""
    from torchvision import models

    weights = models.get_model_weights(name)
    # not every model has weights under this name
    oldest = next(iter(weights))
    first = getattr(weights, "IMAGENET1K_V1", oldest)
    how = first.transforms()
    crop = how.crop_size[0]
    categories = first.meta["categories"]
    preprocess = {
        "mean": tuple(how.mean),
        "std": tuple(how.std),
        "resize": how.resize_size[0],
        "crop": crop,
    }
    return {
        "input_shape": (3, crop, crop),
        "classes": len(categories),
        "preprocess": preprocess,
    }


def imagenet_form(name: str, classes: int) -> "nn.Module":
    """Build torchvision's own model with fresh weights, without the auxiliary classifiers that serve training only."""
    require("torch", "torchvision")
    from torchvision import models

    options: dict[str, Any] = {"num_classes": classes}
    if name in _WITH_AUX:
        options["aux_logits"] = False
        options["init_weights"] = True
    with warnings.catch_warnings():
        # torchvision's notes on initialization
        warnings.simplefilter("ignore")
        net: nn.Module = models.get_model(name, weights=None, **options)
    return net


_WITH_AUX = ("inception_v3", "googlenet")


def cifar_form(name: str, classes: int) -> "nn.Module":
    """The form of ``resnet18-cifar`` and so on for images ``(batch, 3, 32, 32)``."""
    from torch import nn

    arch = name.removesuffix("-cifar")
    # Any, since the parts below are attributes that torch does not declare
    net: Any = imagenet_form(arch, classes)
    # a stride less: 32 pixels are few
    if arch.startswith("resnet"):
        # the pooling behind it stays
        net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    elif arch.startswith("vgg"):
        net.avgpool = nn.AdaptiveAvgPool2d(1)
        net.classifier[0] = nn.Linear(512, 4096)
    elif arch.startswith("densenet"):
        channels = net.features.conv0.out_channels
        net.features.conv0 = nn.Conv2d(3, channels, 3, padding=1, bias=False)
    else:
        _short_inception_stem(net)
    fresh: nn.Module = net
    return fresh


def _short_inception_stem(net: Any) -> None:
    """One 3 x 3 convolution to 192 channels in place of five convolutions and two poolings."""
    from torch import nn
    from torchvision.models.inception import BasicConv2d

    net.Conv2d_1a_3x3 = BasicConv2d(3, 192, kernel_size=3, padding=1)
    net.Conv2d_2a_3x3 = nn.Identity()
    net.Conv2d_2b_3x3 = nn.Identity()
    net.maxpool1 = nn.Identity()
    net.Conv2d_3b_1x1 = nn.Identity()
    net.Conv2d_4a_3x3 = nn.Identity()
    net.maxpool2 = nn.Identity()
