"""``ftonnx inject``: accuracy under bit flips."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ftonnx.campaign import PAPER_RATES, Campaign, CampaignResult, CampaignSettings, Estimate
from ftonnx.campaign.evaluate import choose_batch_size, open_model
from ftonnx.cli.options import (
    Channels,
    Crop,
    Exclude,
    FormatName,
    Include,
    Json,
    Limit,
    Mean,
    Resize,
    Scale,
    Split,
    Std,
    Targets,
    parse_preprocess,
    split_names,
)
from ftonnx.cli.output import console, note, number, percent, print_json, progress_bar, shown, table
from ftonnx.datasets import load_dataset
from ftonnx.errors import UsageError
from ftonnx.inject import OnnxModel

__all__ = ["inject"]

_EMBEDDED: Final = "digits"
_EMBEDDED_RATES: Final = (1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4)
"""The embedded model has 457 times fewer bits than ResNet-50, so it breaks at higher rates."""


def inject(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="ONNX file, or the name of an embedded model.")
    ] = _EMBEDDED,
    rate: Annotated[
        list[float] | None,
        typer.Option(
            "--rate",
            metavar="R",
            help="Bit-fault rate, flips per stored bit, 0 to 1 (repeatable). Default: the paper's eight rates "
            "1e-8 to 3e-5; for the embedded model 1e-7 to 3e-4.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="SPEC",
            help="digits, npz:PATH, folder:PATH, or PATH/file.py:function, which runs that file. "
            "Default for the embedded model: digits.",
        ),
    ] = None,
    split: Split = None,
    limit: Limit = None,
    scale: Scale = None,
    mean: Mean = None,
    std: Std = None,
    resize: Resize = None,
    crop: Crop = None,
    channels: Channels = None,
    format: FormatName = "auto",
    targets: Targets = "weight,bias",
    include: Include = None,
    exclude: Exclude = None,
    repeats: Annotated[
        int, typer.Option("--repeats", metavar="N", help="Fault patterns per rate and batch; 2 or more for intervals.")
    ] = 10,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", metavar="N", help="Images that share one fault pattern.  [default: 128]"),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the fault patterns, 0 to 2^64 - 1.")] = 0,
    strategy: Annotated[
        str, typer.Option("--strategy", metavar="NAME", help="auto (measures), live, or rebuild.")
    ] = "auto",
    providers: Annotated[
        str,
        typer.Option("--providers", metavar="NAMES", help="Execution providers by priority: cpu, or cuda,cpu."),
    ] = "cpu",
    threads: Annotated[
        int | None,
        typer.Option("--threads", metavar="N", help="Threads per session.  [default: ONNX Runtime's choice]"),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            metavar="DIR",
            file_okay=False,
            help="Results folder; an unfinished campaign in it is continued.  [default: a temporary one]",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate everything, print sizes and an estimated time, run nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Flip bits of a model's weights and biases, run it, and report its accuracy per fault rate.

    Every unit (one rate, one repeat, one batch) draws its own fault pattern; after it, the memory is restored.
    """
    loaded = open_model(model)
    settings = CampaignSettings(
        rates=tuple(rate) if rate else _default_rates(model),
        repeats=repeats,
        batch_size=choose_batch_size(loaded, batch_size),
        seed=seed,
        format=format,
        targets=split_names(targets),
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        strategy=strategy,
        providers=split_names(providers),
        threads=threads,
    )
    dataset = load_dataset(
        data or _default_data(model),
        split=split,
        limit=limit,
        preprocess=parse_preprocess(scale, mean, std, resize, crop, channels),
        model_metadata=loaded.metadata,
    )
    campaign = Campaign(loaded, dataset, settings, results=results)
    if dry_run:
        _print_forecast(loaded, campaign.forecast(), as_json=json)
        return
    with progress_bar(shown(f"{loaded.name} on {dataset.name}")) as progress:
        result = campaign.run(progress=progress)
    if json:
        print_json(result.to_dict())
    else:
        _print_result(result)
    note(f"results: {result.results}")


def _default_rates(model: str) -> tuple[float, ...]:
    return _EMBEDDED_RATES if model == _EMBEDDED else PAPER_RATES


def _default_data(model: str) -> str:
    if model != _EMBEDDED:
        raise UsageError("--data SPEC is missing: digits, npz:PATH, folder:PATH, or PATH/file.py:function")
    return _EMBEDDED


def _print_forecast(model: OnnxModel, forecast: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        expected = [{"rate": rate, "faults": faults} for rate, faults in forecast["expected_faults"].items()]
        print_json(forecast | {"expected_faults": expected})
        return
    out = console()
    out.print(f"{shown(model.name)}: N = {number(forecast['bits'])} bits can flip; strategy {forecast['strategy']}")
    rows = table("rate", "expected faults per unit", left=0)
    for rate, faults in forecast["expected_faults"].items():
        rows.add_row(f"{rate:g}", number(faults))
    out.print(rows)
    out.print(f"{number(forecast['units'])} units, about {_duration(forecast['seconds'])}; nothing was run or written")


def _print_result(result: CampaignResult) -> None:
    out = console()
    golden, space, data = result.golden, result.fault_space, result.data
    out.print(
        f"{shown(result.model['name'])} on {shown(data['name'])}, {number(data['samples'])} images: "
        f"fault-free top-1 {percent(golden['top1'])}, top-5 {percent(golden['top5'])}"
    )
    out.print(f"N = {number(space['bits'])} bits can flip ({', '.join(space['formats'])})\n")
    rows = table("rate", "faults (mean)", "top-1", "95 % interval", "SDC-1", "DUE", left=0)
    for rate in result.rates:
        rows.add_row(
            f"{rate.rate:g}",
            number(rate.faults_mean),
            percent(rate.top1.mean),
            _interval(rate.top1),
            percent(rate.sdc1.mean),
            percent(rate.due.mean),
        )
    out.print(rows)
    silent = [f"{rate.rate:g}" for rate in result.rates if rate.rate and rate.top1.low == rate.top1.high is not None]
    if silent:
        note(f"no pattern changed the accuracy at {', '.join(silent)}: rarer harmful ones need more --repeats to show")


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return "needs 2 repeats"
    return f"{100 * estimate.low:.2f} to {percent(estimate.high)}"


def _duration(seconds: float) -> str:
    """Return a time for people.

    >>> _duration(0.4), _duration(75), _duration(7300)
    ('1 s', '1 min 15 s', '2 h 1 min')
    """
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
