"""The tables of docs/pretraining-study.md: pretraining, clipping and quantization under faults, on EuroSAT.

    python docs/pretraining_study.py EuroSAT/ --work study
    python docs/pretraining_study.py EuroSAT/ --work pilot --arch resnet18 --side 32 --epochs 8 --pretraining-epochs 8

A network is trained from scratch, and from each self-supervised backbone; each of these is clipped (ActMax, ClipAct)
and quantized (after training, and by quantization-aware training), and all meet the same fault rates on test images of
the AiTLAS split. Every step is a command of ftonnx, and one that is done is not done again: killed at any moment, the
same command goes on. Prints Markdown, and writes it with every figure into the --work folder. Needs
``ftonnx[ssl]``.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

RATES: Final = ("1e-8", "3e-8", "1e-7", "3e-7", "1e-6", "3e-6", "1e-5", "3e-5")
SCRATCH: Final = "none"
PRETRAININGS: Final = (SCRATCH, "simsiam", "ssql")
WITH_THREADS: Final = ("pretrain", "finetune", "qat", "inject")
VARIANTS: Final = ("float", "actmax", "clipact", "int8-ptq", "int8-qat")


def main() -> None:
    """Do every step that is not done yet, and print the tables."""
    options = parsed()
    options.work.mkdir(parents=True, exist_ok=True)
    campaigns = {
        pretraining: {variant: campaign(options, pretraining, variant) for variant in options.variants}
        for pretraining in options.pretrainings
    }
    text = tables(options, campaigns)
    (options.work / "study.json").write_text(json.dumps(campaigns, indent=1) + "\n")
    (options.work / "study.md").write_text(text)
    print(text, end="")


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("eurosat", type=Path, help="folder with 2750/ and the lists of the AiTLAS split")
    parser.add_argument("--work", type=Path, required=True, help="folder for networks, models and results")
    parser.add_argument("--arch", default="resnet50")
    parser.add_argument("--side", type=int, default=64, help="of the images in pixels; 64 is their own")
    parser.add_argument("--pretrainings", nargs="+", default=PRETRAININGS, help="none, and methods of ftonnx pretrain")
    parser.add_argument("--variants", nargs="+", default=VARIANTS, choices=VARIANTS)
    parser.add_argument("--pretraining-epochs", type=int, default=50)
    parser.add_argument("--pretraining-batch", type=int, default=128, help="images per step of pretraining")
    parser.add_argument("--pretraining-side", type=int, help="of the views in pixels; --side by default")
    parser.add_argument("--epochs", type=int, default=30, help="of fine-tuning")
    parser.add_argument("--qat-epochs", type=int, default=5)
    parser.add_argument("--clipact-images", type=int, default=540, help="validation images for the search")
    parser.add_argument("--clipact-iterations", type=int, default=4)
    parser.add_argument("--test-images", type=int, help="first test images; all 5,400 by default")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int, help="of every step")
    parser.add_argument("--autocast", default="auto", help="float type of pretraining and fine-tuning, see finetune")
    return parser.parse_args()


def run(options: argparse.Namespace, *arguments: object) -> str:
    """Run a command of ftonnx, and return what it prints."""
    words = [str(each) for each in arguments]
    if options.threads is not None and arguments[0] in WITH_THREADS:
        words += ["--threads", str(options.threads)]
    print("ftonnx", *words, file=sys.stderr, flush=True)
    ran = subprocess.run([sys.executable, "-m", "ftonnx", *words], check=True, stdout=subprocess.PIPE, text=True)
    return ran.stdout


def images(options: argparse.Namespace, side: int) -> tuple[object, ...]:
    """Return the options that say which images, for steps that train."""
    return ("--data", f"eurosat:{options.eurosat}", "--input-size", side)


def narrow(options: argparse.Namespace) -> tuple[object, ...]:
    """Return the options that say in which float type steps are; QAT keeps float32, which its rounding needs."""
    return ("--autocast", options.autocast)


def backbone(options: argparse.Namespace, method: str) -> Path:
    """Return the file of a self-supervised backbone."""
    path: Path = options.work / f"{method}-backbone.pth"
    if not path.exists():
        steps = ("--epochs", options.pretraining_epochs, "--batch-size", options.pretraining_batch)
        crops = images(options, options.pretraining_side or options.side)
        run(options, "pretrain", options.arch, *crops, "--method", method, *steps, *narrow(options), "-o", path)
    return path


def tuned(options: argparse.Namespace, pretraining: str) -> Path:
    """Return the file of a trained network."""
    path: Path = options.work / f"{pretraining}.pth"
    if not path.exists():
        start = () if pretraining == SCRATCH else ("--weights", backbone(options, pretraining))
        data = images(options, options.side)
        run(options, "finetune", options.arch, *data, *start, *narrow(options), "--epochs", options.epochs, "-o", path)
    return path


def model(options: argparse.Namespace, pretraining: str, variant: str) -> Path:
    """Return the ONNX file of a variant of a network."""
    path: Path = options.work / f"{pretraining}-{variant}.onnx"
    if path.exists():
        return path
    if variant == "float":
        run(options, "export", options.arch, "--weights", tuned(options, pretraining), "-o", path)
        return path
    plain = model(options, pretraining, "float")
    data = ("--data", f"eurosat:{options.eurosat}")
    if variant == "actmax":
        run(options, "protect", plain, "--method", "actmax", *data, "-o", path)
    elif variant == "clipact":
        few = ("--limit", options.clipact_images, "--stratified", "--iterations", options.clipact_iterations)
        search = ("--results", options.work / f"{pretraining}-clipact-search")
        run(options, "protect", plain, "--method", "clipact", *data, *few, *search, "-o", path)
    elif variant == "int8-ptq":
        run(options, "quantize", plain, *data, "-o", path)
    else:
        run(options, "qat", plain, *data, "--epochs", options.qat_epochs, "-o", path)
    return path


def campaign(options: argparse.Namespace, pretraining: str, variant: str) -> dict[str, Any]:
    """Return what ``ftonnx inject --json`` says of a variant; a campaign that is done says it again."""
    path = model(options, pretraining, variant)
    rates = [word for rate in RATES for word in ("--rate", rate)]
    few = () if options.test_images is None else ("--limit", options.test_images)
    data = ("--data", f"eurosat:{options.eurosat}", "--split", "test", *few)
    results = ("--results", options.work / f"{pretraining}-{variant}-results", "--repeats", options.repeats)
    said: dict[str, Any] = json.loads(run(options, "inject", path, *data, *rates, *results, "--json"))
    return said


def tables(options: argparse.Namespace, campaigns: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Return accuracy by variant and rate, one table per pretraining."""
    lines = []
    for pretraining, variants in campaigns.items():
        lines += [f"## {options.arch}, pretraining: {pretraining}", ""]
        lines += ["| variant | fault-free | " + " | ".join(RATES) + " |", "|---|---|" + "---|" * len(RATES)]
        for variant, said in variants.items():
            cells = [cell(rate["top1"]) for rate in said["rates"]]
            lines.append(f"| {variant} | {100 * said['golden']['top1']:.1f} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def cell(estimate: dict[str, float]) -> str:
    """Return per cent with the interval: ``82.1 (70.7-93.4)``."""
    mean, low, high = (100 * estimate[name] for name in ("mean", "low", "high"))
    return f"{mean:.1f} ({low:.1f}-{high:.1f})"


if __name__ == "__main__":
    main()
