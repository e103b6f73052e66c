"""Options that several commands share, in groups; `ftonnx.cli.expand` turns a group into a command's parameters."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

import typer

from ftonnx.campaign.inputs import open_model
from ftonnx.campaign.plan.settings import ENGINES, LOCAL, ImagesPerPattern, Jobs, Settings, parse_images, parse_jobs
from ftonnx.cli.clock import began
from ftonnx.cli.parsers import memory_bytes
from ftonnx.cli.protection import read_plan
from ftonnx.inject import FaultSpace, OnnxModel
from ftonnx.inject.activations import IMAGE
from ftonnx.stats.betting import Question, parse_question
from ftonnx.tasks import TASKS, Segmentation, Task, default_task, parse_task, task_from_dict
from ftonnx.words import bit_positions, split_names

__all__ = [
    "ACTIVATIONS_PER",
    "CACHE_MEMORY",
    "EMBEDDED",
    "ENGINE",
    "FEED",
    "JOBS",
    "OUTPUT",
    "PROVIDERS",
    "READING",
    "SCHEDULER",
    "DrawOptions",
    "FaultOptions",
    "Json",
    "JudgingOptions",
    "ModelOptions",
    "OwnTask",
    "QuestionName",
    "RunOptions",
    "SpaceOptions",
    "UsualModelOptions",
]  # fmt: skip

READING: Final = "Reading results"
"""The panel of options that say how recorded results are read."""

OUTPUT: Final = "Output"
"""The panel of options that say what is printed and written."""

EMBEDDED: Final = "digits"
"""The model, and the data, that come with the package."""

_MODEL: Final = typer.Argument(metavar="MODEL", help="ONNX file, or the name of an embedded model: digits.")
_FORMAT: Final = typer.Option(
    "--format",
    metavar="FORMAT",
    help="How float tensors are seen as bits: ieee, qM.N, or auto: what the model's metadata say, else q15.16. "
    "Integers are their own bits.",
)
_ROLES: Final = typer.Option(
    "--roles",
    metavar="ROLES",
    parser=split_names,
    help="Roles that can flip: weight, bias, scale, zero_point, activation.",
)
_INCLUDE: Final = typer.Option(
    "--include",
    metavar="PATTERN[=ROLE]",
    help="Only tensors with matching names (shell style; repeatable). With a role, as mask=bias: add them, "
    "whatever the rules say.",
)
_EXCLUDE: Final = typer.Option(
    "--exclude", metavar="PATTERN", help="Not the tensors with matching names (shell style; repeatable)."
)
_BITS: Final = typer.Option(
    "--bits",
    metavar="LIST",
    parser=bit_positions,
    help="Only these bits of an element can flip, as 23-30,31; 0 is the lowest.",
)
ACTIVATIONS_PER: Final = typer.Option(
    "--activations-per",
    metavar="SCOPE",
    help="Whose activations flip: image (at a rate every image meets flips of its own, an injection is met by all at "
    "the same place), or batch (N counts a run of --batch-size images).",
)
CACHE_MEMORY: Final = typer.Option(
    "--cache-memory",
    metavar="BYTES",
    parser=memory_bytes,
    help="Memory for golden tensors, from which runs with few faults start, such as 512M or 2G; 0 for none.  "
    "[default: a quarter of the free memory]",
)

PROVIDERS: Final = typer.Option(
    "--providers",
    metavar="NAMES",
    parser=split_names,
    rich_help_panel="Running",
    help="Execution providers by priority: cpu, or cuda,cpu.",
)
JOBS: Final = typer.Option(
    "--jobs",
    metavar="N",
    parser=parse_jobs,
    help="Processes that share the work, or auto (measures). The results are the same.",
)
ENGINE: Final = typer.Option(
    "--engine",
    metavar="NAME",
    help=f"Where units run, {' or '.join(ENGINES)}: the workers of a Dask cluster. The results are the same.",
)
SCHEDULER: Final = typer.Option(
    "--scheduler",
    metavar="ADDRESS",
    help="Of Dask: tcp://HOST:8786, tls://HOST:8786, or a scheduler file.  "
    "[default: a cluster of --jobs processes on this machine]",
)
_TASK_NAMES: Final = ", ".join(each.name for each in TASKS)
_TASK: Final = typer.Option(
    "--task",
    metavar="NAME",
    parser=parse_task,
    help=f"What outputs are worth: {_TASK_NAMES}, or FILE.py:Class, which runs that file; settings as NAME:key=value.  "
    "[default: what they look like]",
)
FEED: Final = typer.Option(
    "--feed",
    metavar="NAME=VALUE",
    help="A number, or an array in FILE.npy, for an input that takes no data, as sr=16000 (repeatable).",
)
_MODEL_OUTPUT: Final = typer.Option(
    "--output", metavar="NAME", help="The model's output that is judged.  [default: the one that fits the task]"
)

QuestionName = Annotated[
    Question,
    typer.Option(
        "--question",
        metavar="NAME",
        parser=parse_question,
        rich_help_panel=READING,
        help="What intervals are about: these-images, or new-images too.",
    ),
]
OwnTask = Annotated[
    Task | None,
    typer.Option(
        "--task",
        metavar="FILE.py:Class",
        parser=parse_task,
        rich_help_panel=READING,
        help="The task of your own that judged the results; runs that file.",
    ),
]
"""Reading the option is all: it makes the task known, so that folders which name it can be opened."""
Json = Annotated[bool, typer.Option("--json", rich_help_panel=OUTPUT, help="Print one JSON object instead of a table.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """The model of a command."""

    model: Annotated[str, _MODEL]

    def open(self) -> OnnxModel:
        """Read it.

        Raises:
            ModelError: it is missing, or no model that can be used.
        """
        return open_model(self.model)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsualModelOptions(ModelOptions):
    """The model of a command: the embedded one where none is named."""

    model: Annotated[str, typer.Argument(metavar="MODEL", help="ONNX file, or the name of an embedded model.")] = (
        EMBEDDED
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceOptions:
    """Which stored tensors can flip."""

    PANEL: ClassVar[str] = "Faults"

    format: Annotated[str, _FORMAT] = "auto"
    roles: Annotated[tuple[str, ...], _ROLES] = ("weight", "bias")
    include: Annotated[tuple[str, ...], _INCLUDE] = ()
    exclude: Annotated[tuple[str, ...], _EXCLUDE] = ()

    def space(self, model: OnnxModel) -> FaultSpace:
        """Return the fault space of a model.

        Raises:
            UsageError: nothing is left that can flip.
            ModelError: a tensor has bits that nobody knows.
        """
        return FaultSpace.of(model, format=self.format, roles=self.roles, include=self.include, exclude=self.exclude)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultOptions(SpaceOptions):
    """Which bits of which stored tensors can flip."""

    bits: Annotated[tuple[int, ...], _BITS] = ()
    activations_per: Annotated[str, ACTIVATIONS_PER] = IMAGE

    def space(self, model: OnnxModel) -> FaultSpace:
        """Return the fault space of a model.

        Raises:
            UsageError: nothing is left that can flip.
            ModelError: a tensor has bits that nobody knows.
        """
        return FaultSpace.of(
            model,
            format=self.format,
            roles=self.roles,
            include=self.include,
            exclude=self.exclude,
            bits=self.bits,
            activations_per=self.activations_per,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgingOptions:
    """What of a model is judged, where --output is a file."""

    PANEL: ClassVar[str] = "Running"

    task: Annotated[Task | None, _TASK] = None
    model_output: Annotated[
        str | None,
        typer.Option(
            "--model-output",
            metavar="NAME",
            help="The model's output that is judged.  [default: the one that fits the task]",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawOptions:
    """How images meet fault patterns."""

    PANEL: ClassVar[str] = "Running"

    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", metavar="N", help="Images per run, which share a fault pattern.  [default: 128]"),
    ] = None
    seed: Annotated[int, typer.Option("--seed", help="Of all that is drawn, 0 to 2^64 - 1.")] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(DrawOptions):
    """How a campaign runs."""

    images_per_pattern: Annotated[
        ImagesPerPattern | None,
        typer.Option(
            "--images-per-pattern",
            metavar="N",
            parser=parse_images,
            help="Images that share a fault pattern; auto measures the cheapest number, paper is 128. More patterns "
            "with fewer images say more for the same work.  [default: 8, 2 of a gate, or a larger --batch-size]",
        ),
    ] = None
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            metavar="N",
            help="Images per run; where it is less than share a pattern, this is held for several runs.  "
            "[default: all that share a pattern, or what the model insists on; 128 for injections]",
        ),
    ] = None
    seed: Annotated[int, typer.Option("--seed", help="Of the fault patterns, 0 to 2^64 - 1.")] = 0
    strategy: Annotated[
        str, typer.Option("--strategy", metavar="NAME", help="auto (measures), live, packed, or rebuild.")
    ] = "auto"
    providers: Annotated[tuple[str, ...], PROVIDERS] = ("cpu",)
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            metavar="N",
            help="Threads per session.  [default: ONNX Runtime's choice; with --jobs a share of the cores]",
        ),
    ] = None
    jobs: Annotated[Jobs, JOBS] = 1
    engine: Annotated[str, ENGINE] = LOCAL
    scheduler: Annotated[str | None, SCHEDULER] = None
    task: Annotated[Task | None, _TASK] = None
    output: Annotated[str | None, _MODEL_OUTPUT] = None
    feed: Annotated[tuple[str, ...], FEED] = ()
    cache_memory: Annotated[int | None, CACHE_MEMORY] = None
    unit_timeout: Annotated[
        float | None,
        typer.Option(
            "--unit-timeout",
            metavar="SECONDS",
            help="Runs that take longer are ended and count as detected errors; without faults, the model is refused.  "
            "[default: 20 times a run without faults, at least 60; 600 without faults]",
        ),
    ] = None
    protection: Annotated[
        Path | None,
        typer.Option(
            "--protection",
            metavar="PLAN.toml",
            rich_help_panel="Faults",
            help="The memory is protected by this plan of parity, ECC, copies and range checks, or as in this results "
            "folder; check bits flip too.",
        ),
    ] = None
    durable: Annotated[
        bool,
        typer.Option("--durable", help="Lose no more by a power failure than by a kill: wait for the disk every time."),
    ] = False
    seg_average: Annotated[
        str | None,
        typer.Option(
            "--seg-average",
            metavar="RULE",
            help="Class-mean accuracy of segmentation: over the pooled pixels of all images, or batch, the mean over "
            "the batches, as in the code of the paper's network.  [default: pooled]",
        ),
    ] = None

    def rules(self) -> dict[str, str | None]:
        """Return the settings of tasks that are options of their own, None where they were not said."""
        return {"average": self.seg_average}

    def outcomes(self) -> Task | None:
        """Return the task, with the settings that are options of their own; None where nothing was said.

        Raises:
            UsageError: the task has no such setting.
        """
        said = {name: rule for name, rule in self.rules().items() if rule is not None}
        if not said:
            return self.task
        usual = default_task() if self.seg_average is None else Segmentation()
        return task_from_dict((self.task or usual).to_dict() | said)

    def settings(self, faults: FaultOptions, **more: Any) -> Settings:
        """Return the library's settings.

        Args:
            faults: Which bits can flip.
            more: Settings that only some commands have.

        Raises:
            UsageError: a value makes no sense.
        """
        return Settings(
            images_per_pattern=self.images_per_pattern,
            batch_size=self.batch_size,
            seed=self.seed,
            output=self.output,
            feeds=self.feed,
            format=faults.format,
            roles=faults.roles,
            include=faults.include,
            exclude=faults.exclude,
            bits=faults.bits,
            activations_per=faults.activations_per,
            strategy=self.strategy,
            providers=self.providers,
            threads=self.threads,
            jobs=self.jobs,
            engine=self.engine,
            scheduler=self.scheduler,
            cache_memory=self.cache_memory,
            unit_timeout=self.unit_timeout,
            protection=None if self.protection is None else read_plan(self.protection),
            durable=self.durable,
            began=began(),
            **more,
        )
