"""Options of ``ftonnx inject`` that say how much is measured, and which part of it here."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

import typer

from ftonnx.campaign.plan.shard import Shard
from ftonnx.campaign.plan.stopping import Budget
from ftonnx.cli.options import QuestionName
from ftonnx.errors import UsageError

__all__ = ["SHARDS", "SampleOptions", "asked_shard"]

SHARDS: Final = typer.Option(
    "--shards", metavar="N", help="With --shard auto: number of parts, where the array does not say."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOptions:
    """How much is measured."""

    PANEL: ClassVar[str] = "Sample"

    repeats: Annotated[
        int | None,
        typer.Option(
            "--repeats",
            metavar="N",
            help="Fault patterns per rate and image; more narrow the intervals. With --faults-per-run the number of "
            "injections. With --precision or --budget the most there may be.  [default: 10; 1000 injections; 10000]",
        ),
    ] = None
    precision: Annotated[
        float | None,
        typer.Option(
            "--precision",
            metavar="E",
            help="Leave a rate once the accuracy's interval is this narrow (half-width), such as 0.005.",
        ),
    ] = None
    budget: Annotated[
        Budget | None,
        typer.Option(
            "--budget",
            metavar="TIME|UNITS",
            parser=Budget.parse,
            help="Stop after 10min, 500units, or 10min,500units.",
        ),
    ] = None
    question: QuestionName = "these-images"
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="K/N",
            help="Do part K of N equal parts, one per machine; auto reads K from a job array of Slurm, Kubernetes or "
            "PBS. ftonnx merge puts the parts' results together.",
        ),
    ] = None
    shards: Annotated[int | None, SHARDS] = None

    images: Annotated[
        str | None,
        typer.Option(
            "--images",
            metavar="A:B",
            help="In place of --shard: do the units of images A to B, counted from 0 and without B; either may be left "
            "out. They are multiples of the images that share a pattern, or B is the end.",
        ),
    ] = None

    def part(self, results: Path | None) -> dict[str, Any]:
        """Return the settings that say which part of the campaign is done here.

        Raises:
            UsageError: it is not clear which, or what is done would be in a temporary folder.
        """
        shard = asked_shard(self.shard, self.shards)
        asked: dict[str, Any] = {"shard": shard, "images": self.images}
        for name, value in asked.items():
            if value is not None and results is None:
                raise UsageError(
                    f"--results DIR is missing: with --{name}, ftonnx merge needs what every part has found"
                )
        return asked


def asked_shard(shard: str | None, shards: int | None) -> Shard | None:
    """Return the part that --shard and --shards ask for; None for all.

    Raises:
        UsageError: it is none, or a job array does not say which.
    """
    if shards is not None and shard != "auto":
        raise UsageError("--shards is for --shard auto")
    if shard == "auto":
        return Shard.of_environment(os.environ, shards)
    return None if shard is None else Shard.parse(shard)
