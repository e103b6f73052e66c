"""``ftonnx results``: whether a results folder is still what was recorded."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from ftonnx.campaign import CheckedResults, check_results
from ftonnx.cli.options import Json
from ftonnx.cli.output import console, note, number, print_json, table
from ftonnx.cli.parsers import one_of
from ftonnx.words import printable

__all__ = ["results"]


def results(
    action: Annotated[
        str, typer.Argument(metavar="check", parser=one_of("check"), help="What is done; there is nothing else yet.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", file_okay=False, help="Results folder of ftonnx inject.")],
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            rich_help_panel="Repair",
            help="Drop what is damaged, so that the command that made the folder measures it again.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Check every recorded row of a results folder for damage, such as bits that flipped on its disk.

    Damaged rows are listed, and end the command with 4 where they are not dropped. All other commands refuse a folder
    that has any.
    """
    found = check_results(folder, repair=repair)
    if json:
        print_json(found.to_dict())
    else:
        _print(found)
    found.require_whole()
    note(f"results: {found.results}")


def _print(found: CheckedResults) -> None:
    out = console()
    rows = table("table", "good", "damaged", "recorded", left=1)
    for each in found.tables:
        recorded = "unknown" if each.recorded is None else number(each.recorded)
        rows.add_row(each.table, number(each.good), number(each.damaged), recorded)
    out.print(rows)
    for each in found.tables:
        for row in each.examples:
            out.print(f"damaged in {each.table}: {printable(_row_text(row.items()))}", soft_wrap=True)
    if found.repaired:
        out.print(
            f"\nwhat was damaged is dropped; {number(found.units)} units are left, and the others can be run again"
        )


def _row_text(values: Iterable[tuple[str, Any]]) -> str:
    return ", ".join(f"{name} {value.hex() if isinstance(value, bytes) else value}" for name, value in values)
