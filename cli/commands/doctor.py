"""``ftonnx doctor``: does this installation work?"""

from typing import Any

from ftonnx.campaign.doctor.installation import installation
from ftonnx.campaign.doctor.self_test import Check, self_test
from ftonnx.cli.options import Json
from ftonnx.cli.output import console, print_json, table
from ftonnx.errors import FtonnxError
from ftonnx.words import printable

__all__ = ["doctor"]


def doctor(json: Json = False) -> None:
    """Say what this installation is made of, and test in seconds what everything rests on.

    Exits with 70 where the test fails: attach what --json prints to the bug report.
    """
    facts = installation()
    checks = self_test()
    if json:
        print_json(facts | {"schema_version": 1, "checks": [each.to_dict() for each in checks]})
    else:
        _print(facts, checks)
    failed = [each.name for each in checks if not each.passed]
    if failed:
        raise FtonnxError(f"the self-test failed ({'; '.join(failed)}): please report it with ftonnx doctor --json")


def _print(facts: dict[str, Any], checks: tuple[Check, ...]) -> None:
    out = console()
    for name, value in _lines(facts):
        out.print(f"{name}: {printable(value)}", soft_wrap=True)
    rows = table("self-test", "", "found", "ms", left=3)
    for each in checks:
        rows.add_row(each.name, "ok" if each.passed else "FAILED", printable(each.found), f"{1e3 * each.seconds:.0f}")
    out.print()
    out.print(rows)


def _lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return names and values of what there is to say about an installation."""
    versions = facts["versions"]
    present = [f"{name} {version}" for name, version in versions.items() if version is not None]
    absent = [name for name, version in versions.items() if version is None]
    processor = facts["processor"]
    exact = "int8 products saturate in 16 bits" if processor["saturates"] else "int8 products are exact"
    units = ", ".join(processor["units"]) or "no vector units that are known"
    cache = facts["cache"]
    temporary = facts["temporary"]
    left = f"{temporary['left']} files and folders of ftonnx in it, {_size(temporary['bytes'])}"
    working = facts["working_folder"]
    return [
        ("versions", ", ".join(present)),
        ("not installed", ", ".join(absent) or "nothing that is optional"),
        ("Python", f"{facts['python']} on {facts['platform']}"),
        ("execution providers", ", ".join(facts["providers"])),
        ("processor", f"{processor['name']}, {processor['cores']} cores; {units}; {exact}"),
        ("free memory", _size(facts["free_memory"])),
        ("cache", "off" if cache is None else f"{cache['path']}, {_size(cache['bytes'])}"),
        ("temporary files", f"{temporary['path']}, {_size(temporary['free'])} free; {left}"),
        ("working folder", f"{working['path']}, {_size(working['free'])} free"),
    ]


def _size(count: int) -> str:
    """Return bytes for people.

    >>> _size(0), _size(5 * 2**20), _size(3 * 2**30)
    ('0.0 MiB', '5.0 MiB', '3.0 GiB')
    """
    if count >= 2**30:
        return f"{count / 2**30:.1f} GiB"
    return f"{count / 2**20:.1f} MiB"
