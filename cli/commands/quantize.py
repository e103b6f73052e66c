"""``ftonnx quantize``: an int8 model by static post-training quantization."""

import json as json_module
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final

import typer

from ftonnx.cli.data_options import CalibrationDataOptions
from ftonnx.cli.flags import with_flags
from ftonnx.cli.judged_images import JudgedImages, accuracy_rows
from ftonnx.cli.options import OUTPUT, Json, JudgingOptions, ModelOptions
from ftonnx.cli.output import console, note, number, print_json, progress_bar, table, warn
from ftonnx.datasets import Dataset
from ftonnx.files import check_target, write_file
from ftonnx.inject import OnnxModel
from ftonnx.mitigate import AccuracyChange
from ftonnx.mitigate import quantize as quantize_model
from ftonnx.quant import QuantReport, QuantSettings
from ftonnx.runtime import require_no_random_node
from ftonnx.words import printable

__all__ = ["quantize"]

_DEFAULTS: Final = QuantSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class _QuantOptions:
    """How to quantize."""

    PANEL: ClassVar[str] = "Quantization"

    calibration: Annotated[
        str,
        typer.Option(
            "--calibration",
            metavar="METHOD",
            help="Ranges of activations: histogram (least squared error, as torch's HistogramObserver), "
            "minmax, entropy or percentile (ONNX Runtime's).",
        ),
    ] = _DEFAULTS.calibration
    percentile: Annotated[
        float, typer.Option("--percentile", metavar="P", help="percentile: share of the values covered, in per cent.")
    ] = _DEFAULTS.percentile
    per_tensor: Annotated[
        bool, typer.Option("--per-tensor", help="One scale per weight tensor, not one per output channel.")
    ] = False
    quant_format: Annotated[
        str, typer.Option("--quant-format", metavar="FORMAT", help="qdq, or qoperator (QLinearConv and the like).")
    ] = _DEFAULTS.quant_format
    activation_type: Annotated[str, typer.Option("--activation-type", metavar="TYPE", help="uint8 or int8.")] = (
        _DEFAULTS.activation_type
    )
    weight_type: Annotated[str, typer.Option("--weight-type", metavar="TYPE", help="int8.")] = _DEFAULTS.weight_type
    exclude_nodes: Annotated[
        tuple[str, ...],
        typer.Option(
            "--exclude-nodes", metavar="P", help="Nodes with matching names stay FP32 (shell style; repeatable)."
        ),
    ] = ()

    def settings(self) -> QuantSettings:
        """Return the library's settings.

        Raises:
            UsageError: a value makes no sense.
        """
        return QuantSettings(
            calibration=self.calibration,
            percentile=self.percentile,
            per_channel=not self.per_tensor,
            quant_format=self.quant_format,
            activation_type=self.activation_type,
            weight_type=self.weight_type,
            exclude_nodes=self.exclude_nodes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _FileOptions:
    """What is written."""

    PANEL: ClassVar[str] = OUTPUT

    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT.onnx", help="The quantized model.")]
    calibration_cache: Annotated[
        Path | None,
        typer.Option(
            "--calibration-cache",
            metavar="FILE",
            help="Read the ranges from here if they are there, for the same model, data and method; else write them.",
        ),
    ] = None
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE.json",
            help="Keep everything that is known of the result.",
        ),
    ] = None
    json: Json = False

    def check(self, model: OnnxModel) -> None:
        """Find out before the work whether every file can be written.

        Raises:
            UsageError: one cannot.
        """
        for path in (self.output, self.report, self.calibration_cache):
            if path is not None:
                check_target(path)
                model.check_not_overwritten(path)


def quantize(
    network: ModelOptions,
    images: CalibrationDataOptions,
    quantization: _QuantOptions,
    judged: JudgingOptions,
    files: _FileOptions,
) -> None:
    """Quantize a model after training: weights int8, biases int32, activations 8 bits; CReLUs stay, in integers.

    Prints the size and the accuracy before and after, on images that were not used where there is another split, and
    the activation with the largest error. A model that is no classifier has no accuracy, and is quantized all the same.
    """
    settings = quantization.settings()
    model = network.open()
    require_no_random_node(model.proto)  # its accuracy before and after could not be compared
    files.check(model)
    dataset = images.open(model)
    cache = files.calibration_cache
    with progress_bar(printable(f"calibrating {model.name}")) as progress:
        quantized = quantize_model(model, dataset, settings, calibration_cache=cache, progress=progress)
    seen = JudgedImages.of(images, dataset, model)
    with progress_bar(printable(f"accuracy of {model.name}")) as progress:
        accuracy = quantized.accuracy(seen.data, task=judged.task, output=judged.model_output, progress=progress)
    known = quantized.to_dict(accuracy)
    known["accuracy"]["data"] = seen.to_dict()
    facts = {"model": known.pop("model"), "output": str(files.output), **known}
    if files.report is not None:
        write_file(json_module.dumps(facts, indent=1, allow_nan=False).encode(), files.report)
    quantized.save(files.output)
    warn(accuracy.warnings)
    if accuracy.note is not None:
        note(f"no accuracy was measured: {with_flags(accuracy.note, 'quantize')}")
    if files.json:
        print_json(facts)
    else:
        _print(model, dataset, quantized.report, accuracy)
        if accuracy.before is not None:
            console().print(f"\naccuracy on {seen.text}", soft_wrap=True)
    note(f"quantized model: {files.output}")


def _print(model: OnnxModel, dataset: Dataset, report: QuantReport, accuracy: AccuracyChange) -> None:
    out = console()
    settings = report.settings
    how = f"{settings.activation_type}, {settings.calibration}"
    in_integers = [clipped for clipped in report.clipped if clipped.scale is not None]
    parts = [
        f"{report.weights} weights",
        f"{report.biases} biases",
        f"{len(report.activations)} activations ({how})",
        f"{len(in_integers)} integer CReLUs",
    ]
    out.print(f"{printable(model.name)} to int8: {', '.join(parts)}")
    images = number(len(dataset))
    out.print(f"calibrated on {printable(dataset.name)}, {images} images\n")
    rows = table("", "before", "after")
    rows.add_row("size, bytes", number(report.size_before), number(report.size_after))
    for row in accuracy_rows(accuracy):
        rows.add_row(*row)
    out.print(rows)
    worst = report.worst
    if worst is not None:
        operator = printable(worst.op_type) or "input"
        out.print(f"\nlargest error: {worst.snr_db:.1f} dB signal to noise, in {printable(worst.tensor)} ({operator})")
