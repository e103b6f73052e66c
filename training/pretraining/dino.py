"""DINO: a student learns what its teacher, the average of its own past, says of other views (Caron et al. 2021)."""

import math
import warnings
from collections.abc import Sequence
from copy import deepcopy

import torch
from lightly.loss import DINOLoss
from lightly.models.modules import DINOProjectionHead
from lightly.models.utils import update_momentum
from lightly.transforms import DINOTransform
from torch import Tensor

from ftonnx.training.pretraining.encoder import Encoder
from ftonnx.training.pretraining.method import Geometry, Learnt, Method, Moment, Transform, in_float32
from ftonnx.training.pretraining.multi_crop import LARGE_VIEWS, by_view, encoded, local_views
from ftonnx.training.settings import PretrainingSettings

__all__ = ["DINO"]

_OUTPUTS = 65536
_MOMENTUM = 0.996
_FROZEN_EPOCHS = 1


class DINO(Method):
    """The teacher sees the two large views, the student all; the teacher is what is kept."""

    rate = 0.03
    weight_decay = 1e-4
    warmup = 0.1
    kept = "teacher"

    def __init__(self, encoder: Encoder, settings: PretrainingSettings) -> None:
        """Put a head on an encoder, and make its teacher."""
        super().__init__(encoder, settings)
        outputs = settings.prototypes or _OUTPUTS
        self.head = _head(encoder.width, outputs)
        self.teacher = deepcopy(encoder)
        self.teacher_head = _head(encoder.width, outputs)
        self.teacher_head.load_state_dict(self.head.state_dict())
        self.teacher.requires_grad_(False)
        self.teacher_head.requires_grad_(False)
        self._loss = DINOLoss(outputs)

    @classmethod
    def transform(cls, geometry: Geometry, settings: PretrainingSettings) -> Transform:
        """See ``Method.transform``: two large views, and small ones."""
        transform: Transform = DINOTransform(
            global_crop_size=geometry.side,
            local_crop_size=geometry.local_side,
            n_local_views=local_views(settings),
            sigmas=geometry.blur,
            hf_prob=geometry.mirrored,
            vf_prob=geometry.mirrored,
            normalize=None,
        )
        return transform

    def learn(self, views: Sequence[Tensor]) -> Learnt:
        """See ``Method.learn``."""
        images = len(views[0])
        with torch.no_grad():
            taught = self.teacher_head(*encoded(self.teacher, views[:LARGE_VIEWS]))
        features = encoded(self.encoder, views)
        said = by_view([self.head(each) for each in features], images)
        loss = in_float32(self._loss, taught.split(images), said)
        return Learnt(loss=loss, features=features[0][:images])

    def before_update(self, moment: Moment) -> None:
        """See ``Method.before_update``: the last layer stays in the first epoch."""
        self.head.cancel_last_layer_gradients(moment.epoch)

    def after_update(self, moment: Moment) -> None:
        """See ``Method.after_update``: the teacher follows, ever more slowly."""
        momentum = 1 - (1 - _MOMENTUM) * (math.cos(math.pi * moment.done) + 1) / 2
        update_momentum(self.encoder, self.teacher, momentum)
        update_momentum(self.head, self.teacher_head, momentum)


def _head(width: int, outputs: int) -> DINOProjectionHead:
    with warnings.catch_warnings():
        # lightly normalizes the last layer by a function that torch means to remove
        warnings.simplefilter("ignore", FutureWarning)
        return DINOProjectionHead(width, output_dim=outputs, freeze_last_layer=_FROZEN_EPOCHS)
