"""``ftonnx merge``: the results of one campaign's parts, or of several seeds, in one folder."""

from pathlib import Path
from typing import Annotated, Final

import typer

from ftonnx.campaign import Merged
from ftonnx.campaign import merge as merge_results
from ftonnx.cli.options import OUTPUT, Json
from ftonnx.cli.output import console, note, number, print_json, table, warn
from ftonnx.words import printable

__all__ = ["merge"]

_PANEL: Final = "Merging"


def merge(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS", help="Results folders of ftonnx inject, such as those of its shards."),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            file_okay=False,
            rich_help_panel=OUTPUT,
            help="The folder that gets all of their units.",
        ),
    ],
    partial: Annotated[
        bool,
        typer.Option(
            "--partial", rich_help_panel=_PANEL, help="Accept that units are missing, as long as shards are at work."
        ),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", rich_help_panel=_PANEL, help="Accept no part that computes anything else without faults."
        ),
    ] = False,
    pool_seeds: Annotated[
        bool,
        typer.Option(
            "--pool-seeds",
            rich_help_panel=_PANEL,
            help="Put campaigns that differ in --seed, and perhaps --repeats, together as one with all patterns.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Put results folders together, of one campaign's parts or of several seeds; all of them or none.

    What two folders share must be equal. Parts that are at work give what they have so far; the same command may be
    repeated. ftonnx report and compare take the folder as one that a single machine has filled.
    """
    found = merge_results(results, output, partial=partial, strict=strict, pool_seeds=pool_seeds)
    warn(found.warnings)
    if json:
        print_json(found.to_dict())
    else:
        _print(found)
    note(f"results: {found.results}")


def _print(found: Merged) -> None:
    out = console()
    missing = sum(found.missing.values())
    behind = f", {number(missing)} of {number(found.units + missing)} are missing" if missing else ""
    pooled = found.header.identity.pooled
    of_seeds = "" if pooled is None else f", of {pooled}"
    out.print(f"{number(found.units)} units of {printable(found.header.model.name)}{of_seeds}{behind}")
    machines: dict[str, list[int]] = {}
    for part in found.parts:
        machines.setdefault(part.place, []).append(part.units)
    rows = table("machine", "parts", "units", left=1)
    for place, units in machines.items():
        rows.add_row(printable(place), number(len(units)), number(sum(units)))
    out.print(rows)
