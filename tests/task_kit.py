"""What every task keeps to; a new leaf inherits it by one class of a few lines in ``tasks/test_contract.py``.

class TestMyTask(TaskContract):
    task = MyTask()
    golden = np.array(...)
    labels = np.array(...)

``golden`` are the fault-free outputs of four images or more; some of them should be right and some wrong, and the
first two should not be alike. Faulty outputs are made of them.
"""

import dataclasses
import json
import pickle

import numpy as np
import pytest

from ftonnx.errors import ModelError, UsageError
from ftonnx.tasks import SIZE, TASKS, Counts, parse_task, task_from_dict


class TaskContract:
    """Tests of one task, on outputs of one batch.

    Attributes:
        task: the task.
        golden: outputs without faults, whose first axis is that of the images.
        labels: one for each image.
        refused: outputs that fit no images at all, besides those that nothing takes.
        of_pairs: counts of pairs of images of one batch, which do not add up over batches.
    """

    task = None
    golden = None
    labels = None
    refused = ()
    of_pairs = ()

    @property
    def classes(self):
        """The number of classes that the data know; None where labels are no class numbers."""
        return int(self.labels.max()) + 1 if self.labels.ndim == 1 and self.labels.dtype.kind in "iu" else None

    def faulty(self):
        """Outputs of runs with faults: of other images, all zero, one image damaged, one bit flipped, not finite."""
        runs = [np.roll(self.golden, 1, axis=0), np.zeros_like(self.golden), damaged(self.golden, 0)]
        runs.append(one_bit_flipped(self.golden))
        if self.golden.dtype.kind == "f":
            runs += [damaged(self.golden, value) for value in (np.nan, np.inf, -np.inf)]
            runs.append(np.full_like(self.golden, np.nan))
        return runs

    def judge(self):
        """What counts the outcomes of the whole batch."""
        return self.task.judge(self.golden, self.labels)

    def found(self):
        """The outcomes of all runs, that without faults and that without outputs among them."""
        judge = self.judge()
        return [judge.count(self.golden), judge.crashed(), *map(judge.count, self.faulty())]

    def test_the_registry_finds_it_by_its_name(self):
        """Files and the command line know nothing but the name."""
        assert type(self.task) in TASKS
        assert [kind.name for kind in TASKS].count(self.task.name) == 1

    def test_json_gives_back_an_equal_value(self):
        """Through text, where a tuple becomes a list."""
        assert task_from_dict(json.loads(json.dumps(self.task.to_dict()))) == self.task

    def test_the_command_line_can_name_it_with_its_settings(self):
        """As in ``name:key=value``; a text stands as it is, without quotes."""
        settings = self.task.to_dict()
        name = settings.pop("name")
        written = [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in settings.items()]
        assert parse_task(f"{name}:{','.join(written)}") == self.task

    def test_judged_image_by_image_it_counts_the_same(self):
        """Where it says that it judges images alone; of others nothing is said of an image."""
        judge = self.judge()
        for run in [self.golden, *self.faulty()]:
            hits = self.task.hits(run, self.labels)
            if not self.task.judges_images:
                assert hits is None
                continue
            assert hits.sum() == judge.count(run)[self.task.main.count]
            alone = [self.task.hits(run[i : i + 1], self.labels[i : i + 1])[0] for i in range(len(run))]
            assert alone == hits.tolist()

    def test_it_is_a_value_that_shows_its_settings(self):
        """Frozen, and its repr names every field."""
        assert dataclasses.is_dataclass(self.task)
        for setting in dataclasses.fields(self.task):
            assert f"{setting.name}=" in repr(self.task)
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(self.task, setting.name, None)

    def test_a_setting_that_it_does_not_have_is_refused_in_one_line(self):
        """Whether it comes from a file or from the command line."""
        with pytest.raises(UsageError, match="no_such_setting") as caught:
            task_from_dict(self.task.to_dict() | {"no_such_setting": 1})
        assert len(str(caught.value).splitlines()) == 1

    def test_other_processes_can_be_given_it_and_give_back_its_counts(self):
        """Workers get a pickled task and send pickled counts."""
        other = pickle.loads(pickle.dumps(self.task))
        assert other == self.task
        outputs = self.faulty()[0]
        assert other.count(outputs, self.golden, self.labels) == self.judge().count(outputs)
        for counts in self.found():
            assert pickle.loads(pickle.dumps(counts)) == counts

    def test_its_counts_are_those_that_it_names_in_their_order(self):
        """Plain integers from 0, which the store can write; all runs of a batch are judged on as many."""
        for counts in self.found():
            assert tuple(counts) == self.task.counts
            assert {type(value) for value in counts.values()} == {int}
            assert min(counts.values()) >= 0
        assert len({counts[SIZE] for counts in self.found()}) == 1
        assert self.found()[0][SIZE] > 0

    def test_the_headline_and_the_harm_are_among_what_is_shown(self):
        """The headline first; everything that is shown, told or listed is a fraction or a count of the task's."""
        task = self.task
        assert task.shown[0] == task.headline
        assert {task.headline, task.harm, *task.shown, *task.golden, *task.outcomes} <= set(task.fractions)
        assert {*task.per_fault, *task.per_fault_brief} <= {*task.fractions, *task.counts}
        assert task.headline != task.harm

    def test_every_fraction_of_every_run_lies_between_0_and_1(self):
        """Also of runs that gave nothing; a fraction whose whole is empty has no value."""
        for counts in self.found():
            for name, fraction in self.task.fractions.items():
                assert 0 <= fraction.of(counts) <= 1, name

    def test_the_parts_of_every_run_sum_to_1(self):
        """One share for each part, none of them negative."""
        for counts in self.found():
            fractions = {name: fraction.of(counts) for name, fraction in self.task.fractions.items()}
            shares = self.task.shares(fractions)
            assert len(shares) == len(self.task.parts)
            assert min(shares) >= 0
            assert sum(shares) == pytest.approx(1)

    def test_a_run_that_equals_the_golden_one_is_masked_and_does_no_harm(self):
        """Whatever the labels say of it."""
        counts = self.judge().count(self.golden.copy())
        assert counts["masked"] == counts[SIZE]
        assert self.task.fractions[self.task.harm].of(counts) == 0

    def test_a_run_that_gives_other_outputs_is_not_masked(self):
        """One bit is enough."""
        judge = self.judge()
        for outputs in self.faulty():
            assert judge.count(outputs)["masked"] < judge.count(self.golden)[SIZE]

    def test_a_run_without_outputs_has_nothing_right_and_nothing_masked(self):
        """It is a detected error of the whole batch."""
        counts = self.judge().crashed()
        assert self.task.main.of(counts) == 0
        assert counts["masked"] == 0

    def test_the_counts_of_two_half_batches_are_those_of_the_whole(self):
        """Batches are a matter of memory: what is counted of an image does not depend on its neighbours."""
        middle = len(self.labels) // 2
        halves = slice(None, middle), slice(middle, None)
        judges = [self.task.judge(self.golden[part], self.labels[part]) for part in halves]
        for outputs in (self.golden, *self.faulty()):
            parts = [judge.count(outputs[part]) for judge, part in zip(judges, halves, strict=True)]
            assert self._added(Counts.total(parts)) == self._added(self.judge().count(outputs))
        crashed = Counts.total([judge.crashed() for judge in judges])
        assert self._added(crashed) == self._added(self.judge().crashed())

    def _added(self, counts):
        return {name: value for name, value in counts.items() if name not in self.of_pairs}

    def test_judging_changes_nothing(self):
        """Neither what is judged nor what is judged by; a second look finds the same."""
        before = self.golden.tobytes(), self.labels.tobytes()
        judge = self.judge()
        for outputs in self.faulty():
            seen = outputs.tobytes()
            assert judge.count(outputs) == judge.count(outputs)
            assert outputs.tobytes() == seen
        assert (self.golden.tobytes(), self.labels.tobytes()) == before

    def test_outputs_that_fit_are_taken(self):
        """The golden ones, as many as there are images."""
        self.task.check(self.golden, self.labels, self.classes)

    def test_outputs_of_another_shape_are_refused_in_one_line(self):
        """Too few images or too many, a single number, texts, or no array at all."""
        texts = np.full(self.golden.shape, "a")
        anyones = (self.golden[1:], np.repeat(self.golden, 2, axis=0), self.golden[0].flat[0], texts, ["a"], None)
        for outputs in (*anyones, *self.refused):
            with pytest.raises(ModelError) as caught:
                self.task.check(outputs, self.labels, self.classes)
            assert len(str(caught.value).splitlines()) == 1

    def test_it_says_what_its_numbers_mean(self):
        """In one paragraph, and for every part, fraction and run."""
        counts = self.found()[-1]
        shares = {name: f"<{name}>" for name in self.task.fractions}
        texts = [self.task.clean_words("98 %", "360"), self.task.counts_words(counts), self.task.outcome_words(shares)]
        assert "98 %" in texts[0]
        assert "360" in texts[0]
        assert str(counts[SIZE]) in texts[1]
        assert f"<{self.task.harm}>" in texts[2]
        assert all(len(text.splitlines()) == 1 for text in texts)
        assert len(self.task.meaning.splitlines()) <= 1
        golden = self.judge().count(self.golden)
        assert tuple(self.task.golden_fractions(golden)) == self.task.golden


def damaged(golden, value):
    """Return outputs whose first image is one value everywhere."""
    outputs = golden.copy()
    outputs[0] = value
    return outputs


def one_bit_flipped(golden):
    """Return outputs whose last number has another lowest bit."""
    outputs = np.ascontiguousarray(golden).copy()
    words = outputs.view(f"u{outputs.dtype.itemsize}").reshape(-1)
    words[-1] ^= words.dtype.type(1)
    return outputs
