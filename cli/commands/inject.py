"""``ftonnx inject``: accuracy under bit flips."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ftonnx.campaign import PAPER_RATES, Campaign, CampaignResult, CampaignSettings, Estimate, PublishedFaults
from ftonnx.campaign.environment import Environment
from ftonnx.campaign.evaluate import choose_batch_size, open_model
from ftonnx.campaign.evidence import parse_target
from ftonnx.campaign.jobs import parse_jobs
from ftonnx.campaign.plan import choose_repeats
from ftonnx.campaign.published import check_publishable, published_outcomes
from ftonnx.campaign.rounds import MOST_ROUNDS, Stopping
from ftonnx.cli.injections import print_injections
from ftonnx.cli.options import (
    Bits,
    CacheMemory,
    Channels,
    Crop,
    Exclude,
    FormatName,
    Include,
    JobCount,
    Json,
    Limit,
    Mean,
    Resize,
    Scale,
    Split,
    Std,
    TargetName,
    Targets,
    parse_bits,
    parse_bytes,
    parse_preprocess,
    split_names,
)
from ftonnx.cli.output import console, note, number, percent, print_json, progress_bar, shown, table, warn
from ftonnx.datasets import load_dataset
from ftonnx.errors import UsageError
from ftonnx.export import check_target, write_file
from ftonnx.inject import OnnxModel
from ftonnx.plugins.mlflow_log import check_mlflow, log_result

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
    environment: Annotated[
        Path | None,
        typer.Option(
            "--environment",
            metavar="FILE.toml",
            help="In place of --rate: the bit-fault rate of a radiation environment (see ftonnx rate).",
        ),
    ] = None,
    faults_per_run: Annotated[
        int | None,
        typer.Option(
            "--faults-per-run",
            metavar="K",
            help="In place of rates: injections of K distinct random bits, each met by all images.",
        ),
    ] = None,
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="In place of rates: every bit in turn, one injection each.")
    ] = False,
    per_layer: Annotated[
        int | None,
        typer.Option("--per-layer", metavar="M", help="In place of rates: M single faults in every stored tensor."),
    ] = None,
    fault_list: Annotated[
        Path | None,
        typer.Option(
            "--fault-list",
            metavar="FILE.csv",
            help="In place of rates: the single faults of a file with the columns Injection,Layer,TensorIndex,Bit "
            "(bits of IEEE floats).",
        ),
    ] = None,
    fault_list_out: Annotated[
        Path | None,
        typer.Option(
            "--fault-list-out",
            metavar="FILE.csv",
            help="Write single faults in that form, with n_injections,masked,non_critical,critical behind.",
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
    bits: Bits = None,
    repeats: Annotated[
        int | None,
        typer.Option(
            "--repeats",
            metavar="N",
            help="Fault patterns per rate and batch; more narrow the intervals. With --faults-per-run the number "
            "of injections. With --precision or --budget the most there may be.  [default: 10; 1000 injections; 10000]",
        ),
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(
            "--precision",
            metavar="E",
            help="Leave a rate once the accuracy's interval is this narrow (half-width), such as 0.005.",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option("--budget", metavar="TIME|UNITS", help="Stop after 10min, 500units, or 10min,500units."),
    ] = None,
    target: TargetName = "test-set",
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
        typer.Option(
            "--threads",
            metavar="N",
            help="Threads per session.  [default: ONNX Runtime's choice; with --jobs a share of the cores]",
        ),
    ] = None,
    nan: Annotated[
        str,
        typer.Option(
            "--nan",
            metavar="RULE",
            help="An output with NaN or Inf counts as due (detected error), or as what argmax says of it, as in "
            "published fault lists.",
        ),
    ] = "due",
    jobs: JobCount = "1",
    cache_memory: CacheMemory = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            metavar="DIR",
            file_okay=False,
            help="Results folder; an unfinished campaign in it is continued.  [default: a temporary one]",
        ),
    ] = None,
    log: Annotated[
        str | None,
        typer.Option("--log", metavar="mlflow", help="Also log the finished campaign to MLflow, with its report."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE.html", help="Write a report too: one page that works offline."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate everything, print sizes and an estimated time, run nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Flip bits of a model's weights and biases, run it, and report its accuracy per fault rate.

    Every unit (one rate, one repeat, one batch) draws its own fault pattern; after it, the memory is restored.
    With --faults-per-run, --exhaustive, --per-layer or --fault-list, a pattern is an injection that all batches meet.
    """
    _check_output(fault_list_out, fault_list)
    if report is not None:
        check_target(report)
    _check_log(log)
    injections = exhaustive or any(each is not None for each in (faults_per_run, per_layer, fault_list))
    stopping = Stopping.of(precision, budget, parse_target(target))
    rates = _given_rates(rate, environment)
    loaded = open_model(model)
    settings = CampaignSettings(
        rates=rates if rates or injections else _default_rates(model),
        faults_per_run=faults_per_run,
        exhaustive=exhaustive,
        per_layer=per_layer,
        fault_list=None if fault_list is None else PublishedFaults.read(fault_list),
        repeats=choose_repeats(
            repeats,
            faults_per_run=faults_per_run,
            defined=injections and faults_per_run is None,
            most=None if stopping is None else MOST_ROUNDS,
        ),
        batch_size=choose_batch_size(loaded, batch_size),
        seed=seed,
        format=format,
        targets=split_names(targets),
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        bits=() if bits is None else parse_bits(bits),
        strategy=strategy,
        providers=split_names(providers),
        threads=threads,
        nan=nan,  # type: ignore[arg-type]  # checked by CampaignSettings
    )
    dataset = load_dataset(
        data or _default_data(model),
        split=split,
        limit=limit,
        preprocess=parse_preprocess(scale, mean, std, resize, crop, channels),
        model_metadata=loaded.metadata,
    )
    campaign = Campaign(
        loaded,
        dataset,
        settings,
        results=results,
        jobs=parse_jobs(jobs),
        cache_memory=None if cache_memory is None else parse_bytes("--cache-memory", cache_memory),
    )
    if fault_list_out is not None:
        check_publishable(loaded, campaign.space, settings)
    if dry_run:
        _print_forecast(loaded, campaign.forecast(), as_json=json)
        return
    with progress_bar(shown(f"{loaded.name} on {dataset.name}")) as progress:
        result = campaign.run(progress=progress, stopping=stopping, target=parse_target(target))
    if fault_list_out is not None:
        numbers = None if settings.fault_list is None else settings.fault_list.injection.tolist()
        write_file(published_outcomes(result.results, numbers).encode(), fault_list_out)
        note(f"fault list: {fault_list_out}")
    warn(result.warnings)
    if json:
        print_json(result.to_dict())
    else:
        _print_result(result)
    if log is not None:
        note(f"MLflow run: {log_result(result)}")
    note(f"results: {result.results}")
    if report is not None:
        from ftonnx.report import build  # loads the chart libraries

        note(f"report: {build([result]).save(report)}")


