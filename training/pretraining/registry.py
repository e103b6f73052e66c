"""The ways of pretraining by name; ``settings.METHODS`` names the same without torch."""

from collections.abc import Mapping
from typing import Final

from ftonnx.training.pretraining.dino import DINO
from ftonnx.training.pretraining.method import Method
from ftonnx.training.pretraining.simsiam import SimSiam
from ftonnx.training.pretraining.ssql import SSQL
from ftonnx.training.pretraining.swav import SwAV

__all__ = ["CLASSES"]

CLASSES: Final[Mapping[str, type[Method]]] = {"simsiam": SimSiam, "ssql": SSQL, "swav": SwAV, "dino": DINO}
