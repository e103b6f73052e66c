"""Which commands are run: all that write anything, small, and some that only read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["CASES", "Case"]

_RATES: Final = ("--rate", "1e-6", "--rate", "1e-5")
_CAMPAIGN: Final = ("--data", "digits", "--limit", "64", *_RATES, "--images-per-pattern", "4", "--threads", "1")
_SMALL: Final = ("--batch-size", "16", "--no-flips", "--device", "cpu", "--threads", "1")
_SHAPE: Final = ("--classes", "3", "--input-shape", "3,8,8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A command, run in a folder of its own.

    Attributes:
        name: of it.
        arguments: given the folder of its inputs.
        files: patterns of those that it writes; equal runs write equal bytes.
        so_far: patterns of those among them that tell what was done, also by a run that could not do all.
        timed: patterns of those that it writes with times or folders in them.
        read_back: patterns of those of them that the next run goes on from.
        results: the results folder that it fills, or one with such folders in it, if any.
        temporary: the results folder is one for temporary files.
    """

    name: str
    arguments: Callable[[Path], tuple[str, ...]]
    files: tuple[str, ...] = ()
    so_far: tuple[str, ...] = ()
    timed: tuple[str, ...] = ()
    read_back: tuple[str, ...] = ()
    results: str | None = None
    temporary: bool = False


def _inject(*more: str) -> Callable[[Path], tuple[str, ...]]:
    return lambda inputs: ("inject", "digits", *_CAMPAIGN, "--repeats", "30", *more)


