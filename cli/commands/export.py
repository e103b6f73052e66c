"""``ftonnx export``: from a torch architecture or module to an ONNX file."""

import json as json_text
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ftonnx.cli.options import Json, split_names
from ftonnx.cli.output import console, note, number, print_json
from ftonnx.errors import ModelError, UsageError
from ftonnx.export import check_parity, check_target, export_module, with_activation, write_model
from ftonnx.models import architectures, build, input_shape, preprocessing

__all__ = ["export"]

_ACTIVATIONS = ("relu", "relu6", "crelu")


def export(
    arch: Annotated[
        str,
        typer.Argument(
            metavar="ARCH",
            help="Architecture: resnet50, vgg13_bn, resnet18-cifar, resnet20-cifar, digits, any other classification "
            "model of torchvision, or PATH/file.py:factory, which runs that file.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT.onnx", help="File to write.")],
    weights: Annotated[
        list[Path] | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="Checkpoint: .pth, .pt, .pth.tar or .safetensors. Repeat it for files that complete each other, "
            "such as a backbone and its linear head. Default: random weights; for digits the trained ones.",
        ),
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option("--classes", metavar="K", help="Size of the classifier. Default: the architecture's own."),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option("--input-shape", metavar="C,H,W", help="Shape of one input. Default: the architecture's own."),
    ] = None,
    activation: Annotated[
        str, typer.Option("--activation", metavar="NAME", help="relu (as it is), relu6, or crelu (threshold +Inf).")
    ] = "relu",
    opset: Annotated[
        int, typer.Option("--opset", metavar="N", help="Version of ONNX's operator set, 18 or newer.")
    ] = 20,
    input_name: Annotated[
        str, typer.Option("--input-name", metavar="NAME", help="Name of the graph's input.")
    ] = "input",
    keep_batchnorm: Annotated[
        bool,
        typer.Option(
            "--keep-batchnorm",
            help="Leave BatchNormalization as it is, so that all weights keep torch's names and values, as published "
            "fault lists need.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Export a torch network to ONNX, and check that it computes the same.

    The file has a dynamic batch, BatchNorm folded in unless kept, and its preprocessing in the metadata.
    """
    with redirect_stdout(sys.stderr):  # a user's own code may print
        facts = _exported(
            arch,
            output,
            _Request(
                weights=tuple(weights or ()),
                classes=classes,
                shape=None if shape is None else _shape(shape),
                activation=activation,
                opset=opset,
                input_name=input_name,
                keep_batchnorm=keep_batchnorm,
            ),
        )
    if json:
        print_json(facts)
    else:
        _print(facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """The options of the command."""

    weights: tuple[Path, ...]
    classes: int | None
    shape: tuple[int, ...] | None
    activation: str
    opset: int
    input_name: str
    keep_batchnorm: bool

    def __post_init__(self) -> None:
        if self.activation not in _ACTIVATIONS:
            raise UsageError(f"--activation: expected one of {', '.join(_ACTIVATIONS)}, got {self.activation!r}")


def _exported(arch: str, output: Path, request: _Request) -> dict[str, Any]:
    """Build, export, check and write; return what there is to say about the file."""
    check_target(output)
    if any(output.exists() and path.exists() and output.samefile(path) for path in request.weights):
        raise UsageError(f"{output} is the checkpoint itself, which is never written to; choose another name")
    shape = request.shape or input_shape(arch)
    net = build(arch, classes=request.classes, weights=request.weights)
    if not request.weights and arch in architectures() and arch != "digits":
        note("no --weights: they are random, so the file shows speed and size but no accuracy")
    proto = export_module(
        net,
        input_shape=shape,
        input_name=request.input_name,
        opset=request.opset,
        keep_batchnorm=request.keep_batchnorm,
        metadata={"ftonnx.architecture": Path(arch).name} | _preprocess_entry(arch, shape),
    )
    said = {entry.key: entry.value for entry in proto.metadata_props}
    classes = int(said["ftonnx.classes"])
    if request.classes not in (None, classes):
        raise ModelError(
            f"{arch}: --classes {request.classes} was asked for, but the network has {classes}; "
            "let the factory take num_classes"
        )
    parity = check_parity(net, proto)
    if request.activation != "relu":
        proto = with_activation(proto, request.activation)
    if request.activation == "crelu":
        parity = max(parity, check_parity(net, proto))
    return {
        "output": str(output),
        "architecture": said["ftonnx.architecture"],
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "classes": classes,
        "input": {"name": request.input_name, "shape": ["batch", *shape]},
        "activation": request.activation,
        "opset": request.opset,
        "batchnorm": said["ftonnx.batchnorm"],
        "parity": parity,
        "bytes": write_model(proto, output),
    }


def _shape(text: str) -> tuple[int, ...]:
    """Read a shape such as 3,224,224.

    >>> _shape("3, 224,224")
    (3, 224, 224)
    """
    parts = split_names(text)
    if len(parts) != 3 or not all(part.isdecimal() and 0 < int(part) < 1 << 16 for part in parts):
        raise UsageError(f"--input-shape: expected channels, height and width such as 3,224,224, got {text!r}")
    return tuple(int(part) for part in parts)


def _preprocess_entry(arch: str, shape: tuple[int, ...]) -> dict[str, str]:
    """The metadata entry; another input size moves the crop and, in proportion, the size before it."""
    known = preprocessing(arch)
    if not known:
        return {}
    height, width = shape[1:]
    if "crop" in known and (height, width) != (known["crop"], known["crop"]):
        if height != width:
            known = {key: value for key, value in known.items() if key not in ("resize", "crop")}
        else:
            known |= {"resize": round(known["resize"] * height / known["crop"]), "crop": height}
    return {"ftonnx.preprocess": json_text.dumps(known)}


def _print(facts: dict[str, Any]) -> None:
    out = console()
    source = facts["input"]
    shape = "x".join(map(str, source["shape"]))
    out.print(
        f"{facts['output']}: {facts['architecture']}, {number(facts['parameters'])} parameters, "
        f"{facts['classes']} classes, {facts['activation']}"
    )
    out.print(f"input {source['name']} {shape}, opset {facts['opset']}, {number(facts['bytes'])} bytes")
    out.print(f"largest difference from torch: {facts['parity']:.1e} of the largest output")
