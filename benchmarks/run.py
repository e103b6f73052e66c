"""Run all benchmarks, each in a process of its own, and write down what they found.

    python benchmarks/run.py [--quick] [--only NAME]... [--results DIR] [--no-readme]

Writes ``results/<date>.json`` (machine, versions, every line), ``results/<date>.svg`` and ``.png`` (each ratio with its
interval and its goal), and the tables of ``README.md``. A script that fails is reported and does not stop the others.
About an hour on two cores; ``--quick`` about 6, with numbers that are a first look only. Nothing else should run.
"""

import argparse
import datetime
import json
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from chart import save_charts
from table import write_tables

from ftonnx.campaign.bench import machine

HERE: Final = Path(__file__).parent
SCRIPTS: Final = (
    "throughput", "single_fault", "verdict", "workers", "cluster", "clipact", "peers", "memory", "startup", "sampling",
    "crelu", "images_per_pattern", "maps", "merging", "long_campaign", "activations",
)  # fmt: skip
QUICK: Final = {
    "throughput": ("--model", "resnet18", "--model", "digits"),
    "single_fault": ("--faults", "5"),
    "verdict": ("--cap", "5"),
    "workers": ("--models", "resnet18", "--units", "12"),
    "cluster": ("--units", "80"),
    "clipact": ("--activations", "5"),
    "merging": ("--shards", "100", "--units", "100000"),
    "long_campaign": ("--units", "20000"),
    "images_per_pattern": ("--case", "digits-fp32", "--patterns", "50"),
    "activations": ("--batch", "8"),
    "maps": ("--model", "cloud_net", "--images", "256"),
}
"""What is cut besides the rounds."""
PACKAGES: Final = ("ftonnx", "onnxruntime", "onnx", "numpy", "torch", "torchvision")


def main() -> int:
    """Run the scripts; return 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds, fewer networks")
    parser.add_argument("--only", action="append", choices=SCRIPTS, help="only this script (repeatable)")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder for JSON and charts")
    parser.add_argument("--no-readme", action="store_true", help="leave README.md alone")
    options = parser.parse_args()
    runs = [run(name, quick=options.quick) for name in options.only or SCRIPTS]
    today = datetime.date.today().isoformat()
    content = {
        "date": today,
        "quick": options.quick,
        "machine": machine(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "scripts": runs,
    }
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / f"{today}{'-quick' if options.quick else ''}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    save_charts(content, path.with_suffix(""))
    if not options.no_readme:
        write_tables(content, HERE / "README.md")
    failed = [each["name"] for each in runs if each["exit_code"]]
    print(f"{path}; failed: {', '.join(failed) or 'none'}", file=sys.stderr)
    return 1 if failed else 0


def run(name: str, *, quick: bool) -> dict[str, Any]:
    """Run one script, pass its lines on, and return them."""
    command = [sys.executable, str(HERE / f"{name}.py"), *(("--quick", *QUICK.get(name, ())) if quick else ())]
    print(f"{name} ...", file=sys.stderr)
    start, lines = time.monotonic(), []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for text in process.stdout or ():
            print(text, end="", flush=True)
            lines.append(json.loads(text))
    seconds = round(time.monotonic() - start, 1)
    return {"name": name, "exit_code": process.returncode, "seconds": seconds, "lines": lines}


if __name__ == "__main__":
    sys.exit(main())
