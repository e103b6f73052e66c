"""Options of studies that are shipped: where the user's data and checkpoints lie."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from ftonnx.cli.output import warn
from ftonnx.errors import UsageError
from ftonnx.studies import Preset, Study, example
from ftonnx.studies.shipped.preset import SCALES

__all__ = ["PresetOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetOptions:
    """What a preset is given."""

    PANEL: ClassVar[str] = "Presets"

    data: Annotated[
        tuple[str, ...],
        typer.Option("--data", metavar="NAME:PATH", help="Where a data set of the preset lies (repeatable)."),
    ] = ()
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="DIR", file_okay=False, help="Where its checkpoints lie.")
    ] = None
    scale: Annotated[
        str | None,
        typer.Option(
            "--scale",
            metavar="NAME",
            help="paper, or small: few images, repeats and iterations, and the embedded model and data where "
            "nothing is given.  [default: paper]",
        ),
    ] = None

    def opened(self, file: str | None) -> Study:
        """Return the study of a file, or of a preset with what is there; what is missing is warned of.

        Raises:
            UsageError: there is no such study, nothing of what a preset needs is there, or an option makes no sense.
        """
        if file is None:
            raise UsageError("a study FILE.toml was expected; --example prints one to begin with")
        if _is_file(file):
            self._refuse()
            return Study.read(file)
        preset = Preset.named(file)
        prepared = preset.study(self.data, self.weights, scale=self.scale or SCALES[0])
        if prepared.study is None:
            wanted = ", ".join(part.option for part in preset.parts)
            raise UsageError(
                f"{file}: some of {wanted} was expected; ftonnx study {file} --presets says where they come from, "
                "and `scale=small` alone tries it without them"
            )
        warn(f"{part.option} is missing, {part.what}; what needs it is left out" for part in prepared.missing)
        return prepared.study

    def text_of(self, file: str | None) -> str:
        """Return the text of a preset's file, or of the one to begin with.

        Raises:
            UsageError: there is no such preset.
        """
        return example() if file is None else Preset.named(file).text

    def _refuse(self) -> None:
        for name, value in (("data", self.data), ("weights", self.weights), ("scale", self.scale)):
            if value:
                raise UsageError(f"`{name}` is for presets, such as paper/table3; a study's file names its own")


def _is_file(name: str) -> bool:
    return name.endswith(".toml") or Path(name).exists()
