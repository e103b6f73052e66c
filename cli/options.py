"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from ftonnx.datasets import Preprocess
from ftonnx.errors import UsageError

__all__ = [
    "Batch", "Channels", "Crop", "Exclude", "FormatName", "Include", "Json", "Limit", "Mean", "Model", "Repeat",
    "Resize", "Results", "Scale", "Split", "Std", "Targets", "parse_preprocess", "split_names", "split_or",
]  # fmt: skip

_FORMAT_HELP = "How float tensors are seen as bits: auto (= q15.16), ieee, or qM.N. Integers are their own bits."

Model = Annotated[str, typer.Argument(metavar="MODEL", help="ONNX file, or the name of an embedded model: digits.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
FormatName = Annotated[str, typer.Option("--format", metavar="FORMAT", help=_FORMAT_HELP)]
Targets = Annotated[
    str, typer.Option("--targets", metavar="ROLES", help="Roles that can flip: weight, bias, scale, zero_point.")
]
Include = Annotated[
    list[str] | None,
    typer.Option("--include", metavar="PATTERN", help="Only tensors with matching names (shell style; repeatable)."),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="PATTERN", help="Not the tensors with matching names (shell style; repeatable)."),
]
Split = Annotated[str | None, typer.Option("--split", help="Split of the data, such as test or val.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", help="At most N images.")]
Results = Annotated[Path, typer.Argument(metavar="RESULTS", file_okay=False, help="Results folder of ftonnx inject.")]
Repeat = Annotated[int, typer.Option("--repeat", metavar="I", help="Which repeat, from 0.")]
Batch = Annotated[int, typer.Option("--batch", metavar="J", help="Which batch of images, from 0.")]

Scale = Annotated[str | None, typer.Option("--scale", metavar="X", help="Factor on pixel values, such as 1/255.")]
Mean = Annotated[str | None, typer.Option("--mean", metavar="X,X,X", help="Subtracted per channel, after scaling.")]
Std = Annotated[str | None, typer.Option("--std", metavar="X,X,X", help="Divided by per channel, after the mean.")]
Resize = Annotated[int | None, typer.Option("--resize", metavar="PIXELS", help="Resize the short side to this.")]
Crop = Annotated[int | None, typer.Option("--crop", metavar="PIXELS", help="Cut a centred square of this side.")]
Channels = Annotated[str | None, typer.Option("--channels", help="Channel order fed to the model: rgb, bgr or gray.")]


def split_names(names: str) -> tuple[str, ...]:
    """Split a comma-separated list.

    >>> split_names("cuda, cpu")
    ('cuda', 'cpu')
    """
    return tuple(name.strip() for name in names.split(",") if name.strip())


def split_or(default: str, split: str | None, spec: str) -> str | None:
    """Return the split to use: the given one, else the default where the data has splits.

    >>> split_or("val", None, "digits"), split_or("val", None, "loader.py:load"), split_or("val", "test", "digits")
    ('val', None, 'test')
    """
    kind, _, path = spec.partition(":")
    single = kind.endswith(".py") or (kind == "npz" and path.endswith(".npz"))
    return split or (None if single else default)


def parse_preprocess(
    scale: str | None, mean: str | None, std: str | None, resize: int | None, crop: int | None, channels: str | None
) -> Preprocess:
    """Return the preprocessing that the command line asks for.

    Raises:
        UsageError: a value is no number, or out of range.
    """
    return Preprocess(
        scale=None if scale is None else _number("scale", scale),
        mean=None if mean is None else tuple(_number("mean", part) for part in split_names(mean)),
        std=None if std is None else tuple(_number("std", part) for part in split_names(std)),
        resize=resize,
        crop=crop,
        channels=channels,  # type: ignore[arg-type]  # checked by Preprocess
    )


def _number(option: str, text: str) -> float:
    """Read a number or a fraction such as 1/255."""
    numerator, _, denominator = text.partition("/")
    try:
        return float(numerator) / float(denominator or 1)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"--{option}: a number or a fraction such as 1/255 was expected, got {text!r}") from None
