"""What of a model is judged, and by which task: decided once, before anything is measured."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.datasets import Dataset
from ftonnx.errors import UsageError
from ftonnx.runtime import FaultySession, PlainSession
from ftonnx.sessions import dimension, joined_runs, unpadded
from ftonnx.tasks import Counts, Outputs, Task, default_task, described, usual_task
from ftonnx.words import near

__all__ = ["Judging", "RunJudge", "judging_of"]

_TELLING: Final = 128
"""Images whose outputs say whether scores are probabilities."""

_MOST_BYTES: Final = 64 << 20
"""Of such outputs, which may be large maps; less than this tells as much."""

_logger: Final = logging.getLogger(__name__)


class Judging(NamedTuple):
    """What is judged, and how.

    Attributes:
        task: what the outputs are worth.
        output: the output that is judged; None where the model has one, or the task judges all of them.
    """

    task: Task
    output: str | None


class RunJudge:
    """Counts the outcomes of a session's runs of one batch, whose golden run it knows.

    A batch may take several runs of fewer images each; it is judged as a whole all the same.

    Attributes:
        golden: what is judged of the golden run.
    """

    def __init__(
        self,
        judging: Judging,
        session: FaultySession,
        golden: Sequence[Any],
        labels: NDArray[Any],
        classes: int | None,
        *,
        runs: Sequence[int] = (),
    ) -> None:
        """Judge the golden run.

        Args:
            judging: what is judged, and by which task.
            session: whose runs they are.
            golden: the outputs without faults, of a batch that may have been filled up; by run where there are several.
            labels: of the batch's own images.
            classes: that the data know; None where labels are no class numbers.
            runs: images of every run, where there are several.

        Raises:
            ModelError: the outputs do not fit the task.
            DataError: the labels do not fit it.
        """
        # the places of what is judged: runs are many, and a model may have large outputs besides
        self._judged = [(place, name) for place, name in enumerate(session.outputs) if judging.output in (None, name)]
        self._size = session.batch_size
        self._images = len(labels)
        self._runs = runs
        self.golden = self.judged(golden)
        judging.task.check(self.golden, labels, classes)
        self._judge = judging.task.judge(self.golden, labels)

    def count(self, values: Sequence[Any]) -> Counts:
        """Count the outcomes of one run, or of all that the batch takes, given outputs as those of the golden run."""
        return self._judge.count(self.judged(values))

    def crashed(self) -> Counts:
        """Return the outcomes of a run that gave no outputs."""
        return self._judge.crashed()

    def judged(self, values: Sequence[Any]) -> Outputs:
        """Return what is judged, given outputs as those of the golden run."""
        # a batch may be filled up with images that do not count
        if not self._runs:
            return {name: unpadded(values[place], self._images, self._size) for place, name in self._judged}
        return {name: joined_runs(self._of_runs(values, place)) for place, name in self._judged}

    def _of_runs(self, values: Sequence[Any], place: int) -> list[Any]:
        """Return one output of every run."""
        pairs = zip(values, self._runs, strict=True)
        return [unpadded(outputs[place], images, self._size) for outputs, images in pairs]


def judging_of(
    model: onnx.ModelProto,
    data: Dataset,
    batch_size: int,
    task: Task | None = None,
    output: str | None = None,
    extra: Mapping[str, NDArray[Any]] | None = None,
) -> Judging:
    """Decide what is judged, where that was left open.

    Fault-free runs of the first images are done only where the declared outputs leave a question.

    Args:
        model: the model.
        data: the data set, with its preprocessing complete.
        batch_size: images per run.
        task: what the outputs are worth; None for what they look like.
        output: the output's name; None for the one that fits the task.
        extra: values of inputs that take no data, by name.

    Raises:
        UsageError: the model has no output of that name, or the task lacks a setting.
        ModelError: the model does not run, or none or several of its outputs fit the task.
        DataError: the data do not fit the model.
    """
    declared = {value.name: value for value in model.graph.output}
    if output is not None and output not in declared:
        listed = ", ".join(declared)
        raise UsageError(f"`output={output!r}` was asked for, the model has {listed}{near(output, list(declared))}")
    asked = [output] if output is not None else list(declared)
    if len(asked) == 1:
        if task is None and _is_classifier(declared[asked[0]], data.labels):
            return Judging(default_task(), output)
        if task is not None and task.is_settled:
            return Judging(task, output)
    outputs, labels = _first_outputs(PlainSession(model, extra=extra), data, batch_size, asked)
    return _settled(outputs, labels, data, task, output)


def _first_outputs(
    session: PlainSession, data: Dataset, batch_size: int, names: Sequence[str]
) -> tuple[Outputs, NDArray[Any]]:
    """Return outputs and labels of the first images, so many that they tell what the outputs are."""
    runs: list[Outputs] = []
    taken = 0
    labels: list[NDArray[Any]] = []
    for samples, own in data.batches(batch_size):
        outputs = session.run(samples, names)
        runs.append(outputs)
        labels.append(own)
        taken += sum(value.nbytes for value in outputs.values() if isinstance(value, np.ndarray))
        if sum(map(len, labels)) >= _TELLING or taken >= _MOST_BYTES:
            break
    if len(runs) == 1:
        return runs[0], labels[0]
    return {name: joined_runs([run[name] for run in runs]) for name in names}, np.concatenate(labels)


def _settled(outputs: Outputs, labels: NDArray[Any], data: Dataset, task: Task | None, output: str | None) -> Judging:
    """Decide by what a run without faults gave."""
    classes = data.classes
    chosen = task or usual_task(outputs, labels, classes)
    if len(outputs) > 1:
        output = chosen.choose(outputs, labels, classes)
    judged = outputs if output is None else {output: outputs[output]}
    settled = chosen.settled(judged, data.labels)
    settled.check(judged, labels, classes)
    if task is None or len(outputs) > 1:
        listed = ", ".join(f"{name!r} ({described(value)})" for name, value in judged.items())
        _logger.info("judged as %s: output %s", settled, listed)
    return Judging(settled, output)


def _is_classifier(output: onnx.ValueInfoProto, labels: NDArray[Any]) -> bool:
    """Say whether an output is declared as several float scores per image, and labels are class numbers."""
    kind = output.type.tensor_type
    if kind.elem_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE):
        return False
    behind = [dimension(output, axis) for axis in range(1, len(kind.shape.dim))]
    sizes = [size for size in behind if size != 1]
    numbered = labels.ndim == 1 and labels.dtype.kind in "iu"
    return numbered and len(sizes) == 1 and sizes[0] is not None
