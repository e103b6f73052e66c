"""How a model is quantized."""

from dataclasses import asdict, dataclass
from typing import Any, Final

from ftonnx.errors import UsageError

__all__ = ["CALIBRATIONS", "QuantSettings"]

CALIBRATIONS: Final = ("histogram", "minmax", "entropy", "percentile")
"""How the ranges of activations are found; the first is this package's own, the others ONNX Runtime's."""

_CHOICES: Final = {
    "calibration": CALIBRATIONS,
    "quant_format": ("qdq", "qoperator"),
    "activation_type": ("uint8", "int8"),
    "weight_type": ("int8",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantSettings:
    """Settings of a static quantization; the defaults follow the paper (section III-C).

    Attributes:
        calibration: one of ``CALIBRATIONS``.
        percentile: for ``percentile``: per cent of the absolute values that the range covers, in (0, 100].
        per_channel: weights get one scale per output channel, by min and max; else one per tensor.
        quant_format: ``qdq`` (QuantizeLinear/DequantizeLinear pairs) or ``qoperator`` (QLinearConv and the like).
        activation_type: ``uint8`` or ``int8``, affine.
        weight_type: ``int8``, symmetric.
        exclude_nodes: shell-style patterns of node names that stay in floating point.
        error_images: at most this many of the first images measure the error per layer.
    """

    calibration: str = "histogram"
    percentile: float = 99.999
    per_channel: bool = True
    quant_format: str = "qdq"
    activation_type: str = "uint8"
    weight_type: str = "int8"
    exclude_nodes: tuple[str, ...] = ()
    error_images: int = 32

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        for field, choices in _CHOICES.items():
            value = getattr(self, field)
            if value not in choices:
                raise UsageError(f"`{field}`: expected one of {', '.join(choices)}, got {value!r}")
        if not 0 < self.percentile <= 100:
            raise UsageError(f"percentile: expected above 0 and at most 100, such as 99.999, got {self.percentile}")
        if self.error_images < 1:
            raise UsageError(f"error_images: expected at least 1, got {self.error_images}")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        values = asdict(self)
        values["exclude_nodes"] = list(self.exclude_nodes)
        return values

    def calibration_key(self) -> dict[str, Any]:
        """Return what the ranges depend on, apart from the model and the data."""
        key: dict[str, Any] = {
            "method": self.calibration,
            "exclude_nodes": sorted(self.exclude_nodes),
        }
        # the other methods do not ask for it
        if self.calibration == "percentile":
            key["percentile"] = self.percentile
        return key
