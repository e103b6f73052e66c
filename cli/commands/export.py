"""``ftonnx export``: from a torch architecture or module to an ONNX file."""

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import onnx
import typer

from ftonnx.cli.options import OUTPUT, Json
from ftonnx.cli.output import console, note, number, print_json
from ftonnx.errors import ModelError, UsageError
from ftonnx.export import check_parity, export_module, with_activation, write_model
from ftonnx.files import check_target
from ftonnx.inject import FORMAT_KEY, check_format
from ftonnx.models import architectures, build, input_shape
from ftonnx.models.architectures import preprocess_entry
from ftonnx.models.checkpoint_about import read_about
from ftonnx.words import shape_text, split_names, whole_of

__all__ = ["export"]

_ACTIVATIONS = ("relu", "relu6", "crelu")
_LARGEST_SIDE = 1 << 16


def _shape(text: str) -> tuple[int, ...]:
    """Read a shape such as 3,224,224.

    >>> _shape("3, 224,224")
    (3, 224, 224)
    """
    parts = split_names(text)
    if len(parts) != 3 or not all(map(_is_side, parts)):
        raise UsageError(f"expected channels, height and width such as 3,224,224, got {text!r}")
    return tuple(map(int, parts))


def _is_side(part: str) -> bool:
    return 0 < (whole_of(part) or 0) < _LARGEST_SIDE


@dataclass(frozen=True, slots=True, kw_only=True)
class _NetworkOptions:
    """The network, and its weights."""

    PANEL: ClassVar[str] = "Network"

    arch: Annotated[
        str,
        typer.Argument(
            metavar="ARCH",
            help="Architecture: resnet50, vgg13_bn, resnet18-cifar, resnet20-cifar, digits, swin_unet, any other "
            "classification model of torchvision, or PATH/file.py:factory, which runs that file.",
        ),
    ]
    weights: Annotated[
        tuple[Path, ...],
        typer.Option(
            "--weights",
            metavar="FILE",
            help="Checkpoint: .pth, .pt, .pth.tar or .safetensors. Repeat it for files that complete each other, "
            "such as a backbone and its linear head. Default: random weights; for digits the trained ones.",
        ),
    ] = ()
    classes: Annotated[
        int | None,
        typer.Option("--classes", metavar="K", help="Size of the classifier. Default: the architecture's own."),
    ] = None

    @property
    def is_random(self) -> bool:
        """Whether nothing says what the weights are."""
        return not self.weights and self.arch in architectures() and self.arch != "digits"


@dataclass(frozen=True, slots=True, kw_only=True)
class _FormOptions:
    """What the graph looks like."""

    PANEL: ClassVar[str] = "Graph"

    shape: Annotated[
        tuple[int, ...] | None,
        typer.Option(
            "--input-shape",
            metavar="C,H,W",
            parser=_shape,
            help="Shape of one input. Default: the architecture's own.",
        ),
    ] = None
    activation: Annotated[
        str, typer.Option("--activation", metavar="NAME", help="relu (as it is), relu6, or crelu (threshold +Inf).")
    ] = "relu"
    opset: Annotated[int, typer.Option("--opset", metavar="N", help="Version of ONNX's operator set, 18 or newer.")] = (
        20
    )
    input_name: Annotated[str, typer.Option("--input-name", metavar="NAME", help="Name of the graph's input.")] = (
        "input"
    )
    keep_batchnorm: Annotated[
        bool,
        typer.Option(
            "--keep-batchnorm",
            help="Leave BatchNormalization as it is, so that all weights keep torch's names and values, as published "
            "fault lists need.",
        ),
    ] = False

    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="How the device holds floats, ieee or qM.N: kept in the metadata, from which other commands take it.",
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.format is not None:
            check_format(self.format)
        if self.activation not in _ACTIVATIONS:
            raise UsageError(f"--activation: expected one of {', '.join(_ACTIVATIONS)}, got {self.activation!r}")

    @property
    def metadata(self) -> dict[str, str]:
        """What is said of the form in the file."""
        return {} if self.format is None else {FORMAT_KEY: self.format}


def export(
    network: _NetworkOptions,
    form: _FormOptions,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT.onnx", rich_help_panel=OUTPUT, help="File to write.")
    ],
    json: Json = False,
) -> None:
    """Export a torch network to ONNX, and check that it computes the same.

    The file has a dynamic batch, BatchNorm folded in unless kept, and its preprocessing in the metadata.
    """
    with redirect_stdout(sys.stderr):  # a user's own code may print
        facts = _exported(network, form, output)
    if json:
        print_json(facts)
    else:
        _print(facts)


def _exported(network: _NetworkOptions, form: _FormOptions, output: Path) -> dict[str, Any]:
    """Build, export, check and write; return what there is to say about the file."""
    check_target(output)
    trained = read_about(network.weights)
    shape = form.shape or trained.input_shape or input_shape(network.arch)
    net = build(
        network.arch, classes=trained.classes if network.classes is None else network.classes, weights=network.weights
    )
    if network.is_random:
        note("no --weights: they are random, so the file shows speed and size but no accuracy")
    proto = export_module(
        net,
        input_shape=shape,
        input_name=form.input_name,
        opset=form.opset,
        keep_batchnorm=form.keep_batchnorm,
        metadata={"ftonnx.architecture": Path(network.arch).name}
        | preprocess_entry(network.arch, shape)
        | trained.metadata
        | form.metadata,
    )
    said = {entry.key: entry.value for entry in proto.metadata_props}
    classes = int(said["ftonnx.classes"])
    parameters = sum(parameter.numel() for parameter in net.parameters())
    if network.classes not in (None, classes):
        raise ModelError(
            f"{network.arch}: --classes {network.classes} was asked for, but the network has {classes}; "
            "let the factory take num_classes"
        )
    proto, parity = _activated(net, proto, form.activation)
    return {
        "output": str(output),
        "architecture": said["ftonnx.architecture"],
        "parameters": parameters,
        "classes": classes,
        "input": {"name": form.input_name, "shape": ["batch", *shape]},
        "activation": form.activation,
        "opset": form.opset,
        "batchnorm": said["ftonnx.batchnorm"],
        "parity": parity,
        "bytes": write_model(proto, output),
    }


def _activated(net: Any, proto: onnx.ModelProto, activation: str) -> tuple[onnx.ModelProto, float]:
    """Return the model with the activations asked for, and its largest difference from torch."""
    parity = check_parity(net, proto)
    if activation == "relu":
        return proto, parity
    changed = with_activation(proto, activation)
    if activation == "relu6":  # which computes something else, as asked
        return changed, parity
    return changed, max(parity, check_parity(net, changed))


def _print(facts: dict[str, Any]) -> None:
    source = facts["input"]
    network = [
        facts["architecture"],
        f"{number(facts['parameters'])} parameters",
        f"{facts['classes']} classes",
        facts["activation"],
    ]
    file = [
        f"input {source['name']} {shape_text(source['shape'])}",
        f"opset {facts['opset']}",
        f"{number(facts['bytes'])} bytes",
    ]
    out = console()
    out.print(f"{facts['output']}: {', '.join(network)}")
    out.print(", ".join(file))
    out.print(f"largest difference from torch: {facts['parity']:.1e} of the largest output")
