"""What a quantization did: sizes, ranges, clipped activations, error per layer."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from onnx import ModelProto

from ftonnx.quant.settings import QuantSettings
from ftonnx.words import json_values

__all__ = ["Activation", "ClippedActivation", "QuantReport", "Quantized"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """One quantized activation, and how far it is from its floating-point original.

    Attributes:
        tensor: name in the floating-point model.
        node: name of the node that makes it; empty for the model's input.
        op_type: that node's operator.
        scale: S in x = (q - Z) S.
        zero_point: Z.
        low: smallest value that the codes represent.
        high: largest one.
        snr_db: 10 log10(sum x^2 / sum (x - y)^2) over the measured images, x in floating point, y the
            dequantized value in the quantized model, with all errors of the layers before. Inf without error.
    """

    tensor: str
    node: str
    op_type: str
    scale: float
    zero_point: int
    low: float
    high: float
    snr_db: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClippedActivation:
    """One CReLU of the model and what became of it.

    Attributes:
        tensor: the activation's output.
        node: the CReLU node.
        threshold: T, one value or one per channel.
        quantized_threshold: the largest code that passes, one or one per channel; None where the CReLU stays
            in floating point (its input or output is not quantized).
        scale: of the codes; None likewise.
        zero_point: of the codes; None likewise.
    """

    tensor: str
    node: str
    threshold: tuple[float, ...]
    quantized_threshold: tuple[int, ...] | None = None
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantReport:
    """Record of one quantization.

    Attributes:
        settings: as asked.
        images: number of calibration images; 0 where the ranges came from a cache.
        error_images: number of images behind every ``snr_db``.
        from_cache: the ranges came from a calibration cache.
        size_before: bytes of the floating-point model.
        size_after: bytes of the quantized model.
        weights: number of quantized weight tensors.
        biases: number of biases that became int32.
        excluded_nodes: nodes that the patterns excluded.
        activations: the quantized activations in graph order.
        clipped: the CReLUs in graph order.
    """

    settings: QuantSettings
    images: int
    error_images: int
    from_cache: bool
    size_before: int
    size_after: int
    weights: int
    biases: int
    excluded_nodes: tuple[str, ...]
    activations: tuple[Activation, ...]
    clipped: tuple[ClippedActivation, ...]

    @property
    def worst(self) -> Activation | None:
        """The activation with the largest relative error; None where none is quantized."""
        return min(self.activations, key=lambda activation: activation.snr_db, default=None)

    def summary(self) -> str:
        """Return the counts and sizes in one line."""
        parts = [
            f"{self.weights} weights",
            f"{self.biases} biases",
            f"{len(self.activations)} activations",
            f"{self.size_before} to {self.size_after} bytes",
        ]
        worst = self.worst
        if worst is not None:
            parts.append(f"worst {worst.snr_db:.1f} dB in {worst.tensor!r}")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values; infinities are the strings JSON readers of other commands know."""
        worst = self.worst
        activations = [asdict(activation) for activation in self.activations]
        clipped = [asdict(each) for each in self.clipped]
        content = {
            "settings": self.settings.to_dict(),
            "images": self.images,
            "error_images": self.error_images,
            "from_cache": self.from_cache,
            "size": {"before": self.size_before, "after": self.size_after},
            "weights": self.weights,
            "biases": self.biases,
            "excluded_nodes": list(self.excluded_nodes),
            "worst": None if worst is None else asdict(worst),
            "activations": activations,
            "clipped": clipped,
        }
        values: dict[str, Any] = json_values(content)
        return values


@dataclass(frozen=True, slots=True)
class Quantized:
    """A quantized model and what was done; unpacks into the two.

    Attributes:
        proto: the int8 model.
        report: sizes, ranges, error per activation.
    """

    proto: ModelProto
    report: QuantReport

    def __iter__(self) -> Iterator[Any]:
        """Yield the model, then the report."""
        yield self.proto
        yield self.report

    def __repr__(self) -> str:
        return f"Quantized({self.report.summary()})"
