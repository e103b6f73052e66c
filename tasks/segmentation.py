"""Segmentation: a class for every pixel of an image."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import DataError, UsageError
from ftonnx.tasks.base import Fraction, Outputs
from ftonnx.tasks.chance import near_chance
from ftonnx.tasks.map_forms import FORMS, MOST_CLASSES, MapForm, Words, form_of
from ftonnx.tasks.map_judge import OF_BATCH, OF_IMAGES, PER_CLASS, UNIT, MapJudge
from ftonnx.tasks.mean_fraction import MeanFraction
from ftonnx.tasks.mean_iou import MeanIou
from ftonnx.tasks.one_output import ArrayJudge, OneOutputTask, described, outcome_shares
from ftonnx.tasks.threshold import usual_threshold

__all__ = ["Segmentation"]

Accuracy = Literal["class-mean", "pixel"]
Average = Literal["pooled", "batch"]
Form = Literal["channels-first", "channels-last", "one-channel", "class-numbers"]


@dataclass(frozen=True, kw_only=True)
class Segmentation(OneOutputTask):
    """A class for every pixel; outputs are scores ``(batch, classes, height, width)``, labels maps of classes.

    A pixel has the class with the highest score, of equal ones the lowest. An image whose scores hold NaN or Inf is a
    detected error: none of its pixels is right or silently wrong. Pixels without a label (``ignore``) are not right or
    wrong either, but whether they keep their class counts.

    Outputs may have other forms: scores ``(batch, height, width, classes)``, one score per pixel ``(batch, 1, height,
    width)`` of two classes, or the classes themselves, integers ``(batch, height, width)``, of which no NaN shows.

    Its counts:
        n: images.
        pixels: pixels with a label.
        correct: of these, those whose class is the label.
        area: all pixels.
        same: of these, those with the class that the golden run has there.
        sdc: silent data corruption; images of which more than the share ``changed`` of all pixels get another class.
        masked: images with outputs bit-identical to the golden run's.
        due: detected error; images whose scores hold NaN or Inf, or that got no output.
        labels0, predicted0, hits0, ...: of the pixels with a label, those with label 0, with class 0, and with both;
            so for every class.
        averaged, averages, absent: only with ``average="batch"``: the mean of the classes' accuracies in the batch, in
            billionths, and a billion, and how many classes are not in it; 0 for a batch without labels.

    Attributes:
        classes: their number; None for as many as the golden output has scores for. Where the output is the classes
            themselves it is one more than the highest number in it and in the labels.
        ignore: the label of pixels that have none.
        changed: share of an image's pixels, from 0 to below 1; more of them with another class are harm.
        accuracy: the headline: ``class-mean``, the mean of the classes' accuracies, or ``pixel``, that of all pixels.
        average: whether the class mean is over the classes of all images (``pooled``), or the mean of those of each
            batch over the classes in it (``batch``), as the code of the paper's segmentation network has it.
        form: of the outputs, one of ``map_forms.FORMS``; None for the first that gives maps of the labels' size.
        threshold: of one score per pixel, above which it is class 1; None for 0.5 where the golden scores of the first
            batch all lie in [0, 1], and for 0 (of logits) where they do not.

    Raises:
        UsageError: a setting makes no sense.

    >>> golden = np.zeros((1, 2, 1, 4))
    >>> golden[0, 1, 0] = [-1, -1, 1, 1]
    >>> faulty = golden.copy()
    >>> faulty[0, 1, 0, 1] = 5
    >>> task = Segmentation(classes=2)
    >>> found = task.count(faulty, golden, np.array([[[0, 0, 0, 1]]]))
    >>> found.correct, found.same, found.sdc, task.fractions["class_accuracy"].of(found)
    (2, 3, 1, 0.6666666666666666)
    """

    name: ClassVar[str] = "segmentation"
    harm: ClassVar[str] = "sdc"
    outcomes: ClassVar[tuple[str, ...]] = ("same", "masked", "sdc", "due")
    per_fault: ClassVar[tuple[str, ...]] = ("masked", "due")
    per_fault_brief: ClassVar[tuple[str, ...]] = ("masked", "due")
    parts: ClassVar[tuple[str, ...]] = ("masked", "tolerable", "SDC", "DUE")

    classes: int | None = None
    ignore: int = 255
    changed: float = 0.01
    accuracy: Accuracy = "class-mean"
    average: Average = "pooled"
    form: Form | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        known = self.classes is None or _is_whole(self.classes)
        if not known or (self.classes is not None and not 2 <= self.classes <= MOST_CLASSES):
            raise UsageError(f"classes: a whole number from 2 to {MOST_CLASSES} was expected, got {self.classes!r}")
        if not _is_whole(self.ignore):
            raise UsageError(f"ignore: the label of pixels without one, a whole number, was expected: {self.ignore!r}")
        if not _is_number(self.changed) or not 0 <= self.changed < 1:
            raise UsageError(f"changed: a share of pixels from 0 to below 1 was expected, got {self.changed!r}")
        _check_choice("accuracy", self.accuracy, get_args(Accuracy))
        _check_choice("average", self.average, get_args(Average))
        _check_choice("form", self.form, (None, *get_args(Form)))
        if self.threshold is not None and not _is_number(self.threshold):
            raise UsageError(f"threshold: a number was expected, got {self.threshold!r}")

    @cached_property
    def counts(self) -> tuple[str, ...]:  # type: ignore[override]  # it depends on the number of classes
        """See the class."""
        per_class = [f"{kind}{number}" for kind in PER_CLASS for number in range(self.classes or 0)]
        of_batch = OF_BATCH if self.average == "batch" else ()
        return (*OF_IMAGES, *per_class, *of_batch)

    @cached_property
    def fractions(self) -> Mapping[str, Fraction]:  # type: ignore[override]  # as the counts
        """The accuracies, and what becomes of pixels and images."""
        return {
            "class_accuracy": self._class_accuracy,
            "pixel_accuracy": Fraction(
                count="correct",
                whole="pixels",
                label="pixel accuracy",
                says="(pixel by pixel) have the right class",
            ),
            "mean_iou": self._mean_iou,
            "same": Fraction(count="same", whole="area", label="same pixels", says="(pixel by pixel) keep their class"),
            "sdc": Fraction(count="sdc", label="SDC", says=f"silently get another class in {self._many} pixels"),
            "masked": Fraction(count="masked", label="masked", says=self._words.masked),
            "due": Fraction(count="due", label="DUE", says=self._words.due),
        }

    @property
    def _class_accuracy(self) -> Fraction:
        label = "class-mean accuracy"
        says = "(class by class) have the right class"
        if self.average == "batch":
            return Fraction(count="averaged", whole="averages", label=label, says=says)
        parts = tuple((f"hits{number}", f"labels{number}") for number in range(self.classes or 0))
        return MeanFraction(count="correct", whole="pixels", parts=parts, label=label, says=says)

    @property
    def _mean_iou(self) -> Fraction:
        parts = tuple((f"hits{number}", f"labels{number}", f"predicted{number}") for number in range(self.classes or 0))
        says = "(class by class) are where label and prediction meet, of all with either"
        return MeanIou(count="correct", whole="pixels", parts=parts, label="mean IoU", says=says)

    @property
    def _many(self) -> str:
        return f"more than {100 * self.changed:g} % of their"

    @property
    def headline(self) -> str:  # type: ignore[override]  # it is a setting
        """The accuracy that models are compared by."""
        return "pixel_accuracy" if self.accuracy == "pixel" else "class_accuracy"

    @property
    def shown(self) -> tuple[str, ...]:  # type: ignore[override]  # the headline first
        """Accuracies and mean IoU, and outcomes of images."""
        return (*self.golden, "sdc", "due")

    @property
    def golden(self) -> tuple[str, ...]:  # type: ignore[override]  # the headline first
        """Both accuracies, and mean IoU."""
        accuracies = ("class_accuracy", "pixel_accuracy")
        first = accuracies if self.accuracy == "class-mean" else accuracies[::-1]
        return (*first, "mean_iou")

    @property
    def compares_images(self) -> bool:  # type: ignore[override]  # it is a setting
        """Whether the accuracy is a mean over batches."""
        return self.average == "batch"

    @property
    def expects(self) -> str:
        """See ``OneOutputTask.expects``."""
        if self.form is not None:
            return f"{FORMS[self.form].expects},"
        return (
            "scores of the pixels' classes (batch, classes, height, width), with the classes last, or one per pixel, "
            "or maps of class numbers (batch, height, width),"
        )

    def arranged(self, value: Any) -> NDArray[Any] | None:
        """Return an output as its form has it; as it is, where the form is not known yet and it may have one."""
        if not isinstance(value, np.ndarray):
            return None
        if self.form is not None:
            return FORMS[self.form]().arranged(value)
        return value if any(form().arranged(value) is not None for form in FORMS.values()) else None

    def misfit(self, values: NDArray[Any], labels: NDArray[Any], classes: int | None) -> str | None:
        """Require a map of class numbers per image, of the size of the output."""
        if labels.ndim != 3 or labels.dtype.kind not in "iu":
            return f"maps of class numbers (images, height, width) were expected as labels, got {described(labels)}"
        form = self._form(values, labels)
        found = form.arranged(values)
        assert found is not None  # asked for behind ``arranged``
        if labels.shape[1:] != form.size(found):
            sizes = f"{_size(form.size(found))} pixels as the {form.words.outputs} have them"
            return f"label maps of {sizes} were expected, got {_size(labels.shape[1:])}; crop or resize them alike"
        told = form.classes(found)
        if told is not None and self.classes not in (None, told):
            return f"scores of {self.classes} classes were expected, as task segmentation was given, got {told}"
        most = told or self.classes or MOST_CLASSES
        wrong = labels[(labels != self.ignore) & ((labels < 0) | (labels >= most))]
        if wrong.size:
            return (
                f"labels from 0 to {most - 1} as the model has classes, or ignore={self.ignore}, were expected, "
                f"got {wrong[0]}; renumber them, or name the label of pixels without one as `ignore`"
            )
        return None

    def fitting(self, outputs: Outputs, labels: NDArray[Any], classes: int | None) -> list[str]:
        """See ``OneOutputTask.fitting``; of several forms those of the first are meant: scores beside their ArgMax."""
        names = super().fitting(outputs, labels, classes)
        order = list(FORMS)
        places = {name: order.index(self._form(outputs[name], labels).name) for name in names}
        return [name for name in names if places[name] == min(places.values())]

    @property
    def is_settled(self) -> bool:
        """Whether form and number of the classes are known, and the threshold where there is one."""
        is_decided = self.form != "one-channel" or self.threshold is not None
        return self.classes is not None and self.form is not None and is_decided

    def settled(self, outputs: Outputs, labels: NDArray[Any]) -> Self:
        """Return the task with form, classes and threshold as the outputs and labels have them."""
        for value in outputs.values():
            values = self.arranged(value)
            if values is not None and labels.ndim == 3:
                return self._settled(values, labels)
        return self

    def class_maps(self, outputs: Outputs) -> list[NDArray[np.unsignedinteger] | None]:
        """Return the classes (height, width) of each image; None where its scores hold NaN or Inf.

        Numbers that are no class, which faults can make, become the nearest one.

        Args:
            outputs: of one run, the judged one alone.
        """
        (value,) = outputs.values()
        values = self.arranged(value)
        if values is None:
            return [None] * len(value)
        highest = (self.classes or MOST_CLASSES) - 1
        kind = np.min_scalar_type(highest)
        form = self._made(FORMS[self.form or "channels-first"])
        maps = [form.seen(each) for each in values]
        return [None if found is None else found.clip(0, highest).astype(kind) for found in maps]

    def decisions_of(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the classes of every image's pixels; those of scores that hold NaN or Inf are whatever they are."""
        if self.form is None:
            return values
        form = self._made(FORMS[self.form])
        return np.stack([form.map_of(each) for each in values])

    def judge_values(self, golden: NDArray[Any], labels: NDArray[Any]) -> ArrayJudge:
        """Find the golden classes once for all runs of the batch."""
        task = self if self.is_settled else self._settled(golden, labels)
        form = task._form(golden, labels)
        return MapJudge(
            golden,
            labels,
            form=form,
            classes=task.classes or 0,
            names=task.counts,
            ignore=self.ignore,
            changed=self.changed,
        )

    def _settled(self, values: NDArray[Any], labels: NDArray[Any]) -> Self:
        """Decide what is open, given an output that may have a form."""
        form = self._form(values, labels)
        found = form.arranged(values)
        if found is None:
            return self
        threshold = self.threshold
        if threshold is None and form.name == "one-channel":
            threshold = usual_threshold(found)
        classes = self.classes or form.classes(found) or _highest(found, labels[labels != self.ignore]) + 1
        classes = min(max(classes, 2), MOST_CLASSES)
        return replace(self, form=form.name, classes=classes, threshold=threshold)  # type: ignore[arg-type]  # one of FORMS

    def _form(self, values: NDArray[Any], labels: NDArray[Any]) -> MapForm:
        """Return the form of an output, which was given, or is the first that has the labels' size or any size."""
        kind = FORMS[self.form] if self.form else form_of(values, labels.shape[1:])
        if kind is None:
            kind = next(each for each in FORMS.values() if each().arranged(values) is not None)
        return self._made(kind)

    def _made(self, kind: type[MapForm]) -> MapForm:
        return kind() if self.threshold is None else kind(self.threshold)

    @property
    def _words(self) -> Words:
        return FORMS[self.form or "channels-first"].words

    @property
    def meaning(self) -> str:
        """What parts and fractions mean."""
        pooled = "of all images" if self.average == "pooled" else "of each batch, and over the batches"
        return (
            f"Pixel accuracy: the share of pixels with a label whose class is the label. Class-mean accuracy: the mean "
            f"of these shares over the classes {pooled}. Mean IoU: the mean over the classes of all images of the "
            "pixels with both label and prediction over those with either. "
            f"{self._words.meaning.format(many=self._many)}"
        )

    def outcome_words(self, shares: Mapping[str, str]) -> str:
        """Say which accuracies are left, and what becomes of images."""
        return (
            f"class-mean accuracy is {shares['class_accuracy']} and pixel accuracy {shares['pixel_accuracy']}, "
            f"{shares['sdc']} of the images silently get another class in {self._many} pixels, and {shares['due']} "
            f"{self._words.due}, which can be detected"
        )

    def counts_words(self, counts: Mapping[str, int]) -> str:
        """Say what one run's counts are."""
        return (
            f"of {counts['n']} images {counts['sdc']} with another class in {self._many} pixels, {counts['masked']} "
            f"masked, {counts['due']} DUE; {counts['correct']} of {counts['pixels']} labelled pixels right, "
            f"{counts['same']} of {counts['area']} pixels as without faults"
        )

    def figures(self, counts: Mapping[str, int]) -> dict[str, float]:
        """Return, by batch, how many classes one lacks, where the paper's code divides 0 by 0."""
        if self.average != "batch" or not counts["averages"]:
            return {}
        return {"absent classes": counts["absent"] * UNIT / counts["averages"]}

    def golden_fractions(self, golden: Mapping[str, int]) -> dict[str, float]:
        """Return both accuracies, and mean IoU.

        Raises:
            DataError: no pixel has a label.
        """
        if not golden["pixels"]:
            raise DataError(f"pixels with a label were expected, got none but ignore={self.ignore} in all label maps")
        return super().golden_fractions(golden)

    def shares(self, fractions: Mapping[str, float]) -> tuple[float, ...]:
        """Return the shares of ``parts``."""
        return outcome_shares(fractions, self.harm, fractions["due"])

    def caution(self, golden: float, classes: int | None, *, of: str = "") -> str | None:
        """Say that a class-mean accuracy is hardly better than guessing; what pixels are guessed by, nobody knows."""
        return near_chance(golden, None if self.accuracy == "pixel" else self.classes, of=of)


def _highest(*arrays: NDArray[Any]) -> int:
    """Return the highest number in some arrays, 0 in empty ones.

    >>> _highest(np.array([1, 3]), np.array([], np.int64))
    3
    """
    return max(int(array.max(initial=0)) for array in arrays)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_choice(key: str, value: object, choices: tuple[str | None, ...]) -> None:
    if value not in choices:
        known = [str(choice) for choice in choices if choice is not None]
        raise UsageError(f"{key}: {' or '.join(known)} was expected, got {value!r}")


def _size(shape: tuple[int, ...]) -> str:
    """Return height and width as people write them.

    >>> _size((224, 320))
    '224x320'
    """
    return "x".join(map(str, shape))
