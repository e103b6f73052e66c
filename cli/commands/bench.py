"""``ftonnx bench``: what campaigns cost on this machine."""

from typing import Annotated, Final

import typer

from ftonnx.campaign.bench import bench as measure
from ftonnx.campaign.bench_result import BenchResult, Comparison
from ftonnx.cli.options import PROVIDERS, Json, UsualModelOptions
from ftonnx.cli.output import console, note, number, print_json, table, warn
from ftonnx.datasets import load_dataset
from ftonnx.words import printable

__all__ = ["bench"]

_PANEL: Final = "Running"

_SECONDS: Final = 20.0
_QUICK_SECONDS: Final = 5.0


def bench(
    network: UsualModelOptions,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="SPEC",
            rich_help_panel=_PANEL,
            help="Images, as for inject; random ones of the model's shape by default.",
        ),
    ] = None,
    rate: Annotated[
        float, typer.Option("--rate", metavar="R", rich_help_panel=_PANEL, help="Bit-fault rate, 0 to 1.")
    ] = 1e-6,
    providers: Annotated[tuple[str, ...], PROVIDERS] = ("cpu",),
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            rich_help_panel=_PANEL,
            help=f"Measure for about {_QUICK_SECONDS:g} s in place of {_SECONDS:g} s.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Measure a model on this machine: what faults cost, and the fastest --threads and --jobs."""
    model = network.open()
    images = None if data is None else load_dataset(data, model_metadata=model.metadata)
    seconds = _QUICK_SECONDS if quick else _SECONDS
    result = measure(
        model,
        images,
        rate=rate,
        providers=providers,
        seconds=seconds,
        step=lambda name: note(f"measuring {name} ..."),
    )
    warn(result.warnings)
    if json:
        print_json(result.to_dict())
    else:
        _print(result)


def _print(result: BenchResult) -> None:
    out, machine = console(), result.machine
    out.print(
        f"{printable(result.model['name'])} with {printable(result.data)}; {machine['cpu']}, {machine['cores']} cores, "
        f"ONNX Runtime {machine['onnxruntime']}"
    )
    out.print(
        f"N = {number(result.model['bits'])} bits can flip; {number(result.expected_faults)} faults per unit "
        f"at rate {result.rate:g}\n"
    )
    if result.one_image is not None:
        _print_comparison(result.one_image, result.threads)
        out.print()
    usual = Comparison(batch_size=result.batch_size, ordinary_ms=result.ordinary_ms, strategies=result.strategies)
    _print_comparison(usual, result.threads)
    out.print(f"Strategy {result.strategies[0].name} is in use; {printable(result.why)}\n")
    _print_configurations(result)


def _print_comparison(compared: Comparison, threads: int) -> None:
    out = console()
    images = "Single images" if compared.batch_size == 1 else f"Batches of {compared.batch_size} images"
    out.print(
        f"{images}, {threads} threads; a fault-free run of an ordinary session "
        f"takes {number(compared.ordinary_ms)} ms (= 1.00)"
    )
    rows = table("strategy", "fault-free run, ms", "unit, ms", "ratio", "")
    for each in compared.strategies:
        times = (number(each.fault_free_ms), number(each.faulty_ms), f"{each.ratio:.2f}")
        rows.add_row(each.name, *times, "chosen" if each.chosen else "")
    out.print(rows)


def _print_configurations(result: BenchResult) -> None:
    out, best = console(), result.best
    rows = table("--jobs", "--threads", "--images-per-pattern", "images/s", "units/hour", "", left=0)
    for each in result.configurations:
        sizes = (str(each.jobs), str(each.threads), str(each.batch_size))
        speed = (number(round(each.images_per_second)), number(round(each.units_per_hour)))
        rows.add_row(*sizes, *speed, "best" if each is best else "")
    out.print(rows)
    for left_out in result.left_out:
        out.print(f"not measured: {left_out}")
    out.print(
        f"Most images per second: --jobs {best.jobs} --threads {best.threads} --images-per-pattern {best.batch_size} "
        f"with {number(round(best.units_per_hour))} units per hour. A unit is one fault pattern and the images that "
        "meet it; fewer images per pattern say more for the same work: --images-per-pattern auto measures how many."
    )
