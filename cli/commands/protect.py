"""``ftonnx protect``: clip a model's activations."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from ftonnx.campaign.evaluate import choose_batch_size, open_model
from ftonnx.campaign.header import versions
from ftonnx.campaign.interrupt import stop_on_signals
from ftonnx.cli.options import (
    CacheMemory,
    Channels,
    Crop,
    Json,
    Limit,
    Mean,
    Model,
    Resize,
    Scale,
    Std,
    parse_bytes,
    parse_preprocess,
    split_names,
    split_or,
)
from ftonnx.cli.output import console, note, print_json, progress_bar, table
from ftonnx.datasets import Dataset, load_dataset, stratified_subset
from ftonnx.errors import UsageError
from ftonnx.export import check_target, write_model
from ftonnx.inject import OnnxModel
from ftonnx.mitigate import ClipActSettings, Protected, Thresholds, protectable
from ftonnx.mitigate import protect as clip
from ftonnx.mitigate.search_log import SearchLog

__all__ = ["protect"]

_DEFAULTS: Final = ClipActSettings()


def protect(
    model: Model,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT.onnx", help="The protected model.")],
    method: Annotated[
        str | None,
        typer.Option(
            "--method", metavar="NAME", help="relu6 (clamp at 6), actmax (the largest value seen), or clipact."
        ),
    ] = None,
    thresholds: Annotated[
        Path | None,
        typer.Option("--thresholds", metavar="FILE.json", help="Apply these earlier thresholds; needs no data."),
    ] = None,
    save_thresholds: Annotated[
        Path | None,
        typer.Option("--save-thresholds", metavar="FILE.json", help="Keep the thresholds and how they were found."),
    ] = None,
    scope: Annotated[
        str, typer.Option("--scope", metavar="NAME", help="One threshold per activation (node) or per channel.")
    ] = "node",
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="SPEC", help="digits, npz:PATH, folder:PATH, or PATH/file.py:function."),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Split of the data.  [default: val, where the data has splits]")
    ] = None,
    limit: Limit = None,
    stratified: Annotated[
        bool, typer.Option("--stratified", help="Take the --limit images at random, every class in its share.")
    ] = False,
    scale: Scale = None,
    mean: Mean = None,
    std: Std = None,
    resize: Resize = None,
    crop: Crop = None,
    channels: Channels = None,
    iterations: Annotated[
        int, typer.Option("--iterations", metavar="N", help="clipact: refinements of each activation's interval.")
    ] = _DEFAULTS.iterations,
    rates: Annotated[
        str, typer.Option("--rates", metavar="R,R,...", help="clipact: bit-fault rates of the curve, flips per bit.")
    ] = "1e-7,1e-6,3e-6,1e-5,3e-5",
    repeats: Annotated[
        int, typer.Option("--repeats", metavar="N", help="clipact: fault patterns per rate and batch.")
    ] = _DEFAULTS.repeats,
    auc_axis: Annotated[
        str, typer.Option("--auc-axis", metavar="AXIS", help="clipact: area over the log, linear or index of the rate.")
    ] = _DEFAULTS.auc_axis,
    auc_include_clean: Annotated[
        float,
        typer.Option("--auc-include-clean", metavar="W", help="clipact: weight of the fault-free accuracy, 0 to 1."),
    ] = _DEFAULTS.include_clean,
    resample: Annotated[
        int | None,
        typer.Option("--resample", metavar="N", help="clipact: draw N images anew, stratified, for every iteration."),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", metavar="N", help="Images per run, and per fault pattern.  [default: 128]"),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of fault patterns and drawn images.")] = _DEFAULTS.seed,
    cache_memory: CacheMemory = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results", metavar="DIR", help="clipact: keep every measurement here; a killed search continues."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Clip a model's activations, so that values which only a fault can cause become zero.

    Works on any FP32 ONNX file with Relu, Clip from 0 (ReLU6), CReLU, GELU, SiLU, HardSwish or LeakyRelu nodes.
    """
    loaded = open_model(model)
    _check(method, thresholds, [path for path in (output, save_thresholds) if path is not None], loaded)
    if stratified and limit is None:
        raise UsageError("--stratified draws --limit N images; say how many")
    settings = ClipActSettings(
        iterations=iterations,
        rates=_rates(rates),
        repeats=repeats,
        auc_axis=auc_axis,
        include_clean=auc_include_clean,
        resample=resample,
        batch_size=choose_batch_size(loaded, batch_size),
        seed=seed,
    )
    memory = None if cache_memory is None else parse_bytes("--cache-memory", cache_memory)
    earlier = None if thresholds is None else Thresholds.load(thresholds)
    protectable(loaded)
    dataset = None
    if data is not None:
        dataset = load_dataset(
            data,
            split=split_or("val", split, data),
            limit=None if stratified else limit,
            preprocess=parse_preprocess(scale, mean, std, resize, crop, channels),
            model_metadata=loaded.metadata,
        )
        if stratified and limit is not None:
            dataset = stratified_subset(dataset, limit, seed=seed)
    with ExitStack() as stack:
        log = None
        if results is not None and method == "clipact" and dataset is not None:
            identity = {"model": loaded.sha256, "data": dataset.fingerprint, "scope": scope, **settings.to_dict()}
            log = stack.enter_context(SearchLog(results, identity | {"versions": versions()}))
        progress = stack.enter_context(_progress(loaded)) if method == "clipact" else None
        protected = clip(
            loaded,
            dataset,
            method=method or "",
            scope=scope,
            settings=settings,
            thresholds=earlier,
            log=log,
            progress=progress,
            cache_memory=memory,
        )
    loaded.check_unchanged()
    if save_thresholds is not None and protected.thresholds is not None:
        protected.thresholds.save(save_thresholds)
    write_model(protected.proto, output)
    _print(protected, loaded, dataset, output, as_json=json, searched=method == "clipact")


