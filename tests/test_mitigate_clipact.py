"""The ClipAct search against a straight-line re-implementation that writes faulty, clipped files."""

import itertools

import numpy as np
import onnx
import pytest
from mitigate_kit import data_of, exposed, images_of, plain_run, residual_net
from onnx import helper
from onnx_zoo import model_of, naively_flipped, random_floats, stored

from ftonnx.datasets import stratified_subset
from ftonnx.errors import DataError, ModelError, UsageError
from ftonnx.export import find_activations
from ftonnx.inject import BitFlipRate, FaultSpace, load_model, unit_rng
from ftonnx.mitigate import AUC_AXES, ClipActSettings, auc_weights, largest_values, search_thresholds
from ftonnx.runtime import FaultyRunError, FaultySession

PAPER_RATES = (1e-7, 1e-6, 3e-6, 1e-5, 3e-5)
FEEDS = {"act1": ("w1", "b1"), "act2": ("w2",), "act3": ("w3", "b3", "w4")}
"""By hand: the stored tensors between each activation of the residual net and those before it."""
RATES = (3e-4, 3e-3, 1e-2)


class TestAucWeights:
    """The trapezoid weights of the area under accuracy over rate."""

    @pytest.mark.parametrize(
        ("axis", "known"),
        [
            ("index", [0.125, 0.25, 0.25, 0.25, 0.125]),
            ("log", [0.2018, 0.2982, 0.2018, 0.2018, 0.0963]),
            ("linear", [0.0151, 0.0485, 0.1505, 0.4515, 0.3344]),
        ],
    )
    def test_the_papers_grid_has_the_known_weights(self, axis, known):
        """Reference P9, to the four digits it gives."""
        assert auc_weights(PAPER_RATES, axis) == pytest.approx(known, abs=5.1e-5)

    def test_published_accuracies_give_the_known_area(self):
        """Table 3 of the paper, no SSL, FP32, ClipAct (reference 1.8)."""
        accuracies = [41.86, 7.41, 0.09]
        assert np.dot(auc_weights([3e-7, 3e-6, 3e-5], "log"), accuracies) == pytest.approx(14.1925)
        assert np.dot(auc_weights([3e-7, 3e-6, 3e-5], "linear"), accuracies) == pytest.approx(5.6486364)

    @pytest.mark.parametrize("axis", AUC_AXES)
    def test_the_weighted_sum_is_numpys_trapezoid_over_the_range(self, axis):
        """On random rates and accuracies; the weights sum to 1."""
        rng = np.random.default_rng(2)
        for count in range(2, 9):
            rates, accuracies = np.sort(10 ** rng.uniform(-8, -2, count)), rng.random(count)
            x = {"log": np.log10(rates), "linear": rates, "index": np.arange(count)}[axis]
            weights = auc_weights(rates, axis)
            assert weights.sum() == pytest.approx(1)
            assert weights @ accuracies == pytest.approx(np.trapezoid(accuracies, x) / (x[-1] - x[0]))


class TestSettings:
    """What can be asked for."""

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"iterations": 0}, "iterations must be 1 or more"), ({"repeats": 0}, "repeats must be 1 or more"),
            ({"batch_size": 0}, "batch_size must be 1 or more"), ({"auc_axis": "ln"}, "use log, linear, index"),
            ({"include_clean": 1.0}, r"must be in \[0, 1\)"), ({"include_clean": -0.1}, r"must be in \[0, 1\)"),
            ({"include_clean": float("nan")}, r"must be in \[0, 1\)"), ({"resample": 0}, "resample must be 1 or more"),
            ({"seed": -1}, "seed must be from 0"), ({"seed": 2**64}, "seed must be from 0"),
            ({"rates": (1e-6,)}, "two or more rates"), ({"rates": ()}, "two or more rates"),
            ({"rates": (1e-6, 1e-6)}, "two or more rates"), ({"rates": (0.0, 1e-6)}, "above 0 on a log axis"),
            ({"rates": (1e-6, 2.0)}, "0 to 1"), ({"rates": (1e-6, float("nan"))}, "0 to 1"),
        ],
    )  # fmt: skip
    def test_values_out_of_range_are_refused(self, settings, message):
        """One line says what is possible."""
        with pytest.raises(UsageError, match=message):
            ClipActSettings(**settings)

    def test_rates_are_sorted_and_zero_is_fine_off_the_log_axis(self):
        """The area needs ascending rates."""
        assert ClipActSettings(rates=(1e-5, 1e-7, 1e-6)).rates == (1e-7, 1e-6, 1e-5)
        assert ClipActSettings(rates=(1e-5, 0.0), auc_axis="linear").rates == (0.0, 1e-5)

    def test_the_defaults_are_the_papers(self):
        """Section IV-E."""
        settings = ClipActSettings()
        assert (settings.iterations, settings.rates, settings.auc_axis) == (10, PAPER_RATES, "log")
        assert settings.most_evaluations == 4 + 9 * 2
        assert ClipActSettings(resample=10).most_evaluations == 40