def _check_log(tool: str | None) -> None:
    if tool is None:
        return
    if tool != "mlflow":
        raise UsageError(f"--log: mlflow was expected, got {tool!r}")
    check_mlflow()


def _check_output(written: Path | None, read: Path | None) -> None:
    if written is None:
        return
    check_target(written)
    if read is not None and written.exists() and written.samefile(read):
        raise UsageError(f"{written} is the fault list itself, which is never written to; choose another name")


def _given_rates(rate: list[float] | None, environment: Path | None) -> tuple[float, ...]:
    if environment is None:
        return tuple(rate or ())
    if rate:
        raise UsageError("--environment gives the rate: no --rate was expected")
    place = Environment.from_toml(environment)
    note(f"{environment}: {place.rate:.4g} flips per bit")
    return (place.rate,)


def _default_rates(model: str) -> tuple[float, ...]:
    return _EMBEDDED_RATES if model == _EMBEDDED else PAPER_RATES


def _default_data(model: str) -> str:
    if model != _EMBEDDED:
        raise UsageError("--data SPEC is missing: digits, npz:PATH, folder:PATH, or PATH/file.py:function")
    return _EMBEDDED


def _print_forecast(model: OnnxModel, forecast: dict[str, Any], *, as_json: bool) -> None:
    warn(forecast["warnings"])
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
    injected = result.injections is not None
    rows = table(
        "injections" if injected else "rate", "faults (mean)", "top-1", "95 % interval", "SDC-1", "DUE", left=0
    )
    for rate in result.rates:
        rows.add_row(
            number(rate.units) if injected else f"{rate.rate:g}",
            number(rate.faults_mean),
            percent(rate.top1.mean),
            _interval(rate.top1, result.interval_needs),
            percent(rate.sdc1.mean),
            percent(rate.due.mean),
        )
    out.print(rows)
    if result.stopping is not None:
        patterns = ", ".join(f"{number(rate.units)} at {rate.rate:g}" for rate in result.rates)
        out.print(f"fault patterns: {patterns}; the intervals hold whenever a campaign is ended")
    print_injections(result)
    silent = [f"{rate.rate:g}" for rate in result.rates if rate.rate and rate.sdc1.mean == rate.due.mean == 0]
    if silent and not result.settings["exhaustive"]:
        note(f"no pattern changed an answer at {', '.join(silent)}: rarer harmful ones need more --repeats to show")


def _interval(estimate: Estimate, needs: str) -> str:
    if estimate.low is None or estimate.high is None:
        return needs
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