CASES: Final = {
    case.name: case
    for case in (
        Case(name="inject", arguments=_inject("--results", "r", "--report", "r.html"), timed=("r.html",), results="r"),
        Case(name="inject-jobs", arguments=_inject("--results", "r", "--jobs", "2"), results="r"),
        Case(name="inject-auto", arguments=_inject("--results", "r", "--jobs", "auto"), results="r"),
        Case(name="inject-dask", arguments=_inject("--results", "r", "--jobs", "2", "--engine", "dask"), results="r"),
        Case(name="inject-rebuild", arguments=_inject("--results", "r", "--strategy", "rebuild"), results="r"),
        Case(name="inject-temporary", arguments=_inject(), temporary=True),
        Case(name="inject-untrusted", arguments=_inject("--results", "r", "--untrusted"), results="r"),
        Case(
            name="inject-faults",
            arguments=lambda inputs: (
                "inject",
                "digits",
                "--data",
                "digits",
                "--limit",
                "32",
                "--threads",
                "1",
                "--faults-per-run",
                "1",
                "--format",
                "ieee",
                "--roles",
                "weight",
                "--repeats",
                "50",
                "--results",
                "r",
                "--fault-list-out",
                "f.csv",
                "--save-config",
                "c.toml",
            ),
            files=("f.csv", "c.toml"),
            results="r",
        ),
        Case(
            name="gate",
            arguments=lambda inputs: (
                "gate",
                "digits",
                "--data",
                "digits",
                "--limit",
                "64",
                "--min-accuracy",
                "1e-7:0.5",
                "--format",
                "q15.16",
                "--budget",
                "2000units",
                "--threads",
                "1",
                "--results",
                "r",
                "--junit",
                "g.xml",
                "--markdown",
                "g.md",
            ),
            timed=("g.xml", "g.md"),
            results="r",
        ),
        Case(
            name="merge",
            arguments=lambda inputs: ("merge", f"{inputs}/part1", f"{inputs}/part2", "-o", "r"),
            results="r",
        ),
        Case(
            name="merge-seeds",
            arguments=lambda inputs: ("merge", "--pool-seeds", f"{inputs}/whole", f"{inputs}/other", "-o", "r"),
            results="r",
        ),
        Case(
            name="report",
            arguments=lambda inputs: (
                "report",
                f"{inputs}/whole",
                "-o",
                "r.html",
                "--tables",
                "tables",
                "--charts",
                "charts",
            ),
            files=("r.html", "tables/*", "charts/*.png", "charts/*.svg"),
            timed=("charts/*.pdf",),
        ),
        Case(
            name="export",
            arguments=lambda inputs: ("export", f"{inputs}/nets.py:small", *_SHAPE, "-o", "m.onnx"),
            files=("m.onnx",),
        ),
        Case(
            name="quantize",
            arguments=lambda inputs: ("quantize", "digits", "--data", "digits", "-o", "q.onnx"),
            files=("q.onnx",),
        ),
        Case(
            name="quantize-entropy",
            arguments=lambda inputs: (
                "quantize",
                "digits",
                "--data",
                "digits",
                "--calibration",
                "entropy",
                "-o",
                "q.onnx",
                "--calibration-cache",
                "ranges.json",
                "--report",
                "q.json",
            ),
            files=("q.onnx", "ranges.json"),
            timed=("q.json",),  # it says whether the ranges were read
            read_back=("ranges.json",),
        ),
        Case(
            name="protect",
            arguments=lambda inputs: (
                "protect",
                "digits",
                "--method",
                "actmax",
                "--data",
                "digits",
                "-o",
                "p.onnx",
                "--save-thresholds",
                "t.json",
            ),
            files=("p.onnx", "t.json"),
        ),
        Case(
            name="protect-clipact",
            arguments=lambda inputs: (
                "protect",
                "digits",
                "--method",
                "clipact",
                "--data",
                "digits",
                "--limit",
                "64",
                "-o",
                "p.onnx",
                "--results",
                "search",
            ),
            files=("p.onnx",),
            timed=("search/search.jsonl",),
            read_back=("search/search.jsonl",),
        ),
        Case(
            name="pretrain",
            arguments=lambda inputs: (
                "pretrain",
                f"{inputs}/nets.py:small",
                "--method",
                "simsiam",
                "--data",
                f"npz:{inputs}",
                "-o",
                "p.pth",
                *_SMALL,
                "--epochs",
                "3",
                "--chart",
                "p.svg",
            ),
            files=("p.pth",),
            timed=("p.jsonl", "p.svg"),
            read_back=("p.jsonl",),
        ),
        Case(
            name="finetune",
            arguments=lambda inputs: (
                "finetune",
                f"{inputs}/nets.py:small",
                "--data",
                f"npz:{inputs}",
                "-o",
                "f.pth",
                *_SMALL,
                "--epochs",
                "2",
            ),
            files=("f.pth",),
            timed=("f.jsonl",),
            read_back=("f.jsonl",),
        ),
        Case(
            name="finetune-qat",
            arguments=lambda inputs: (
                "finetune",
                f"{inputs}/nets.py:small",
                "--data",
                f"npz:{inputs}",
                "--qat",
                "-o",
                "q.onnx",
                *_SMALL,
                "--epochs",
                "2",
                "--qat-epochs",
                "2",
                "--calibration-images",
                "32",
            ),
            files=("q.onnx", "*.pth"),
            timed=("*.jsonl",),
            read_back=("*.jsonl",),
        ),
        Case(
            name="qat",
            arguments=lambda inputs: (
                "qat",
                f"{inputs}/small.onnx",
                "--data",
                f"npz:{inputs}",
                "-o",
                "q.onnx",
                *_SMALL,
                "--epochs",
                "2",
                "--calibration-images",
                "32",
            ),
            files=("q.onnx",),
            timed=("q.jsonl",),
            read_back=("q.jsonl",),
        ),
        Case(
            name="study",
            arguments=lambda inputs: ("study", f"{inputs}/study.toml", "-o", "s"),
            files=("s/models/*/*.onnx", "s/tables.*", "s/differences.*"),
            so_far=("s/tables.*", "s/differences.*"),
            timed=("s/models/*/*.json", "s/report.html", "s/reports/*", "s/charts/*"),
            read_back=("s/models/*/*",),
            results="s",
        ),
        Case(
            name="repair",
            arguments=lambda inputs: ("results", "check", "r", "--repair"),
            results="r",
        ),
        Case(
            name="activations",
            arguments=lambda inputs: ("activations", "digits", "--data", "digits", "--limit", "64", "--json"),
        ),
        Case(name="bench", arguments=lambda inputs: ("bench", "digits", "--quick")),
        Case(name="compare", arguments=lambda inputs: ("compare", f"{inputs}/whole", f"{inputs}/other")),
        Case(
            name="faults",
            arguments=lambda inputs: (
                "faults",
                f"{inputs}/whole",
                "--rate",
                "1e-5",
                "--repeat",
                "0",
                "--batch",
                "0",
                "--save-model",
                "m.onnx",
            ),
            files=("m.onnx",),
        ),
        Case(name="inspect", arguments=lambda inputs: ("inspect", "digits")),
        Case(name="data", arguments=lambda inputs: ("data", "digits")),
        Case(name="plan", arguments=lambda inputs: ("plan", "digits")),
        Case(name="rate", arguments=lambda inputs: ("rate", "digits", "--upsets-per-bit-day", "1e-7", "--scrub", "1h")),
        Case(
            name="fit",
            arguments=lambda inputs: (
                "fit",
                f"{inputs}/whole",
                "--upsets-per-bit-day",
                "1e-7",
                "--scrub",
                "1h",
                "--inferences-per-hour",
                "60",
            ),
        ),
    )
}
"""By name."""