def clipped_file(model, limits, path):
    """Write a copy whose Relus are followed by ``LessOrEqual, Where`` in standard ONNX."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = []
    copy.graph.initializer.append(stored("nothing", np.float32(0)))
    for node in copy.graph.node:
        nodes.append(node)
        if node.name in limits:
            y = node.output[0]
            node.output[0] = f"{y}/all"
            copy.graph.initializer.append(stored(f"{y}/limit", np.asarray(limits[node.name], np.float32)))
            nodes.append(helper.make_node("LessOrEqual", [f"{y}/all", f"{y}/limit"], [f"{y}/below"]))
            nodes.append(helper.make_node("Where", [f"{y}/below", f"{y}/all", "nothing"], [y]))
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    path.write_bytes(copy.SerializeToString())
    return path


class StraightLine:
    """ClipAct as one reads it in the paper: loops over layers, iterations, thresholds, rates, batches, repeats.

    Takes from ftonnx only where the random flips are, as the given random stream.
    """

    def __init__(self, model, images, labels, path, *, rates, repeats, batch_size, axis, clean_weight, seed):
        self.model, self.images, self.labels, self.path = model, images, labels, path
        self.rates, self.repeats, self.batch_size, self.axis = rates, repeats, batch_size, axis
        self.clean_weight, self.seed = clean_weight, seed

    def accuracy(self, activation, limits, rate):
        """Write a faulty file per pattern and count right answers."""
        right = total = 0
        space = FaultSpace.of(self.model, include=FEEDS[activation])
        names = [target.tensor for target in space.targets]
        assert set(names) == set(FEEDS[activation])
        for batch, start in enumerate(range(0, len(self.labels), self.batch_size)):
            images, labels = (a[start : start + self.batch_size] for a in (self.images, self.labels))
            for repeat in range(self.repeats):
                faults = BitFlipRate(rate).draw(space, unit_rng(self.seed, rate, repeat, batch))
                places = zip(faults.target, faults.element.tolist(), faults.bit.tolist(), strict=True)
                flips = [(names[target], element, bit) for target, element, bit in places]
                file = clipped_file(naively_flipped(self.model, flips), limits, self.path)
                scores = plain_run(file, images, ["y"], optimized=True)["y"]
                right += sum(
                    bool(np.isfinite(row).all() and row.argmax() == label)
                    for row, label in zip(scores, labels, strict=True)
                )
                total += len(labels)
        return right / total

    def score(self, activation, limits):
        """Area under the curve, mixed with the fault-free accuracy."""
        y = [self.accuracy(activation, limits, rate) for rate in self.rates]
        x = {"log": np.log10(self.rates), "linear": self.rates, "index": range(len(self.rates))}[self.axis]
        area = sum((y[i] + y[i + 1]) / 2 * (x[i + 1] - x[i]) for i in range(len(y) - 1)) / (x[-1] - x[0])
        if not self.clean_weight:
            return area
        return (1 - self.clean_weight) * area + self.clean_weight * self.accuracy(activation, limits, 0.0)

    def search(self, largest, iterations):
        """Return the thresholds and every (activation, iteration, threshold, score) that was evaluated."""
        limits, tried = dict(largest), []
        for name in FEEDS:
            top = largest[name]
            low, high, scores = 0.0, float(top) if top.ndim == 0 else 1.0, {}
            for iteration in range(iterations):
                third = (high - low) / 3
                ends = [low, float(np.float32(low + third)), float(np.float32(low + 2 * third)), high]
                for end in ends:
                    if end not in scores:
                        scores[end] = self.score(name, limits | {name: np.float32(end) * top if top.ndim else end})
                        tried.append((name, iteration, end, scores[end]))
                best = max(range(4), key=lambda k: (scores[ends[k]], ends[k]))
                low, high = ends[max(best - 1, 0)], ends[min(best + 1, 3)]
            best = max(scores, key=lambda end: (scores[end], end))
            limits[name] = np.float32(best) * top if top.ndim else np.float32(best)
        return limits, tried


@pytest.fixture(scope="module")
def task():
    """A residual net, 20 images, and its own fault-free answers as labels."""
    model, images = residual_net("relu", seed=20), images_of(20, seed=4) + 2 * images_of(20, (3, 1, 1), seed=5)
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "b5")
    centre = plain_run(model, images)["y"].mean(axis=0)
    bias.CopyFrom(stored("b5", onnx.numpy_helper.to_array(bias) - centre))  # so that every class has its turn
    labels = plain_run(model, images)["y"].argmax(axis=1)
    assert len(set(labels.tolist())) > 2
    return model, images, labels


def searched(model, images, labels, *, scope="node", log=None, progress=None, **settings):
    """Run ftonnx's search with ActMax before it."""
    loaded, data = load_model(model), data_of(images, labels)
    chosen = ClipActSettings(**{"rates": RATES, "repeats": 2, "iterations": 3, "batch_size": 12, "seed": 7} | settings)
    activations = find_activations(model)
    largest = largest_values(loaded, data, activations, scope=scope, batch_size=12)
    found = search_thresholds(loaded, data, activations, largest, chosen, log=log, progress=progress)
    return largest, *found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("axis", "clean_weight", "scope"),
    [("log", 0, "node"), ("linear", 0, "node"), ("index", 0, "node"), ("log", 0.6, "node"), ("log", 0.3, "channel")],
)
def test_the_search_is_the_straight_line_one(task, tmp_path, axis, clean_weight, scope):
    """The same thresholds, the same points in the same order, the same scores."""
    model, images, labels = task
    largest, thresholds, evaluations = searched(*task, scope=scope, auc_axis=axis, include_clean=clean_weight)
    naive = plain_run(exposed(model, ["a2"]), images)
    for name, tensor in (("act1", "a1"), ("act2", "a2"), ("act3", "a3")):
        axes = (0, 2, 3) if scope == "channel" else None
        np.testing.assert_allclose(largest[name].ravel(), naive[tensor].max(axis=axes).ravel(), rtol=2e-6)
    straight = StraightLine(
        model, images, labels, tmp_path / "m.onnx",
        rates=RATES, repeats=2, batch_size=12, axis=axis, clean_weight=clean_weight, seed=7,
    )  # fmt: skip
    limits, tried = straight.search(largest, 3)
    got = [(e.activation, e.iteration, e.threshold, e.score) for e in evaluations]
    assert [each[:3] for each in got] == [each[:3] for each in tried]
    assert [each[3] for each in got] == pytest.approx([each[3] for each in tried], abs=1e-12)
    assert list(thresholds) == list(limits)
    for name, value in limits.items():
        np.testing.assert_array_equal(thresholds[name], value)
        assert thresholds[name].dtype == np.float32
    assert len({each[3] for each in tried}) > 5, "the scores should differ"


