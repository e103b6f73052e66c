"""``ftonnx check``: are model and data what they seem to be?"""

from typing import TYPE_CHECKING, Final

from ftonnx.campaign import Readiness
from ftonnx.campaign import check as look
from ftonnx.campaign.readiness.pixels import channel_axis
from ftonnx.cli.data_options import DataOptions
from ftonnx.cli.data_words import preprocessing_words, shape_words
from ftonnx.cli.flags import with_flags
from ftonnx.cli.options import FaultOptions, Json, ModelOptions, RunOptions
from ftonnx.cli.output import console, note, number, percent, print_fault_model, print_json, table
from ftonnx.samples import Shape
from ftonnx.words import interval, printable, some_of

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["check"]

_MOST_CHANNELS: Final = 16
_MOST_CLASSES: Final = 10


def check(
    network: ModelOptions,
    images: DataOptions,
    faults: FaultOptions,
    running: RunOptions,
    json: Json = False,
) -> None:
    """Look at a model and data before a campaign: accuracy against chance, pixels, classes, faults, time.

    Takes half a minute at most for runs without faults; --limit takes fewer images. Nothing is written.
    """
    model = network.open()
    found = look(
        model,
        images.open(model),
        task=running.outcomes(),
        settings=running.settings(faults),
        step=lambda name: note(f"looking at {name} ..."),
    )
    if json:
        print_json(found.to_dict())
    else:
        _print(found)


def _print(found: Readiness) -> None:
    out = console()
    data = found.data
    golden = found.golden
    used = f"{number(golden.images)} of {number(len(data))} images"
    out.print(f"{printable(found.model.name)} on {printable(data.name)}, {used} run without faults")
    for what, values in (("input", found.inputs), ("output", found.outputs)):
        for value in values:
            out.print(f"{what} {printable(value.text)}", soft_wrap=True)
    _print_accuracy(out, found)
    _print_classes(out, found)
    _print_pixels(out, found)
    _print_readings(out, found)
    _print_faults(out, found)
    out.print()
    out.print("ready" if found.ready else "look at this:")
    for each in found.look_at:
        out.print(f"- {printable(with_flags(each))}", soft_wrap=True)


def _print_accuracy(out: "Console", found: Readiness) -> None:
    golden = found.golden
    headline = golden.headline
    line = f"fault-free {found.task.main.label} {percent(headline.mean)}"
    if headline.low is not None:
        line += f", 95 % interval {interval(headline.low, headline.high)}"
    if golden.chance is not None:
        line += f"; chance {percent(golden.chance)}, always the most frequent class {percent(golden.majority)}"
    out.print(f"\n{line}; judged as {printable(found.task.text)}", soft_wrap=True)


def _print_classes(out: "Console", found: Readiness) -> None:
    data = found.data
    if found.counts:
        least = number(min(found.counts))
        most = number(max(found.counts))
        scored = "" if found.golden.scored is None else f"; the model scores {number(found.golden.scored)}"
        out.print(f"{number(len(found.counts))} classes with {least} to {most} images each{scored}")
        names = data.class_names
        if names is not None:
            listed = some_of([f"{label} {name or '-'}" for label, name in enumerate(names)], _MOST_CLASSES)
            out.print(printable(f"classes: {listed}"), soft_wrap=True)
    out.print(f"{preprocessing_words(data)}; fed as {_layout(data.sample_shape)}", soft_wrap=True)
    out.print()


def _layout(shape: Shape) -> str:
    """Return the shape of what is fed, and where an image has its channels.

    >>> _layout((3, 32, 32)), _layout((32, 32, 3)), _layout((16,))
    ('(3, 32, 32), channels first', '(32, 32, 3), channels last', '(16,)')
    """
    axis = channel_axis(shape) if isinstance(shape, tuple) else None
    if axis is None:
        return shape_words(shape)
    return f"{shape_words(shape)}, channels {'last' if axis else 'first'}"


def _print_pixels(out: "Console", found: Readiness) -> None:
    rows = table("input", "channel", "smallest", "largest", "mean", "deviation")
    for each in found.channels[:_MOST_CHANNELS]:
        channel = "-" if each.channel is None else str(each.channel)
        numbers = (number(value) for value in (each.low, each.high, each.mean, each.std))
        rows.add_row(printable(each.input) or "images", channel, *numbers)
    out.print(rows)
    rest = len(found.channels) - _MOST_CHANNELS
    if rest > 0:
        out.print(f"... and {number(rest)} more channels; --json lists all")


def _print_readings(out: "Console", found: Readiness) -> None:
    if not found.readings:
        return
    rows = table("read otherwise", "right", "as it is", "")
    for each in found.readings:
        rows.add_row(each.name, percent(each.accuracy), percent(each.base), "much better" if each.better else "")
    out.print()
    out.print(rows)


def _print_faults(out: "Console", found: Readiness) -> None:
    space = found.space
    coverage = found.coverage
    formats = ", ".join(space.formats)
    share = coverage.words(target.role for target in space.targets)
    out.print(f"\nN = {number(space.bits)} bits can flip ({formats}), in {share}")
    if coverage.groups:
        reasons = ", ".join(f"{group.reason} {coverage.part(group)}" for group in coverage.groups)
        out.print(printable(f"left out: {reasons}"), soft_wrap=True)
    print_fault_model(space.formats)
    units = found.units
    others = f"; also possible: {', '.join(units.others)}" if units.others else ""
    out.print(f"strategy {units.strategy}{others}")
    if units.note is not None:
        out.print(printable(units.note), soft_wrap=True)
    out.print(f"a unit, one fault pattern met by {number(units.images)} images, takes {number(units.milliseconds)} ms")
