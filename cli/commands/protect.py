"""``ftonnx protect``: clip a model's activations."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final

import typer

from ftonnx.campaign.inputs import choose_batch_size
from ftonnx.campaign.run.signals import stop_on_signals
from ftonnx.cli.data_options import TuningDataOptions
from ftonnx.cli.flags import with_flags
from ftonnx.cli.judged_images import JudgedImages, accuracy_rows
from ftonnx.cli.options import CACHE_MEMORY, OUTPUT, DrawOptions, Json, JudgingOptions, ModelOptions
from ftonnx.cli.output import console, note, print_json, progress_bar, table, warn
from ftonnx.cli.parsers import rates_of
from ftonnx.datasets import Dataset, stratified_subset
from ftonnx.errors import DataError, ModelError, UsageError, message_of
from ftonnx.export import write_model
from ftonnx.files import check_target
from ftonnx.inject import OnnxModel
from ftonnx.mitigate import AccuracyChange, ClipActSettings, Protected, Protection, Thresholds, protectable, protection
from ftonnx.mitigate import protect as clip
from ftonnx.mitigate.accuracy import accuracy_change
from ftonnx.words import printable

__all__ = ["protect"]

_DEFAULTS: Final = ClipActSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class _MethodOptions:
    """How to clip."""

    PANEL: ClassVar[str] = "Clipping"

    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="OUT.onnx", rich_help_panel=OUTPUT, help="The protected model."),
    ]
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            metavar="NAME",
            help="relu6 (clamp at 6), actmax (the largest value seen), ranger (the same, as a clamp), or clipact.",
        ),
    ] = None
    thresholds: Annotated[
        Path | None,
        typer.Option("--thresholds", metavar="FILE.json", help="Apply these earlier thresholds; needs no data."),
    ] = None
    scope: Annotated[
        str | None,
        typer.Option(
            "--scope",
            metavar="NAME",
            help="One threshold per activation (node), channel or neuron; hybrid: per neuron of the last activation.  "
            "[default: node]",
        ),
    ] = None
    per_channel: Annotated[bool, typer.Option("--per-channel", help="The same as --scope channel.")] = False
    on_exceed: Annotated[
        str | None,
        typer.Option(
            "--on-exceed",
            metavar="FORM",
            help="A value above its threshold becomes zero, or the threshold (clamp: plain Clip or Min nodes, which "
            "cost little, protect less and let NaN pass).  [default: clamp for relu6 and ranger, else zero]",
        ),
    ] = None

    @property
    def searches(self) -> bool:
        """Whether thresholds are searched for by accuracy under faults."""
        return self.method == "clipact"

    def earlier(self) -> Thresholds | None:
        """Return the thresholds of the file, in another form where one was asked for."""
        if self.thresholds is None:
            return None
        found = Thresholds.load(self.thresholds)
        return found if self.on_exceed is None else found.in_form(self.on_exceed)

    def chosen(self, settings: ClipActSettings) -> Protection:
        """Return the method."""
        return protection(self.method or "", scope=self._scope, settings=settings, on_exceed=self.on_exceed)

    @property
    def _scope(self) -> str:
        """What has a threshold of its own.

        Raises:
            UsageError: two options say it differently.
        """
        if self.per_channel and self.scope not in (None, "channel"):
            raise UsageError(f"--per-channel is --scope channel: no --scope {self.scope} was expected beside it")
        return "channel" if self.per_channel else self.scope or "node"


@dataclass(frozen=True, slots=True, kw_only=True)
class _ImageOptions(TuningDataOptions):
    """Images, possibly a sample of them."""

    stratified: Annotated[
        bool, typer.Option("--stratified", help="Take the --limit images at random, every class in its share.")
    ] = False

    def open(self, model: OnnxModel, seed: int) -> Dataset | None:
        """Open the data; None where there is no --data."""
        if self.data is None:
            return None
        dataset = self.load(self.data, model, whole=self.stratified)
        if self.stratified and self.limit is not None:
            return stratified_subset(dataset, self.limit, seed=seed)
        return dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class _SearchOptions:
    """How ClipAct searches."""

    PANEL: ClassVar[str] = "ClipAct"

    iterations: Annotated[
        int, typer.Option("--iterations", metavar="N", help="clipact: refinements of each activation's interval.")
    ] = _DEFAULTS.iterations
    rates: Annotated[
        tuple[float, ...],
        typer.Option(
            "--rates",
            metavar="R,R,...",
            parser=rates_of,
            help="clipact: bit-fault rates of the curve, flips per bit.",
        ),
    ] = _DEFAULTS.rates
    repeats: Annotated[
        int, typer.Option("--repeats", metavar="N", help="clipact: fault patterns per rate and batch.")
    ] = _DEFAULTS.repeats
    auc_axis: Annotated[
        str, typer.Option("--auc-axis", metavar="AXIS", help="clipact: area over the log, linear or index of the rate.")
    ] = _DEFAULTS.auc_axis
    auc_include_clean: Annotated[
        float,
        typer.Option("--auc-include-clean", metavar="W", help="clipact: weight of the fault-free accuracy, 0 to 1."),
    ] = _DEFAULTS.include_clean
    resample: Annotated[
        int | None,
        typer.Option("--resample", metavar="N", help="clipact: draw N images anew, stratified, for every iteration."),
    ] = None
    results: Annotated[
        Path | None,
        typer.Option(
            "--results", metavar="DIR", help="clipact: keep every measurement here; a killed search continues."
        ),
    ] = None

    def settings(self, model: OnnxModel, drawing: DrawOptions, judged: JudgingOptions) -> ClipActSettings:
        """Return the library's settings.

        Raises:
            UsageError: a value makes no sense.
        """
        return ClipActSettings(
            iterations=self.iterations,
            rates=self.rates,
            repeats=self.repeats,
            auc_axis=self.auc_axis,
            include_clean=self.auc_include_clean,
            resample=self.resample,
            batch_size=choose_batch_size(model, drawing.batch_size),
            seed=drawing.seed,
            task=judged.task,
            output=judged.model_output,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunOptions(DrawOptions):
    """How images meet fault patterns, and in how much memory."""

    cache_memory: Annotated[int | None, CACHE_MEMORY] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _OutputOptions:
    """What else is written."""

    PANEL: ClassVar[str] = OUTPUT

    save_thresholds: Annotated[
        Path | None,
        typer.Option("--save-thresholds", metavar="FILE.json", help="Keep the thresholds and how they were found."),
    ] = None
    json: Json = False


def protect(
    network: ModelOptions,
    clipping: _MethodOptions,
    images: _ImageOptions,
    search: _SearchOptions,
    judged: JudgingOptions,
    running: _RunOptions,
    written: _OutputOptions,
) -> None:
    """Clip a model's activations, so that values which only a fault can cause become zero, or the largest usual one.

    Works on any FP32 ONNX file with Relu, Clip from 0 (ReLU6), CReLU, GELU, SiLU, HardSwish or LeakyRelu nodes.
    """
    model = network.open()
    _check(clipping, written, model)
    if images.stratified and images.limit is None:
        raise UsageError("--stratified draws --limit N images; say how many")
    settings = search.settings(model, running, judged)
    earlier = clipping.earlier()
    protectable(model)
    dataset = images.open(model, running.seed)
    method = earlier or clipping.chosen(settings)
    shown = _progress(model) if clipping.searches else nullcontext()
    with shown as progress:
        protected = clip(
            model,
            dataset,
            method,
            results=search.results,
            progress=progress,
            cache_memory=running.cache_memory,
        )
    model.check_unchanged()
    measured = None if dataset is None else _measured(model, protected, images, dataset, judged)
    if written.save_thresholds is not None and protected.thresholds is not None:
        protected.thresholds.save(written.save_thresholds)
    write_model(protected.proto, clipping.output)
    if measured is not None and not clipping.searches:  # a search has said it before it began
        warn(measured[1].warnings)
    if measured is not None and measured[1].note is not None:
        note(f"no accuracy was measured: {with_flags(measured[1].note, 'protect')}")
    if written.json:
        facts = {"output": str(clipping.output), **_facts(protected, model)}
        if measured is not None:
            facts["fault_free"] = {**measured[1].to_dict(), "data": measured[0].to_dict()}
        print_json(facts)
        return
    _print(protected, model, dataset, searched=clipping.searches)
    if measured is not None:
        _print_accuracy(*measured)
    note(f"protected model: {clipping.output}")


def _measured(
    model: OnnxModel, protected: Protected, images: _ImageOptions, used: Dataset, judged: JudgingOptions
) -> tuple[JudgedImages, AccuracyChange]:
    """Return what clipping does to the fault-free accuracy, and on which images."""
    seen = JudgedImages.of(images, used, model)
    try:
        with progress_bar(printable(f"accuracy of {model.name}")) as progress:
            change = accuracy_change(
                model,
                protected.proto,
                seen.data,
                step="clipping",
                task=judged.task,
                output=judged.model_output,
                progress=progress,
            )
    except (DataError, ModelError) as error:  # thresholds need no labels, and no output that a task knows
        change = AccuracyChange(before=None, after=None, note=message_of(error))
    return seen, change


def _print_accuracy(seen: JudgedImages, change: AccuracyChange) -> None:
    found = accuracy_rows(change)
    if not found:
        return
    out = console()
    rows = table("fault-free", "before", "after")
    for row in found:
        rows.add_row(*row)
    out.print()
    out.print(rows)
    out.print(f"on {seen.text}", soft_wrap=True)


def _check(clipping: _MethodOptions, written: _OutputOptions, model: OnnxModel) -> None:
    """Refuse what makes no sense before the work starts."""
    outputs = [path for path in (clipping.output, written.save_thresholds) if path is not None]
    if (clipping.method is None) == (clipping.thresholds is None):
        raise UsageError("either --method relu6, actmax, ranger or clipact, or --thresholds FILE.json was expected")
    if clipping.method == "relu6" and len(outputs) > 1:
        raise UsageError("--save-thresholds: relu6 clamps at 6 and has no thresholds to save; leave it out")
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise UsageError(f"{outputs[0]} was given for the model and for the thresholds; choose two names")
    for path in outputs:
        check_target(path)
        model.check_not_overwritten(path)


@contextmanager
def _progress(model: OnnxModel) -> Iterator[Callable[[int, int], None]]:
    """Show progress, and stop after the measurement in work when a signal comes."""
    with progress_bar(f"thresholds of {model.name}") as show, stop_on_signals() as stop:

        def step(done: int, total: int) -> None:
            show(done, total)
            stop.raise_if_asked(f"{done} of at most {total} measurements are done; --results DIR keeps them")

        yield step


def _facts(protected: Protected, model: OnnxModel) -> dict[str, object]:
    """Return the content of --json."""
    found = protected.thresholds
    content = {"method": "relu6", "model": model.sha256} if found is None else found.to_dict()
    facts: dict[str, object] = {
        "activations": protected.activations,
        "warnings": protected.warnings,
        "on_exceed": protected.on_exceed,
    }
    return {**facts, **content}


def _print(protected: Protected, model: OnnxModel, data: Dataset | None, *, searched: bool) -> None:
    out = console()
    found = protected.thresholds
    head = f"{model.name}: {len(protected.activations)} activations clipped by"
    form = "" if protected.on_exceed == "zero" else ", clamped"
    if found is None:
        out.print(f"{head} relu6{form}")
        return
    images = f", {len(data)} images of {data.name}" if data else ""
    out.print(f"{head} {found.method}{form}{images}")
    if searched:
        tried = found.search["evaluations"]
        scored = [each for each in tried if each["score"] is not None]
        counts = f"{len(tried)} thresholds tried, {len(scored)} of them at all rates"
        out.print(f"{counts}; the others could not be the best")
    rows = table("activation", "threshold")
    for name, value in found.values.items():
        if value.ndim:
            rows.add_row(name, f"{value.min():.4g} to {value.max():.4g}, {value.size} values")
        else:
            rows.add_row(name, f"{float(value):.6g}")
    out.print(rows)
