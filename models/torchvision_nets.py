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

    return tuple(models.list_models(module=models))


def described(name: str) -> dict[str, Any]:
    """Input shape, class count and preprocessing of torchvision's first weights for a model."""
    from torchvision import models

    weights = models.get_model_weights(name)
    first = getattr(weights, "IMAGENET1K_V1", next(iter(weights)))
    how = first.transforms()
    crop, resize = how.crop_size[0], how.resize_size[0]
    preprocess = {"mean": tuple(how.mean), "std": tuple(how.std), "resize": resize, "crop": crop}
    return {"input_shape": (3, crop, crop), "classes": len(first.meta["categories"]), "preprocess": preprocess}


def imagenet_form(name: str, classes: int) -> "nn.Module":
    """Build torchvision's own model with fresh weights, without the auxiliary classifiers that serve training only."""
    require("torch", "torchvision")
    from torchvision import models

    options: dict[str, Any] = {"aux_logits": False, "init_weights": True} if name in _WITH_AUX else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision's notes on initialization
        net: nn.Module = models.get_model(name, weights=None, num_classes=classes, **options)
    return net


_WITH_AUX = ("inception_v3", "googlenet")


def cifar_form(name: str, classes: int) -> "nn.Module":
    """The form of ``resnet18-cifar`` and so on for images ``(batch, 3, 32, 32)``."""
    from torch import nn

    arch = name.removesuffix("-cifar")
    net: Any = imagenet_form(arch, classes)
    if arch.startswith("resnet"):
        net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)  # the pooling behind it stays
    elif arch.startswith("vgg"):
        net.avgpool = nn.AdaptiveAvgPool2d(1)
        net.classifier[0] = nn.Linear(512, 4096)
    elif arch.startswith("densenet"):
        net.features.conv0 = nn.Conv2d(3, net.features.conv0.out_channels, 3, padding=1, bias=False)
    else:
        _short_inception_stem(net)
    fresh: nn.Module = net
    return fresh


def _short_inception_stem(net: Any) -> None:
    """One 3 x 3 convolution to 192 channels in place of five convolutions and two poolings."""
    from torch import nn
    from torchvision.models.inception import BasicConv2d

    net.Conv2d_1a_3x3 = BasicConv2d(3, 192, kernel_size=3, padding=1)
    for skipped in ("Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2"):
        setattr(net, skipped, nn.Identity())