def _check(method: str | None, thresholds: Path | None, outputs: list[Path], model: OnnxModel) -> None:
    """Refuse what makes no sense before the work starts."""
    if (method is None) == (thresholds is None):
        raise UsageError("either --method relu6, actmax or clipact, or earlier --thresholds FILE.json was expected")
    if method == "relu6" and len(outputs) > 1:
        raise UsageError("--save-thresholds: relu6 clamps at 6 and has no thresholds to save; leave it out")
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise UsageError(f"{outputs[0]} was given for the model and for the thresholds; choose two names")
    for path in outputs:
        check_target(path)
        model.check_not_overwritten(path)


def _rates(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in split_names(text))
    except ValueError:
        raise UsageError(f"--rates: numbers such as 1e-7,1e-6 were expected, got {text!r}") from None


@contextmanager
def _progress(model: OnnxModel) -> Iterator[Callable[[int, int], None]]:
    """Show progress, and stop after the measurement in work when a signal comes."""
    with progress_bar(f"thresholds of {model.name}") as show, stop_on_signals() as stop:

        def step(done: int, total: int) -> None:
            show(done, total)
            stop.raise_if_asked(f"{done} of at most {total} measurements are done; --results DIR keeps them")

        yield step


def _print(
    protected: Protected, model: OnnxModel, data: Dataset | None, output: Path, *, as_json: bool, searched: bool
) -> None:
    found = protected.thresholds
    if as_json:
        content = found.to_dict() if found else {"method": "relu6", "model": model.sha256}
        head = {"output": str(output), "activations": protected.activations, "warnings": protected.warnings}
        print_json(head | content)
        return
    out = console()
    method, images = (found.method, f", {len(data)} images of {data.name}" if data else "") if found else ("relu6", "")
    out.print(f"{model.name}: {len(protected.activations)} activations clipped by {method}{images}")
    if found and searched:
        tried = found.search["evaluations"]
        scored = sum(each["score"] is not None for each in tried)
        out.print(f"{len(tried)} thresholds tried, {scored} of them at all rates; the others could not be the best")
    if found:
        rows = table("activation", "threshold")
        for name, value in found.values.items():
            channels = f"{value.min():.4g} to {value.max():.4g}, {value.size} channels"
            rows.add_row(name, channels if value.ndim else f"{float(value):.6g}")
        out.print(rows)
    note(f"protected model: {output}")
