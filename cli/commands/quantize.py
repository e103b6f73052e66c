"""``ftonnx quantize``: an int8 model by static post-training quantization."""

import json as json_module
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from numpy.typing import NDArray

from ftonnx.campaign.cautions import near_chance
from ftonnx.campaign.evaluate import Progress, open_model
from ftonnx.campaign.golden import fault_free_accuracies
from ftonnx.cli.options import (
    Channels,
    Crop,
    Json,
    Limit,
    Mean,
    Model,
    Resize,
    Scale,
    Std,
    parse_preprocess,
    split_or,
)
from ftonnx.cli.output import console, note, number, percent, print_json, progress_bar, shown, table, warn
from ftonnx.datasets import Dataset, load_dataset
from ftonnx.errors import UsageError
from ftonnx.export import check_target, write_file, write_model
from ftonnx.inject import OnnxModel
from ftonnx.quant import CalibrationCache, QuantReport, QuantSettings
from ftonnx.quant import quantize as quantize_model
from ftonnx.quant.static import images_per_batch
from ftonnx.runtime import fixed_batch, require_no_random_node

__all__ = ["quantize"]

_DEFAULTS: Final = QuantSettings()
_WHEN: Final = ("before", "after")


def quantize(
    model: Model,
    data: Annotated[
        str,
        typer.Option(
            "--data", metavar="SPEC", help="Calibration data: digits, npz:PATH, folder:PATH, or PATH/file.py:function."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT.onnx", help="The quantized model.")],
    split: Annotated[
        str | None, typer.Option("--split", help="Split of the data.  [default: train, where the data has splits]")
    ] = None,
    limit: Limit = None,
    scale: Scale = None,
    mean: Mean = None,
    std: Std = None,
    resize: Resize = None,
    crop: Crop = None,
    channels: Channels = None,
    calibration: Annotated[
        str,
        typer.Option(
            "--calibration",
            metavar="METHOD",
            help="Ranges of activations: histogram (least squared error, as torch's HistogramObserver), "
            "minmax, entropy or percentile (ONNX Runtime's).",
        ),
    ] = _DEFAULTS.calibration,
    percentile: Annotated[
        float, typer.Option("--percentile", metavar="P", help="percentile: share of the values covered, in per cent.")
    ] = _DEFAULTS.percentile,
    per_tensor: Annotated[
        bool, typer.Option("--per-tensor", help="One scale per weight tensor, not one per output channel.")
    ] = False,
    quant_format: Annotated[
        str, typer.Option("--quant-format", metavar="FORMAT", help="qdq, or qoperator (QLinearConv and the like).")
    ] = _DEFAULTS.quant_format,
    activation_type: Annotated[
        str, typer.Option("--activation-type", metavar="TYPE", help="uint8 or int8.")
    ] = _DEFAULTS.activation_type,
    weight_type: Annotated[str, typer.Option("--weight-type", metavar="TYPE", help="int8.")] = _DEFAULTS.weight_type,
    exclude_nodes: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude-nodes", metavar="P", help="Nodes with matching names stay FP32 (shell style; repeatable)."
        ),
    ] = None,
    calibration_cache: Annotated[
        Path | None,
        typer.Option(
            "--calibration-cache",
            metavar="FILE",
            help="Read the ranges from here if they are there, for the same model, data and method; else write them.",
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.json", help="Keep everything that is known of the result.")
    ] = None,
    json: Json = False,
) -> None:
    """Quantize a model after training: weights int8, biases int32, activations 8 bits; CReLUs stay, in integers.

    Prints the size and the accuracy before and after, and the activation with the largest error.
    """
    settings = QuantSettings(
        calibration=calibration,
        percentile=percentile,
        per_channel=not per_tensor,
        quant_format=quant_format,
        activation_type=activation_type,
        weight_type=weight_type,
        exclude_nodes=tuple(exclude_nodes or ()),
    )
    loaded = open_model(model)
    require_no_random_node(loaded.proto)  # its accuracy before and after could not be compared
    _check_targets(loaded, [path for path in (output, report, calibration_cache) if path is not None])
    dataset = load_dataset(
        data,
        split=split_or("train", split, data),
        limit=limit,
        preprocess=parse_preprocess(scale, mean, std, resize, crop, channels),
        model_metadata=loaded.metadata,
    )
    cache = None if calibration_cache is None else CalibrationCache(path=calibration_cache, data=dataset.fingerprint)
    fixed = fixed_batch(loaded.proto)
    size = fixed or images_per_batch(dataset.sample_shape)
    with progress_bar(shown(f"calibrating {loaded.name}")) as progress:
        batches = _images(dataset, size, progress)
        quantized, found = quantize_model(loaded.proto, batches, settings, cache=cache)
    with progress_bar(shown(f"accuracy of {loaded.name}")) as progress:
        accuracies = fault_free_accuracies((loaded.proto, quantized), dataset, size, progress)
    warnings = _warnings(accuracies, dataset.classes)
    content = {
        "model": {"name": loaded.name, "path": None if loaded.path is None else str(loaded.path)},
        "output": str(output),
        "data": {"name": dataset.name, "split": dataset.split, "samples": len(dataset), "sha256": dataset.fingerprint},
        "accuracy": dict(zip(_WHEN, accuracies, strict=True)),
        "warnings": warnings,
        **found.to_dict(),
    }
    if report is not None:
        write_file(json_module.dumps(content, indent=1, allow_nan=False).encode(), report)
    write_model(quantized, output)
    warn(warnings)
    if json:
        print_json(content)
    else:
        _print(loaded, dataset, found, accuracies)
    note(f"quantized model: {output}")


def _check_targets(model: OnnxModel, targets: list[Path]) -> None:
    """Find out before the work whether every file can be written."""
    for path in targets:
        check_target(path)
        model.check_not_overwritten(path)
    if len({path.absolute() for path in targets}) < len(targets):
        raise UsageError("--output, --report and --calibration-cache were expected to be different files")


def _images(dataset: Dataset, size: int, progress: Progress) -> Iterator[NDArray[np.float32]]:
    done = 0
    for images, _ in dataset.batches(size):
        yield images
        done += len(images)
        progress(done, len(dataset))


def _warnings(accuracies: list[dict[str, float]], classes: int) -> list[str]:
    found = [
        near_chance(accuracy["top1"], classes, of=f" {when} quantization")
        for when, accuracy in zip(_WHEN, accuracies, strict=True)
    ]
    return [warning for warning in found if warning is not None]


def _print(model: OnnxModel, dataset: Dataset, report: QuantReport, accuracies: list[dict[str, float]]) -> None:
    out = console()
    settings = report.settings
    out.print(
        f"{shown(model.name)} to int8: {report.weights} weights, {report.biases} biases, "
        f"{len(report.activations)} activations ({settings.activation_type}, {settings.calibration}), "
        f"{sum(clipped.scale is not None for clipped in report.clipped)} integer CReLUs"
    )
    out.print(f"calibrated on {shown(dataset.name)}, {number(len(dataset))} images\n")
    rows = table("", "before", "after")
    rows.add_row("size, bytes", number(report.size_before), number(report.size_after))
    for key, name in (("top1", "top-1"), ("top5", "top-5")):
        rows.add_row(name, *(percent(accuracy[key]) for accuracy in accuracies))
    out.print(rows)
    if report.worst is not None:
        where = f"{shown(report.worst.tensor)} ({shown(report.worst.op_type) or 'input'})"
        out.print(f"\nlargest error: {report.worst.snr_db:.1f} dB signal to noise, in {where}")
