"""SimSiam: the prediction of one view's projection from another's (Chen and He 2021)."""

from collections.abc import Sequence
from typing import Any

from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import SimSiamPredictionHead, SimSiamProjectionHead
from lightly.transforms import SimSiamTransform
from torch import Tensor

from ftonnx.training.pretraining.encoder import Encoder
from ftonnx.training.pretraining.method import Geometry, Learnt, Method, Transform
from ftonnx.training.settings import PretrainingSettings

__all__ = ["SimSiam"]

_WIDTH = 2048
_BOTTLENECK = 512


class SimSiam(Method):
    """Two views; the projection of the other one is a constant for each prediction, which keeps it from collapsing."""

    rate = 0.05
    weight_decay = 1e-4

    def __init__(self, encoder: Encoder, settings: PretrainingSettings) -> None:
        """Put a projection and a prediction on an encoder."""
        super().__init__(encoder, settings)
        # hidden layers of the projection are as wide as the features: 2,048 of ResNet-50, as published
        self.projection_head = SimSiamProjectionHead(encoder.width, encoder.width, _WIDTH)
        self.predictor = SimSiamPredictionHead(_WIDTH, _BOTTLENECK, _WIDTH)
        self._distance = NegativeCosineSimilarity()

    @classmethod
    def transform(cls, geometry: Geometry, settings: PretrainingSettings) -> Transform:
        """See ``Method.transform``: two views of one kind."""
        transform: Transform = SimSiamTransform(
            input_size=geometry.side,
            sigmas=geometry.blur,
            hf_prob=geometry.mirrored,
            vf_prob=geometry.mirrored,
            normalize=None,
        )
        return transform

    def learn(self, views: Sequence[Tensor]) -> Learnt:
        """See ``Method.learn``."""
        features = [self.encoder(view) for view in views]
        projected = [self.projection_head(each) for each in features]
        return Learnt(loss=self.predicted(projected, projected), features=features[0])

    def predicted(self, projected: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        """Return the loss of predicting the target of each view from the projection of the other; 1 less is perfect.

        Args:
            projected: of both views, ``(images, 2048)`` each.
            targets: of both views; no gradient goes there.
        """
        first, second = projected
        there = self._distance(self.predictor(first), targets[1].detach())
        back = self._distance(self.predictor(second), targets[0].detach())
        loss: Tensor = (there + back) / 2
        return loss

    def groups(self) -> list[dict[str, Any]]:
        """See ``Method.groups``: the rate of the predictor does not fall."""
        predictor = list(self.predictor.parameters())
        own = {id(parameter) for parameter in predictor}
        others = [parameter for parameter in self.parameters() if id(parameter) not in own]
        return [{"params": others}, {"params": predictor, "fixed_rate": True}]
