"""The tables of ``README.md``, made from what ``run.py`` wrote.

    python benchmarks/table.py results/<date>.json            # writes them
    python benchmarks/table.py results/<date>.json --short    # prints the first one

The first one says what a unit costs, the most usual case (int8, one image at a time) in its first lines.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

__all__ = ["tables", "write_tables"]

BEGIN: Final = "<!-- tables: written by run.py -->"
END: Final = "<!-- end of tables -->"
TITLES: Final = {
    "throughput": "throughput.py: a unit of `inject`, end to end, against fault-free inference",
    "single_fault": "single_fault.py: one random bit per run against a fault-free run",
    "verdict": "verdict.py: seconds until ±1 point, and until a gate's verdict, over those with 128 images per pattern",
    "workers": "workers.py: a campaign in two processes against one",
    "cluster": "cluster.py: a campaign on two Dask workers against two processes",
    "clipact": "clipact.py: the ClipAct search against full-network evaluations",
    "peers": "peers.py: our time over other tools' on ResNet-50",
    "memory": "memory.py: memory of `inject` above that of fault-free inference, over the size of the weights",
    "startup": "startup.py: `ftonnx inject --dry-run`",
    "sampling": "sampling.py: drawing and flipping alone",
    "crelu": "crelu.py: clipped activations against ReLU",
    "images_per_pattern": "images_per_pattern.py: variance of the mean x seconds, against 128 images per pattern",
    "maps": "maps.py: judging label maps over fault-free inference, and memory over the scores of all images",
    "merging": "merging.py: `ftonnx merge` of 1,000 shards with a million units",
    "activations": "activations.py: runs with faults in activations, and without, against the plain session",
    "long_campaign": "long_campaign.py: a million units, against the campaign's own beginning",
}
SHORT: Final = {
    "int8, batch 1": (
        "resnet18-int8-batch1-1e-06", "resnet50-int8-batch1-1e-06", "mobilenet_v2-int8-batch1-1e-06",
    ),
    "int8, larger batches": (
        "resnet18-int8-batch32-1e-06", "resnet50-int8-batch32-1e-06", "resnet18-int8-batch128-1e-06",
        "resnet50-int8-batch128-1e-06",
    ),
    "int8, single faults": ("resnet50-int8-single-fault-batch1", "resnet50-int8-single-fault-batch32"),
    "FP32, batch 1": ("resnet50-fp32-batch1-1e-06", "mobilenet_v2-fp32-batch1-1e-06"),
    "FP32, batch 32": ("resnet18-fp32-1e-06", "resnet50-fp32-1e-06", "mobilenet_v2-fp32-1e-06"),
    "FP32, single faults": ("resnet50-fp32-single-fault",),
    "fp16": ("resnet18-fp16-batch32-1e-06",),
    "int4": ("mlp-int4-batch32-1e-06",),
    "transformers": ("vit_b_16-fp32-batch4-1e-06", "vit_b_16-int8-batch4-1e-06", "swin_t-fp32-batch4-1e-06"),
}  # fmt: skip
"""Cases of the short table, the most usual first: a unit's time over that of a fault-free run."""
SHOWN: Final = ("case", "ratio", "low", "high", "goal", "n", "reference")


def main() -> None:
    """Write the tables from a results file, or print the short one."""
    results, *options = sys.argv[1:]
    content = json.loads(Path(results).read_text())
    if options == ["--short"]:
        print("\n".join(short_table(content)))
    else:
        write_tables(content, Path(__file__).with_name("README.md"))


def write_tables(content: Mapping[str, Any], readme: Path) -> None:
    """Replace what stands between the marks of ``readme``."""
    before, _, rest = readme.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(f"{before}{BEGIN}\n\n{tables(content)}\n{END}{after}")


def tables(content: Mapping[str, Any]) -> str:
    """Return all tables as Markdown, each goal with whether it is reached."""
    every = [line for script in content["scripts"] for line in _table(script)]
    return "\n".join([*_head(content), "### In short", "", *short_table(content), "", *every])


def short_table(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the table that says what a unit costs, the most usual case first."""
    found = {line["case"]: line for script in content["scripts"] for line in script["lines"]}
    yield "| a unit with faults over a fault-free run | network | ratio | goal |"
    yield "|---|---|---|---|"
    for words, cases in SHORT.items():
        for case in cases:
            if case in found:
                line = found[case]
                network = case.partition("-")[0]
                batch = line["batch"]
                yield f"| {words} | {network}, batch {batch} | **{_short(line['ratio'])}** | {_verdict(line)} |"


def _head(content: Mapping[str, Any]) -> Iterator[str]:
    machine = content["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    minutes = sum(script["seconds"] for script in content["scripts"]) / 60
    quick = " with `--quick`, so only a first look" if content["quick"] else ""
    yield f"Measured on {content['date']}{quick}: {machine['cpu']}, {machine['cores']} cores, {machine['platform']},"
    yield f"Python {machine['python']}, {versions}; {minutes:.0f} minutes."
    yield ""


def _table(script: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {TITLES[script['name']]}"
    yield ""
    if script["exit_code"]:
        yield f"The script ended with exit code {script['exit_code']}."
        yield ""
    if script["lines"]:
        yield "| " + " | ".join((*SHOWN, "more")) + " |"
        yield "|---" * (len(SHOWN) + 1) + "|"
        yield from (_row(line) for line in script["lines"])
        yield ""


def _row(line: Mapping[str, Any]) -> str:
    more = (f"{key} {_short(value)}" for key, value in line.items() if key not in SHOWN)
    ratio = _short(line["ratio"])
    cells = (line["case"], f"**{ratio}**", _short(line["low"]), _short(line["high"]), _verdict(line), line["n"])
    return f"| {' | '.join(map(str, cells))} | {line['reference']} | {', '.join(more)} |"


def _verdict(line: Mapping[str, Any]) -> str:
    goal = line.get("goal")
    if goal is None:
        return "-"
    reached = "reached" if line["ratio"] <= goal else "**missed**"
    return f"{_short(goal)} {reached}"


def _short(value: Any) -> str:
    """Return a value for a table.

    >>> _short(1.03), _short(0.66667), _short(24534.75), _short(True)
    ('1.03', '0.667', '24,535', 'True')
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


if __name__ == "__main__":
    main()
