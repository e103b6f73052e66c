"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Final

import typer

from ftonnx.datasets import Preprocess
from ftonnx.errors import UsageError

__all__ = [
    "Batch", "Bits", "CacheMemory", "Channels", "Crop", "Exclude", "FormatName", "Include", "JobCount", "Json",
    "Limit", "Mean", "Model", "Repeat", "Resize", "Results", "Scale", "Split", "Std", "TargetName", "Targets",
    "parse_bits", "parse_bytes", "parse_preprocess", "split_names", "split_or",
]  # fmt: skip

_FORMAT_HELP = "How float tensors are seen as bits: auto (= q15.16), ieee, or qM.N. Integers are their own bits."

JobCount = Annotated[
    str,
    typer.Option(
        "--jobs", metavar="N", help="Processes that share the work, or auto (measures). The results are the same."
    ),
]
_UNITS: Final = {"K": 2**10, "M": 2**20, "G": 2**30}

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
Bits = Annotated[
    str | None,
    typer.Option(
        "--bits", metavar="LIST", help="Only these bits of an element can flip, as 23-30,31; 0 is the lowest."
    ),
]
CacheMemory = Annotated[
    str | None,
    typer.Option(
        "--cache-memory",
        metavar="BYTES",
        help="Memory for golden tensors, from which runs with few faults start, such as 512M or 2G; 0 for none.  "
        "[default: a quarter of the free memory]",
    ),
]
TargetName = Annotated[
    str,
    typer.Option(
        "--target", metavar="NAME", help="Intervals for these images (test-set) or new ones too (population)."
    ),
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


def parse_bits(text: str) -> tuple[int, ...]:
    """Read bit positions: numbers and ranges, separated by commas.

    Raises:
        UsageError: the text is something else, or a position is above 63.

    >>> parse_bits("0, 23-25,31")
    (0, 23, 24, 25, 31)
    """
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        if not first.isdecimal() or (dash and not last.isdecimal()) or int(last or first) > 63:
            raise UsageError(f"--bits: positions from 0 to 63 such as 0,23-30 were expected, got {text!r}")
        found.update(range(int(first), int(last or first) + 1))
    if not found:
        raise UsageError(f"--bits: positions from 0 to 63 such as 0,23-30 were expected, got {text!r}")
    return tuple(sorted(found))


def split_or(default: str, split: str | None, spec: str) -> str | None:
    """Return the split to use: the given one, else the default where the data has splits.

    >>> split_or("val", None, "digits"), split_or("val", None, "loader.py:load"), split_or("val", "test", "digits")
    ('val', None, 'test')
    """
    kind, _, path = spec.partition(":")
    single = kind.endswith(".py") or (kind == "npz" and path.endswith(".npz"))
    return split or (None if single else default)


def parse_bytes(option: str, text: str) -> int:
    """Read an amount of memory.

    >>> parse_bytes("--cache-memory", "512M"), parse_bytes("--cache-memory", "1.5G"), parse_bytes("--cache-memory", "0")
    (536870912, 1610612736, 0)

    Raises:
        UsageError: it is none.
    """
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].upper() in _UNITS else (text, "")
    try:
        amount = float(number) * _UNITS.get(unit, 1)
        if not 0 <= amount < 2**63:
            raise ValueError
    except ValueError:
        raise UsageError(f"{option}: bytes such as 512M or 2G were expected, got {text!r}") from None
    return int(amount)


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