class TestWalk:
    """How the search goes through activations, intervals, patterns."""

    @pytest.fixture
    def runs(self, monkeypatch):
        """Record (thresholds, tensors hit, flips) of every run of the searching session."""
        recorded, run = [], FaultySession.run

        def spy(self, batch, faults):
            if self.extra:
                limits = {name.removesuffix(".threshold"): float(value) for name, value in self.extra.items()}
                names = {self._space.targets[t].tensor for t in faults.target}
                flips = (faults.target.tobytes(), faults.element.tobytes(), faults.bit.tobytes())
                recorded.append((limits, names, (batch.tobytes(), flips)))
            return run(self, batch, faults)

        monkeypatch.setattr(FaultySession, "run", spy)
        return recorded

    def test_all_thresholds_of_an_activation_meet_the_same_patterns_in_its_own_weights(self, task, runs):
        """Per evaluation 3 rates x 2 batches x 2 repeats; thresholds found earlier stay, later ones are ActMax."""
        largest, thresholds, evaluations = searched(*task)
        assert len(runs) == 12 * len(evaluations)
        patterns = {name: [] for name in FEEDS}
        for index, evaluation in enumerate(evaluations):
            group = runs[12 * index : 12 * index + 12]
            patterns[evaluation.activation].append([flips for _, _, flips in group])
            place = list(FEEDS).index(evaluation.activation)
            for limits, names, _ in group:
                assert names <= set(FEEDS[evaluation.activation])
                expected = {name: (thresholds if i < place else largest)[name] for i, name in enumerate(FEEDS)}
                assert limits == expected | {evaluation.activation: evaluation.threshold}
        for same in patterns.values():
            assert len(same) > 4
            assert all(each == same[0] for each in same)
            assert len(set(same[0])) == 12, "patterns differ between rates, batches and repeats"
        assert set().union(*(names for _, names, _ in runs)) == set().union(*FEEDS.values())

    def test_ends_that_were_evaluated_are_not_evaluated_again(self, task):
        """Four points, then two per iteration, none of them twice."""
        counted = []
        _, _, evaluations = searched(*task, iterations=5, progress=lambda done, most: counted.append((done, most)))
        points = [(e.activation, e.threshold) for e in evaluations]
        assert len(points) == len(set(points)) == len(counted)
        assert [done for done, _ in counted] == list(range(1, len(counted) + 1))
        assert {most for _, most in counted} == {3 * (4 + 4 * 2)}
        per_iteration = [(e.activation, e.iteration) for e in evaluations]
        assert {per_iteration.count((name, 0)) for name in FEEDS} == {4}
        assert {per_iteration.count((name, i)) for name in FEEDS for i in range(1, 5)} == {2}

    def test_an_interval_that_has_shrunk_to_nothing_ends_the_work(self, task):
        """After 80 iterations float32 has no number between the ends; still no point comes twice."""
        _, thresholds, evaluations = searched(*task, iterations=80, rates=(1e-3, 1e-2), repeats=1)
        points = [(e.activation, e.threshold) for e in evaluations]
        assert len(points) == len(set(points))
        assert len(points) < 3 * 80
        assert all(0 <= value <= 1e6 for value in thresholds.values())

    def test_inner_ends_that_round_to_the_same_number_are_one_point(self, task):
        """Between 0 and the second smallest float32 there is one number only."""
        model, images, labels = task
        tiny = np.finfo(np.float32).smallest_subnormal
        activations = find_activations(model)
        largest = dict.fromkeys((a.name for a in activations), np.asarray(2 * tiny))
        settings = ClipActSettings(iterations=2, rates=RATES, batch_size=20)
        found = search_thresholds(load_model(model), data_of(images, labels), activations[:1], largest, settings)
        assert [e.threshold for e in found[1]] == [0.0, float(tiny), float(2 * tiny)]

    def test_ties_go_to_the_larger_threshold(self, task):
        """Without any effect of faults or clipping all scores are equal, so ActMax stays."""
        model, images, _ = task
        zeros = onnx.ModelProto()
        zeros.CopyFrom(model)
        last = next(tensor for tensor in zeros.graph.initializer if tensor.name == "w5")
        last.CopyFrom(stored("w5", np.zeros((5, 5), np.float32)))
        answers = plain_run(zeros, images)["y"].argmax(axis=1)
        largest, thresholds, evaluations = searched(zeros, images, answers)
        assert {e.score for e in evaluations} == {1.0}
        assert thresholds == largest

    def test_the_result_is_the_best_of_all_points(self, task):
        """Scores are the weighted accuracies, and the threshold is that of the best one."""
        _, thresholds, evaluations = searched(*task, include_clean=0.25)
        weights = auc_weights(RATES, "log")
        for evaluation in evaluations:
            expected = 0.75 * np.dot(weights, evaluation.accuracy) + 0.25 * evaluation.clean
            assert evaluation.score == pytest.approx(expected)
        for name, threshold in thresholds.items():
            best = max((e for e in evaluations if e.activation == name), key=lambda e: (e.score, e.threshold))
            assert threshold == np.float32(best.threshold)

    def test_an_activation_that_no_weights_feed_keeps_its_largest_value(self, task):
        """A second Relu behind a pooling."""
        _, images, _ = task
        node = helper.make_node
        model = model_of(
            [
                node("Conv", ["x", "w"], ["c"]), node("Relu", ["c"], ["r"], name="first"),
                node("GlobalMaxPool", ["r"], ["p"]), node("Relu", ["p"], ["q"], name="second"),
                node("Flatten", ["q"], ["y"]),
            ],
            [("w", random_floats(5, 3, 3, 3))],
        )  # fmt: skip
        labels = plain_run(model, images)["y"].argmax(axis=1)
        largest, thresholds, evaluations = searched(model, images, labels)
        assert {e.activation for e in evaluations} == {"first"}
        assert thresholds["second"] == largest["second"]

    def test_what_the_log_knows_is_not_run_again(self, task, runs):
        """A full log gives the same answer without a run; half a log, with the other half of the runs."""
        log = {}
        whole = searched(*task, log=log)
        before = len(runs)
        again = searched(*task, log=dict(log))
        assert len(runs) == before
        assert again[1:] == whole[1:]
        half = dict(itertools.islice(log.items(), len(log) // 2))
        assert searched(*task, log=half)[1:] == whole[1:]
        assert len(runs) - before == 12 * (len(log) - len(log) // 2)
        assert half == log

    def test_the_seed_decides_and_nothing_else_does(self, task):
        """Twice the same; another seed, other accuracies."""
        first, again, other = (searched(*task, seed=seed)[2] for seed in (1, 1, 2))
        assert first == again
        assert [e.accuracy for e in first] != [e.accuracy for e in other]

    def test_a_run_that_onnx_runtime_refuses_counts_as_wrong(self, task, monkeypatch):
        """Every image of it."""
        run = FaultySession.run

        def refusing(self, batch, faults):
            if self.extra and len(faults):
                raise FaultyRunError("refused")
            return run(self, batch, faults)

        monkeypatch.setattr(FaultySession, "run", refusing)
        assert {e.score for e in searched(*task, rates=(1e-2, 1e-1))[2]} == {0.0}

    def test_a_model_that_insists_on_a_batch_size_gets_it(self, task):
        """The images that fill up the last batch are not counted."""
        model, images, labels = task
        fixed = onnx.ModelProto()
        fixed.CopyFrom(model)
        for value in (*fixed.graph.input, *fixed.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 12
        free = [(e.activation, e.accuracy) for e in searched(model, images, labels)[2]]
        assert [(e.activation, e.accuracy) for e in searched(fixed, images, labels)[2]] == free

    def test_labels_that_the_model_does_not_score_are_refused(self, task):
        """Before any work."""
        model, images, labels = task
        with pytest.raises(DataError, match="the labels name 9 classes, but the model scores only 5"):
            searched(model, images, np.where(labels == labels[0], 8, labels))

    def test_a_model_that_is_no_classifier_is_refused(self, task):
        """Its first output must be (batch, classes)."""
        model, images, labels = task
        maps = onnx.ModelProto()
        maps.CopyFrom(model)
        maps.graph.output[0].CopyFrom(model.graph.output[1])
        del maps.graph.output[1:]
        with pytest.raises(ModelError, match="a classifier's output"):
            searched(maps, images, labels)


class TestResample:
    """Drawing images anew for every iteration."""

    def test_every_iteration_evaluates_all_four_ends_on_its_own_stratified_images(self, task, monkeypatch):
        """An old score is of other images, so it is not used again."""
        model, images, labels = task
        seen, run = {}, FaultySession.run
        now = []

        def spy(self, batch, faults):
            if self.extra:
                now.append(batch)
            return run(self, batch, faults)

        def progress(done, most):
            seen[done] = np.concatenate(now[:1])
            now.clear()

        monkeypatch.setattr(FaultySession, "run", spy)
        now.clear()
        _, _, evaluations = searched(
            model, images, labels, resample=8, batch_size=8, repeats=1, iterations=3, progress=progress
        )
        assert [(e.activation, e.iteration) for e in evaluations] == [
            (name, i) for name in FEEDS for i in range(3) for _ in range(4)
        ]
        data = data_of(images, labels)
        for done, evaluation in enumerate(evaluations, 1):
            expected = next(stratified_subset(data, 8, seed=(7, evaluation.iteration)).batches(8))[0]
            np.testing.assert_array_equal(seen[done], expected)
        assert len({seen[1].tobytes(), seen[5].tobytes(), seen[9].tobytes()}) == 3

    def test_it_is_deterministic(self, task):
        """Twice the same evaluations."""
        first, again = (searched(*task, resample=8, repeats=1)[1:] for _ in range(2))
        assert first == again
