"""Options that describe a radiation environment, and what they make together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

import typer

from ftonnx.environment.radiation import Environment
from ftonnx.errors import UsageError

__all__ = ["EnvironmentOptions"]

_READ: Final[dict[bool | None, Literal["end", "average"] | None]] = {None: None, True: "average", False: "end"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentOptions:
    """A radiation environment."""

    PANEL: ClassVar[str] = "Environment"

    fit_per_mbit: Annotated[
        float | None,
        typer.Option("--fit-per-mbit", metavar="X", help="Upsets per 1e9 hours and 1e6 bits, from a data sheet."),
    ] = None
    upsets_per_bit_day: Annotated[
        float | None,
        typer.Option("--upsets-per-bit-day", metavar="X", help="Upsets per bit and day, from CREME or SPENVIS."),
    ] = None
    cross_section: Annotated[
        float | None, typer.Option("--cross-section", metavar="S", help="Cross-section of one bit, cm2; needs --flux.")
    ] = None
    flux: Annotated[float | None, typer.Option("--flux", metavar="F", help="Particles per cm2 and hour.")] = None
    flux_multiplier: Annotated[
        float | None,
        typer.Option(
            "--flux-multiplier", metavar="M", help="Factor on the upsets, such as the flux relative to New York's."
        ),
    ] = None
    exposure: Annotated[
        str | None,
        typer.Option("--exposure", metavar="TIME", help="Time since the memory was written: 90min, 24h, 30d, 1y."),
    ] = None
    scrub: Annotated[
        str | None, typer.Option("--scrub", metavar="TIME", help="Time between two loads or scrubs of the memory.")
    ] = None
    average: Annotated[
        bool | None,
        typer.Option(
            "--average/--end",
            help="The memory is read at any time of the interval, or at its end.  [default: end; average with --scrub]",
            show_default=False,
        ),
    ] = None
    environment: Annotated[
        Path | None,
        typer.Option(
            "--environment", metavar="FILE.toml", help="All of these in a TOML file, and how many bits an upset flips."
        ),
    ] = None

    def place(self) -> Environment:
        """Return what the options or the file describe.

        Raises:
            UsageError: the file and options are both given, or something is missing or makes no sense.
        """
        source = {
            "fit_per_mbit": self.fit_per_mbit,
            "upsets_per_bit_day": self.upsets_per_bit_day,
            "cross_section": self.cross_section,
            "flux": self.flux,
            "flux_multiplier": self.flux_multiplier,
        }
        options = {name: value for name, value in source.items() if value is not None}
        if self.environment is None:
            return Environment.of(exposure=self.exposure, scrub=self.scrub, read=_READ[self.average], **options)
        if options or self.exposure or self.scrub or self.average is not None:
            raise UsageError("--environment FILE.toml says everything: no other option of the environment was expected")
        return Environment.from_toml(self.environment)
