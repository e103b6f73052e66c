"""A network without its classifier: what pretraining trains, and keeps."""

from torch import Tensor, nn

from ftonnx.errors import ModelError
from ftonnx.models.classifier import classifier_names
from ftonnx.training.loop import outputs_of
from ftonnx.words import some_of

__all__ = ["Encoder"]


class Encoder(nn.Module):
    """A network up to its features ``(images, width)``.

    Attributes:
        width: number of features.
    """

    def __init__(self, net: nn.Module) -> None:
        """Take the classifier off a network.

        Args:
            net: it; changed.

        Raises:
            ModelError: its last layer is not linear.
        """
        super().__init__()
        name = _classifier(net)
        head = net.get_submodule(name)
        if not isinstance(head, nn.Linear):
            got = type(head).__name__
            raise ModelError(f"{type(net).__name__}: a network whose last layer is linear was expected, got {got}")
        parent, _, own = name.rpartition(".")
        setattr(net.get_submodule(parent), own, nn.Identity())
        # what comes ready for inference learns nothing
        self.net = net.requires_grad_(True)
        self.width = head.in_features

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of images."""
        features = outputs_of(self.net, images)
        if not isinstance(features, Tensor) or features.shape != (len(images), self.width):
            got = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            side = images.shape[-1]
            raise ModelError(
                f"features {len(images), self.width} were expected before the classifier for images of {side} pixels, "
                f"got {got}; a network without global pooling takes views of one size only (`local_views=0`)"
            )
        return features


def _classifier(net: nn.Module) -> str:
    layers = sorted({name.rpartition(".")[0] for name in classifier_names(net)})
    if len(layers) != 1:
        got = some_of(layers) if layers else "none"
        raise ModelError(f"{type(net).__name__}: one layer as its classifier was expected, got {got}")
    return layers[0]
