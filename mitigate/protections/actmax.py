"""ActMax and Ranger: what lies above the largest value seen becomes 0 (paper, equation 4), or that value."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from ftonnx.export import Activation, check_on_exceed
from ftonnx.inject import OnnxModel
from ftonnx.mitigate.points import ClipActSettings
from ftonnx.mitigate.protections.base import Protected, Protection, Work, clipped_at, observed_for
from ftonnx.mitigate.thresholds import Thresholds, check_scope, largest_values

__all__ = ["ActMax", "Ranger"]


@dataclass(frozen=True, slots=True)
class ActMax(Protection):
    """Every activation is clipped at the largest value that it takes on the data.

    Attributes:
        scope: what has a threshold of its own, one of ``SCOPES``.
        batch_size: images per run.
        on_exceed: what a value above becomes: ``zero``, or the threshold (``clamp``).

    Raises:
        UsageError: the scope or the form is not known.
    """

    name: ClassVar[str] = "actmax"
    scope: str = "node"
    batch_size: int = 128
    on_exceed: str = "zero"

    def __post_init__(self) -> None:
        """Check the scope and the form."""
        check_scope(self.scope)
        check_on_exceed(self.on_exceed)

    def apply(self, model: OnnxModel, activations: Sequence[Activation], work: Work) -> Protected:
        """Measure, then clip."""
        data = work.images_for(self.name)
        largest = largest_values(
            model,
            data,
            observed_for(activations, self.on_exceed),
            scope=self.scope,
            batch_size=self.batch_size,
        )
        thresholds = Thresholds(
            method=self.name,
            scope=self.scope,
            model=model.sha256,
            values=largest,
            on_exceed=self.on_exceed,
            search={"data": data.fingerprint, "samples": len(data)},
        )
        return clipped_at(model, thresholds)

    @classmethod
    def with_options(cls, *, scope: str, settings: ClipActSettings, on_exceed: str | None) -> Self:
        """Take the scope, the batch size and the form."""
        form = {} if on_exceed is None else {"on_exceed": on_exceed}
        return cls(scope=scope, batch_size=settings.batch_size, **form)


@dataclass(frozen=True, slots=True)
class Ranger(ActMax):
    """Range restriction: ActMax whose values above become the largest value seen.

    Chen, Li and Pattabiraman, "A Low-cost Fault Corrector for Deep Neural Networks through Range Restriction",
    DSN 2021. They bound what follows an activation too (pooling, Concat, Reshape), which its own bound does here.

    Attributes:
        scope: what has a threshold of its own, one of ``SCOPES``.
        batch_size: images per run.
        on_exceed: what a value above becomes: the threshold (``clamp``), or ``zero``.

    Raises:
        UsageError: the scope or the form is not known.
    """

    name: ClassVar[str] = "ranger"
    on_exceed: str = "clamp"
