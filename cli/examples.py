"""A few command lines for each command, with which its help text ends."""

from collections.abc import Mapping
from typing import Final

__all__ = ["EXAMPLES", "epilog_of"]

EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "ftonnx": (
        "ftonnx inject --rate 1e-6 --rate 1e-5",
        "ftonnx inject model.onnx --data npz:test.npz --results run1",
        "ftonnx report run1 -o report.html",
    ),
    "inject": (
        "ftonnx inject --rate 1e-6 --rate 1e-5",
        "ftonnx inject model.onnx --data npz:test.npz --rate 1e-6 --results run1",
        "ftonnx inject model.onnx --data folder:images/ --faults-per-run 1",
    ),
    "check": ("ftonnx check digits --data digits", "ftonnx check model.onnx --data folder:images/ --split test"),
    "inspect": ("ftonnx inspect digits", "ftonnx inspect model.onnx --format ieee"),
    "faults": (
        "ftonnx faults run1 --rate 1e-6 --repeat 3 --batch 0",
        "ftonnx faults run1 --rate 1e-6 --repeat 3 --save-model faulty.onnx",
        "ftonnx faults histories --over 1d --repeat 3",
    ),
    "doctor": ("ftonnx doctor", "ftonnx doctor --json > doctor.json"),
    "data": (
        "ftonnx data digits",
        "ftonnx data folder:images/ --split test --read",
        "ftonnx data npz:test.npz --model model.onnx",
    ),
    "export": (
        "ftonnx export digits -o digits.onnx",
        "ftonnx export resnet50 --weights tuned.pth --classes 10 -o model.onnx",
        "ftonnx export nets.py:make_net --input-shape 3,64,64 -o model.onnx",
    ),
    "pretrain": ("ftonnx pretrain resnet18 --method simsiam --data eurosat:EuroSAT/ \\\n    -o backbone.pth",),
    "finetune": (
        "ftonnx finetune resnet18 --data eurosat:EuroSAT/ -o tuned.pth",
        "ftonnx finetune resnet18 --weights backbone.pth --data folder:images/ \\\n    --qat -o int8.onnx",
    ),
    "protect": (
        "ftonnx protect model.onnx --method relu6 -o clipped.onnx",
        "ftonnx protect model.onnx --method actmax --data folder:images/ \\\n"
        "    -o clipped.onnx --save-thresholds thresholds.json",
    ),
    "quantize": ("ftonnx quantize clipped.onnx --data folder:images/ -o int8.onnx",),
    "qat": ("ftonnx qat clipped.onnx --data eurosat:EuroSAT/ -o int8.onnx",),
    "activations": (
        "ftonnx activations model.onnx --data npz:test.npz --faults 1e-6",
        "ftonnx activations model.onnx --data npz:test.npz --json > found.json",
    ),
    "plan": (
        "ftonnx plan model.onnx --margin 0.01 --confidence 0.99 --per-layer",
        "ftonnx plan --population 1790784 --claim 1e-3",
    ),
    "rate": (
        "ftonnx rate --upsets-per-bit-day 1e-7 --scrub 90min",
        "ftonnx rate model.onnx --fit-per-mbit 700 --exposure 24h",
    ),
    "fit": (
        "ftonnx fit run1 --fit-per-mbit 700 --budget-fit 10",
        "ftonnx fit --sdc 0.02 --memory-bits 1790784 --fit-per-mbit 700",
    ),
    "bench": ("ftonnx bench --quick", "ftonnx bench model.onnx --data npz:test.npz"),
    "gate": (
        "ftonnx gate digits --data digits --format q15.16 --min-accuracy 1e-7:0.90",
        "ftonnx gate int8.onnx --data npz:test.npz --max-sdc 1e-6:0.01 \\\n    --budget 10min --junit gate.xml",
    ),
    "advise": (
        "ftonnx advise digits --data digits --goal 1e-6:0.95 -o plan.toml",
        "ftonnx advise model.onnx --data npz:test.npz --goal 1e-6:0.90 \\\n    --guards parity,secded --chart cost.png",
    ),
    "study": (
        "ftonnx study --example > study.toml",
        "ftonnx study study.toml -o results --dry-run",
        "ftonnx study paper/table3 --scale small -o table3",
    ),
    "merge": (
        "ftonnx merge parts/0 parts/1 -o run1",
        "ftonnx merge seed0 seed1 --pool-seeds -o both",
    ),
    "results": ("ftonnx results check run1", "ftonnx results check run1 --repair"),
    "compare": (
        "ftonnx compare plain clipped int8",
        "ftonnx compare plain clipped --question new-images --json",
    ),
    "report": (
        "ftonnx report run1 -o report.html",
        "ftonnx report plain clipped --charts charts/ --tables tables/",
    ),
}
"""By command, and of ``ftonnx`` itself; no line is so long that a terminal of 80 columns breaks it."""


def epilog_of(command: str) -> str:
    r"""Return what stands below a command's options.

    >>> epilog_of("bench").split("\n\n")
    ['Examples:', 'ftonnx bench --quick', 'ftonnx bench model.onnx --data npz:test.npz']
    """
    return "\n\n".join(["Examples:", *EXAMPLES[command]])
