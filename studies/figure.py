"""What a figure of a study is."""

from dataclasses import dataclass, field

from ftonnx.report.chart_parts import Chart

__all__ = ["Figure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A chart of a study.

    Attributes:
        name: of its files, without their endings.
        title: what it is about.
        caption: how it is read.
        chart: altair's.
    """

    name: str
    title: str
    caption: str
    chart: Chart = field(repr=False)
