"""The table of docs/clipping-study.md: what clipping and quantization do to accuracy under faults.

    python docs/clipping_study.py digits
    python docs/clipping_study.py resnet20-cifar --cifar10 ../shared/data/cifar10 --work /tmp/study

Six variants of one model (unprotected, ReLU6, ActMax, ClipAct, int8, ClipAct then int8) meet the same fault
rates. Thresholds and calibration come from training images, accuracy from test images. Prints Markdown.
The CIFAR-10 networks need the extra ``ftonnx[torch]``. A --work folder that is used again is continued.
"""

import argparse
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx

from ftonnx.campaign import CampaignResult, evaluate
from ftonnx.datasets import Dataset, load_dataset, stratified_subset
from ftonnx.inject import OnnxModel, load_model
from ftonnx.mitigate import ClipAct, ClipActSettings, protect
from ftonnx.quant import quantize
from ftonnx.stats import Estimate

RATES = {
    "digits": (1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4),
    "resnet20-cifar": (1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5),
    "resnet44-cifar": (1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5),
}
CALIBRATION_IMAGES = 512


def main() -> None:
    """Make the variants, run their campaigns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=sorted(RATES))
    parser.add_argument("--cifar10", type=Path, help="folder with train.npz, test.npz and the .pth files")
    parser.add_argument("--work", type=Path, help="folder for models and results; a temporary one by default")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--images", type=int, default=256, help="training images for the ClipAct search")
    parser.add_argument("--iterations", type=int, default=4, help="of the ClipAct search, per activation")
    parser.add_argument("--include-clean", type=float, default=0.0, help="weight of fault-free accuracy in ClipAct")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = options.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        model, train, test = load(options.model, options.cifar10)
        settings = ClipActSettings(
            iterations=options.iterations, include_clean=options.include_clean, rates=RATES[options.model][1:]
        )
        results = {}
        for name, proto in variants(model, train, options.images, settings, work):
            onnx.save(proto, work / f"{name}.onnx")
            results[name] = evaluate(
                load_model(work / f"{name}.onnx"),
                test,
                rates=RATES[options.model],
                repeats=options.repeats,
                images_per_pattern="paper",
                results=work / name,
            )
        print_table(results)


def load(name: str, cifar10: Path | None) -> tuple[OnnxModel, Dataset, Dataset]:
    """Return the FP32 model, training images, test images."""
    if name == "digits":
        model = load_model("digits")
        train, test = (load_dataset("digits", split=s, model_metadata=model.metadata) for s in ("train", "test"))
        return model, train, test
    import json

    from ftonnx.export import export_module  # torch is needed from here on
    from ftonnx.models import build, input_shape, preprocessing

    if cifar10 is None:
        raise SystemExit("--cifar10 FOLDER is missing")
    module = build(name, weights=cifar10 / f"{name.removesuffix('-cifar')}.pth")
    metadata = {"ftonnx.preprocess": json.dumps(preprocessing(name))}
    with warnings.catch_warnings(action="ignore"):
        proto = export_module(module, input_shape=input_shape(name), metadata=metadata)
    model = load_model(proto, name=name)
    train, test = (load_dataset(f"npz:{cifar10}", split=s, model_metadata=metadata) for s in ("train", "test"))
    return model, train, test


def variants(
    model: OnnxModel, train: Dataset, images: int, settings: ClipActSettings, work: Path
) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Yield (name, model) of the six variants."""

    def int8(proto: onnx.ModelProto) -> onnx.ModelProto:
        few = stratified_subset(train, CALIBRATION_IMAGES, seed=0)
        return quantize(proto, lambda: (batch for batch, _ in few.batches(128))).proto

    yield "unprotected", model.proto
    yield "ReLU6", protect(model, None, method="relu6").proto
    yield "ActMax", protect(model, train, method="actmax").proto
    few = stratified_subset(train, images, seed=0)
    clipact = protect(model, few, ClipAct(settings=settings), results=work / "search").proto
    yield "ClipAct", clipact
    yield "int8", int8(model.proto)
    yield "ClipAct + int8", int8(clipact)


def print_table(results: dict[str, CampaignResult]) -> None:
    """Print accuracy with intervals, one row per variant."""
    rates = [rate.rate for rate in next(iter(results.values())).rates]
    print("| variant | N (bits) | fault-free |", " | ".join(f"{rate:g}" for rate in rates), "|")
    print("|---|---|---|" + "---|" * len(rates))
    for name, result in results.items():
        cells = [cell(rate.top1) for rate in result.rates]
        print(f"| {name} | {result.fault_space.bits:,} | {100 * result.golden['top1']:.1f} |", " | ".join(cells), "|")


def cell(estimate: Estimate) -> str:
    """Return per cent with the interval: ``82.1 (70.7-93.4)``."""
    return f"{100 * estimate.mean:.1f} ({100 * (estimate.low or 0):.1f}-{100 * (estimate.high or 0):.1f})"


if __name__ == "__main__":
    main()
