"""SSQL: SimSiam whose predictions must also come from a coarsely quantized network (Cao et al. 2022)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ftonnx.training.pretraining.encoder import Encoder
from ftonnx.training.pretraining.few_bits import Bits, FewBits
from ftonnx.training.pretraining.method import Learnt
from ftonnx.training.pretraining.simsiam import SimSiam
from ftonnx.training.settings import PretrainingSettings

__all__ = ["SSQL"]

_WEIGHT_BITS = (2, 8)
_ACTIVATION_BITS = (4, 8)


class SSQL(SimSiam):
    """Per step a pass in floating point, and one with weights and activations of a few random bits."""

    def __init__(self, encoder: Encoder, settings: PretrainingSettings) -> None:
        """Put a projection and a prediction on an encoder."""
        super().__init__(encoder, settings)
        self._few_bits = FewBits(encoder, self.projection_head)

    def learn(self, views: Sequence[Tensor]) -> Learnt:
        """See ``Method.learn``: half the loss of each pass; targets are those of the one in floating point."""
        with self._few_bits.measured():
            features = [self.encoder(view) for view in views]
            targets = [self.projection_head(each) for each in features]
        exact = self.predicted(targets, targets)
        bits = _drawn()
        rounded = [self._few_bits.rounded(view, bits) for view in views]
        return Learnt(loss=(exact + self.predicted(rounded, targets)) / 2, features=features[0])


def _drawn() -> Bits:
    """Draw numbers of bits, each as likely as the others."""
    weights, activations = (int(torch.randint(low, high + 1, ())) for low, high in (_WEIGHT_BITS, _ACTIVATION_BITS))
    return Bits(weights=weights, activations=activations)
