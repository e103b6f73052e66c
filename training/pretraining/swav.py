"""SwAV: which prototype a view belongs to, told from other views of the image (Caron et al. 2020)."""

from collections.abc import Sequence

import torch
from lightly.loss import SwaVLoss
from lightly.models.modules import SwaVProjectionHead
from lightly.transforms import SwaVTransform
from lightly.utils.lars import LARS
from torch import Tensor, nn
from torch.nn import functional

from ftonnx.training.pretraining.encoder import Encoder
from ftonnx.training.pretraining.method import Geometry, Learnt, Method, Moment, Transform, in_float32
from ftonnx.training.pretraining.multi_crop import LARGE_VIEWS, by_view, encoded, local_views
from ftonnx.training.settings import PretrainingSettings

__all__ = ["SwAV"]

_WIDTH = 128
_HIDDEN = 2048
_PROTOTYPES = 3000


class SwAV(Method):
    """Two large views say which prototypes; all views learn to."""

    rate = 0.6
    weight_decay = 1e-6
    warmup = 0.1

    def __init__(self, encoder: Encoder, settings: PretrainingSettings) -> None:
        """Put a projection and prototypes on an encoder."""
        super().__init__(encoder, settings)
        self.projection_head = SwaVProjectionHead(encoder.width, _HIDDEN, _WIDTH)
        # lightly's prototypes have a bias, the published ones none
        self.prototypes = nn.Linear(_WIDTH, settings.prototypes or _PROTOTYPES, bias=False)
        self._loss = SwaVLoss()
        self._normalize()

    @classmethod
    def transform(cls, geometry: Geometry, settings: PretrainingSettings) -> Transform:
        """See ``Method.transform``: two large views, and small ones."""
        transform: Transform = SwaVTransform(
            crop_sizes=(geometry.side, geometry.local_side),
            crop_counts=(LARGE_VIEWS, local_views(settings)),
            sigmas=geometry.blur,
            hf_prob=geometry.mirrored,
            vf_prob=geometry.mirrored,
            normalize=None,
        )
        return transform

    def learn(self, views: Sequence[Tensor]) -> Learnt:
        """See ``Method.learn``."""
        features = encoded(self.encoder, views)
        projected = [functional.normalize(self.projection_head(each), dim=1) for each in features]
        images = len(views[0])
        similarities = by_view([self.prototypes(each) for each in projected], images)
        loss = in_float32(self._loss, similarities[:LARGE_VIEWS], similarities[LARGE_VIEWS:])
        return Learnt(loss=loss.squeeze(), features=features[0][:images])

    def optimizer(self, rate: float) -> torch.optim.Optimizer:
        """See ``Method.optimizer``: rates that are adapted by layer."""
        optimizer: torch.optim.Optimizer = LARS(self.groups(), lr=rate, momentum=0.9, weight_decay=self.weight_decay)
        return optimizer

    def before_update(self, moment: Moment) -> None:
        """See ``Method.before_update``: prototypes stay in the first epoch."""
        if moment.epoch == 0:
            self.prototypes.weight.grad = None

    def after_update(self, moment: Moment) -> None:
        """See ``Method.after_update``: prototypes have unit length."""
        self._normalize()

    def _normalize(self) -> None:
        with torch.no_grad():
            self.prototypes.weight.copy_(functional.normalize(self.prototypes.weight, dim=1))
