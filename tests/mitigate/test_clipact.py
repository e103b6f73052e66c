"""The ClipAct search against a straight-line re-implementation that writes faulty, clipped files."""

import itertools
import json
import math

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitigate_kit import data_of, exposed, images_of, plain_run, residual_net
from onnx import helper
from onnx_zoo import model_of, naively_flipped, random_floats, stored

from ftonnx.datasets import stratified_subset
from ftonnx.errors import DataError, ModelError, UsageError
from ftonnx.export import clip_activations, feeding_tensors, find_activations, thresholds_as_inputs
from ftonnx.inject import BitFlipRates, FaultSpace, load_model, unit_rng
from ftonnx.mitigate import ClipActSettings, largest_values, search_thresholds
from ftonnx.mitigate.clipact import Evaluation
from ftonnx.runtime import FaultyRunError, FaultySession, HeldBatch, Trials
from ftonnx.stats.curves import AUC_AXES, auc, auc_weights
from ftonnx.tasks import Regression

PAPER_RATES = (1e-7, 1e-6, 3e-6, 1e-5, 3e-5)
FEEDS = {"act1": ("w1", "b1"), "act2": ("w2",), "act3": ("w3", "b3", "w4")}
"""By hand: the stored tensors between each activation of the residual net and those before it."""
RATES = (3e-4, 3e-3, 1e-2)


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
                faults = BitFlipRates(rate).draw(space, unit_rng(self.seed, rate, repeat, batch))
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
        """Area under the curve, mixed with the fault-free accuracy; and the curve."""
        y = [self.accuracy(activation, limits, rate) for rate in self.rates]
        x = {"log": np.log10(self.rates), "linear": self.rates, "index": range(len(self.rates))}[self.axis]
        area = sum((y[i] + y[i + 1]) / 2 * (x[i + 1] - x[i]) for i in range(len(y) - 1)) / (x[-1] - x[0])
        if not self.clean_weight:
            return area, (*y, None)
        clean = self.accuracy(activation, limits, 0.0)
        return (1 - self.clean_weight) * area + self.clean_weight * clean, (*y, clean)

    def search(self, largest, iterations):
        """Return the thresholds and every (activation, iteration, threshold, score, curve), all of it measured."""
        limits, tried = dict(largest), []
        for name in FEEDS:
            top = largest[name]
            low, high, scores = 0.0, float(top) if top.ndim == 0 else 1.0, {}
            for iteration in range(iterations):
                third = (high - low) / 3
                ends = [low, float(np.float32(low + third)), float(np.float32(low + 2 * third)), high]
                for end in ends:
                    if end not in scores:
                        at = limits | {name: np.float32(end) * top if top.ndim else end}
                        scores[end], curve = self.score(name, at)
                        tried.append((name, iteration, end, scores[end], curve))
                best = max(range(4), key=lambda k: (scores[ends[k]], ends[k]))
                low, high = ends[max(best - 1, 0)], ends[min(best + 1, 3)]
            best = max(scores, key=lambda end: (scores[end], end))
            limits[name] = np.float32(best) * top if top.ndim else np.float32(best)
        return limits, tried


def labelled(kind, count, *, seed=20):
    """Return a residual net whose classes all have their turn, images, and its fault-free answers."""
    model, images = residual_net(kind, seed=seed), images_of(count, seed=4) + 2 * images_of(count, (3, 1, 1), seed=5)
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "b5")
    centre = plain_run(model, images)["y"].mean(axis=0)
    bias.CopyFrom(stored("b5", onnx.numpy_helper.to_array(bias) - centre))
    labels = plain_run(model, images)["y"].argmax(axis=1)
    assert len(set(labels.tolist())) > 2
    return model, images, labels


@pytest.fixture(scope="module")
def task():
    """A residual net, 20 images, and its own fault-free answers as labels."""
    return labelled("relu", 20)


def searched(model, images, labels, *, scope="node", log=None, progress=None, memory=None, **settings):
    """Run ftonnx's search with ActMax before it; without memory it runs whole batches only."""
    loaded, data = load_model(model), data_of(images, labels)
    chosen = ClipActSettings(**{"rates": RATES, "repeats": 2, "iterations": 3, "batch_size": 12, "seed": 7} | settings)
    activations = find_activations(model)
    largest = largest_values(loaded, data, activations, scope=scope, batch_size=12)
    found = search_thresholds(
        loaded, data, activations, largest, chosen, log=log, progress=progress, cache_memory=memory
    )
    return largest, *found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("axis", "clean_weight", "scope"),
    [("log", 0, "node"), ("linear", 0, "node"), ("index", 0, "node"), ("log", 0.6, "node"), ("log", 0.3, "channel")],
)
def test_the_search_is_the_straight_line_one(task, tmp_path, axis, clean_weight, scope):
    """The same thresholds and points in the same order; what is measured is the same, what is not was worth less."""
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
    assert [(e.activation, e.iteration, e.threshold) for e in evaluations] == [each[:3] for each in tried]
    best = {name: max(score for activation, *_, score, _ in tried if activation == name) for name in FEEDS}
    for evaluation, (name, *_, score, curve) in zip(evaluations, tried, strict=True):
        for got, true in zip(evaluation.columns, curve, strict=True):
            assert got is None or got == pytest.approx(true, abs=1e-12)
        if evaluation.score is None:
            assert score <= evaluation.at_most + 1e-12
            assert evaluation.at_most <= best[name] + 1e-12
        else:
            assert evaluation.score == evaluation.at_most == pytest.approx(score, abs=1e-12)
    assert list(thresholds) == list(limits)
    for name, value in limits.items():
        np.testing.assert_array_equal(thresholds[name], value)
        assert thresholds[name].dtype == np.float32
    assert len({each[3] for each in tried}) > 5, "the scores should differ"
    assert 0 < sum(e.score is None for e in evaluations) < len(evaluations), "some should be pruned"


def everything(model, data, largest, settings):
    """Return the thresholds of the same search with whole runs of the network for every point at every rate."""
    activations = find_activations(model)
    exposed_model, inputs = thresholds_as_inputs(clip_activations(model, largest)[0])
    space = FaultSpace.of(exposed_model)
    session = FaultySession(exposed_model, space, strategy="live", sample=next(data.batches(4))[0], extra=inputs)

    def accuracy(part, images, rate):
        right = total = 0
        for batch, (x, labels) in enumerate(images.batches(settings.batch_size)):
            for repeat in range(settings.repeats):
                faults = BitFlipRates(rate).draw(part, unit_rng(settings.seed, rate, repeat, batch))
                scores = session.run(x, space.widen(faults, part))[0]
                right += (np.isfinite(scores).all(axis=1) & (scores.argmax(axis=1) == labels)).sum()
                total += len(labels)
        return right / total

    def at(top, end):
        return np.float32(end) * top if top.ndim else np.asarray(end, np.float32)

    chosen, points = {}, 0
    for activation in activations:
        top, part, scores = largest[activation.name], space.only(feeding_tensors(model, activation)), {}
        low, high = 0.0, float(top) if top.ndim == 0 else 1.0
        for iteration in range(settings.iterations):
            images, draw = data, 0
            if settings.resample:
                images, draw = stratified_subset(data, settings.resample, seed=(settings.seed, iteration)), iteration
            third = (high - low) / 3
            grid = [low, float(np.float32(low + third)), float(np.float32(low + 2 * third)), high]
            for end in grid:
                session.extra[f"{activation.name}.threshold"] = at(top, end)
                if (draw, end) not in scores:
                    curve = [accuracy(part, images, rate) for rate in settings.rates]
                    score = auc(settings.rates, curve, settings.auc_axis)
                    if weight := settings.include_clean:
                        score = (1 - weight) * score + weight * accuracy(part, images, 0.0)
                    scores[draw, end] = score
            best = max(range(4), key=lambda k: (scores[draw, grid[k]], grid[k]))
            low, high = grid[max(best - 1, 0)], grid[min(best + 1, 3)]
        _, best = max((score, end) for (_, end), score in scores.items())
        chosen[activation.name] = session.extra[f"{activation.name}.threshold"] = at(top, best)
        points += len(scores)
    return chosen, points * len(settings.columns)


@pytest.mark.slow
@pytest.mark.parametrize("axis", ["log", "linear", "index"])
def test_thresholds_are_those_of_measuring_everything(axis):
    """Small random nets and settings of every kind: the same bits, with fewer measurements."""
    measured = most = 0
    for seed in range(6):
        rng = np.random.default_rng((seed, len(axis)))
        model, images, labels = labelled(("relu", "gelu", "relu6")[seed % 3], 8, seed=seed)
        data = data_of(images, labels)
        settings = ClipActSettings(
            rates=tuple(10.0 ** rng.uniform(-5, -2, int(rng.integers(2, 6)))), auc_axis=axis, seed=seed,
            iterations=int(rng.integers(1, 4)), repeats=int(rng.integers(1, 3)), batch_size=4,
            include_clean=(0, 0.4)[seed % 2], resample=(None, 6)[seed // 2 % 2],
        )  # fmt: skip
        scope = ("node", "channel")[seed // 3]
        largest = largest_values(load_model(model), data, find_activations(model), scope=scope, batch_size=8)
        found, evaluations = search_thresholds(load_model(model), data, find_activations(model), largest, settings)
        expected, whole = everything(model, data, largest, settings)
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, err_msg=f"{seed} {name}")
        measured += sum(value is not None for each in evaluations for value in each.columns)
        most += whole
    assert measured < 0.8 * most


@given(st.data())
def test_no_accuracy_makes_a_score_larger_than_its_bound(data):
    """Not by the last bit: pruning compares exactly."""
    fractions = st.integers(0, 96).map(lambda right: right / 96)
    rates = data.draw(st.lists(st.floats(1e-8, 1e-2), min_size=2, max_size=6, unique_by=math.log10))
    settings = ClipActSettings(
        rates=tuple(rates), auc_axis=data.draw(st.sampled_from(AUC_AXES)), include_clean=data.draw(st.floats(0, 0.99))
    )
    columns = len(settings.columns)
    accuracy = data.draw(st.lists(fractions, min_size=columns, max_size=columns))
    point = Evaluation.unmeasured(settings, ("act", 0, 1.0), 0)
    known, whole = [1.0] * columns, [False] * columns
    for column in data.draw(st.permutations(range(columns))):
        assert point.score is None
        known[column] = accuracy[column]
        whole[column] = True
        before, point = point, point.bounded(settings, known, whole, "")
        assert settings.score(accuracy) <= point.at_most <= before.at_most
    assert point.score == point.at_most == settings.score(accuracy)
    assert settings.score(accuracy) == pytest.approx(np.dot(settings.weights, accuracy))


class Lines(dict):
    """A log that remembers all that was written."""

    def __init__(self):
        super().__init__()
        self.written = []

    def __setitem__(self, key, evaluation):
        """Keep the line."""
        super().__setitem__(key, evaluation)
        self.written.append((key, evaluation))

    def update(self, lines):
        """Write lines again."""
        for key, evaluation in lines:
            self[key] = evaluation


class TestWalk:
    """How the search goes through activations, intervals, patterns."""

    @pytest.fixture
    def runs(self, monkeypatch):
        """Record (thresholds of every variant, tensors hit, images and flips) of every run of the search."""
        recorded, run_each = [], HeldBatch.run_each

        def spy(self, faults, variants):
            feeds = [self._feeds | variant for variant in variants]
            limits = [
                {n.removesuffix(".threshold"): float(v) for n, v in each.items() if n.endswith(".threshold")}
                for each in feeds
            ]
            names = {self._reuse._strategy.memory._space.targets[t].tensor for t in faults.target}
            flips = (faults.target.tobytes(), faults.element.tobytes(), faults.bit.tobytes())
            recorded.append((limits, names, (feeds[0]["x"].tobytes(), flips)))
            return run_each(self, faults, variants)

        monkeypatch.setattr(HeldBatch, "run_each", spy)
        return recorded

    def test_all_thresholds_of_an_activation_meet_the_same_patterns_in_its_own_weights(self, task, runs):
        """3 rates x 2 batches x 2 repeats, empty ones once; thresholds found earlier stay, later ones are ActMax."""
        largest, thresholds, evaluations = searched(*task, memory=0)
        patterns = {name: {} for name in FEEDS}
        for limits, names, pattern in runs:
            if not names:
                continue
            (name,) = (n for n in FEEDS if names <= set(FEEDS[n]))
            place = list(FEEDS).index(name)
            for each in limits:
                expected = {n: (thresholds if i < place else largest)[n] for i, n in enumerate(FEEDS)}
                assert each == expected | {name: each[name]}
                assert (name, each[name]) in {(e.activation, e.threshold) for e in evaluations}
                patterns[name].setdefault(each[name], []).append(pattern)
        for name, by_threshold in patterns.items():
            assert len(by_threshold) > 4
            whole = {e.threshold for e in evaluations if e.activation == name and e.score is not None}
            first, *others = (by_threshold[threshold] for threshold in whole)
            assert all(set(each) == set(first) for each in others)
            assert 6 < len(first) == len(set(first)) <= 12, "patterns differ between rates, batches and repeats"
            assert all(len(each) == len(set(each)) and set(each) <= set(first) for each in by_threshold.values())
        assert set().union(*(names for _, names, _ in runs)) == set().union(*FEEDS.values())

    def test_empty_patterns_are_run_once_per_batch(self, task, runs):
        """At rates that flip nothing all rates and repeats are the fault-free run."""
        _, _, evaluations = searched(*task, rates=(1e-12, 2e-12, 3e-12), repeats=5, iterations=1, memory=0)
        measured = [e for e in evaluations if e.accuracy != (None,) * 3]
        assert len(runs) == 2 * len(measured)
        assert {len(set(e.accuracy)) for e in evaluations} == {1}
        assert {e.score is None for e in measured} == {False}

    def test_ends_that_were_evaluated_are_not_evaluated_again(self, task):
        """Four points, then two per iteration, none of them twice; progress counts their accuracies."""
        counted = []
        _, _, evaluations = searched(*task, iterations=5, progress=lambda done, most: counted.append((done, most)))
        points = [(e.activation, e.threshold) for e in evaluations]
        assert len(points) == len(set(points))
        assert [done for done, _ in counted] == sorted({done for done, _ in counted})
        assert counted[-1][0] == sum(accuracy is not None for e in evaluations for accuracy in e.accuracy)
        most = [each for _, each in counted]
        assert most == sorted(most, reverse=True)
        assert most[0] == 3 * (4 + 4 * 2) * len(RATES)
        assert all(done <= each for done, each in counted)
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
        """Without any effect of faults or clipping all scores are equal, so ActMax stays, and nothing else is run."""
        model, images, _ = task
        zeros = onnx.ModelProto()
        zeros.CopyFrom(model)
        last = next(tensor for tensor in zeros.graph.initializer if tensor.name == "w5")
        last.CopyFrom(stored("w5", np.zeros((5, 5), np.float32)))
        answers = plain_run(zeros, images)["y"].argmax(axis=1)
        largest, thresholds, evaluations = searched(zeros, images, answers)
        assert thresholds == largest
        for evaluation in evaluations:
            whole = evaluation.threshold == largest[evaluation.activation]
            assert evaluation.accuracy == ((1.0,) * 3 if whole else (None,) * 3)
            assert evaluation.score == (1.0 if whole else None)
            assert evaluation.at_most == 1.0

    def test_the_result_is_the_best_of_all_points(self, task):
        """Scores are the weighted accuracies, bounds count what is missing as right; the best one is the threshold."""
        _, thresholds, evaluations = searched(*task, include_clean=0.25)
        weights = auc_weights(RATES, "log")
        for evaluation in evaluations:
            *curve, clean = (1 if value is None else value for value in evaluation.columns)
            without = 0.75 * np.dot(weights, curve) + 0.25 * clean
            assert evaluation.at_most <= without + 1e-12
            if "?" not in evaluation.images:
                assert evaluation.at_most == pytest.approx(without)
            assert evaluation.score == (None if None in evaluation.columns else evaluation.at_most)
        for name, threshold in thresholds.items():
            best = max((e for e in evaluations if e.activation == name), key=lambda e: (e.at_most, e.threshold))
            assert threshold == np.float32(best.threshold)
            assert best.score is not None

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

    @pytest.mark.slow
    @pytest.mark.parametrize("resample", [None, 12])
    def test_what_the_log_knows_is_not_measured_again(self, task, runs, resample):
        """Ended after any measurement and begun anew, the search does the others and ends with the same points."""
        lines = Lines()
        whole = searched(*task, log=lines, resample=resample, memory=0)
        assert len(lines.written) > 2 * len(lines)
        for known in (1, len(lines.written) // 3, 2 * len(lines.written) // 3, len(lines.written)):
            again = Lines()
            again.update(lines.written[:known])
            del runs[:]
            assert searched(*task, log=again, resample=resample, memory=0)[1:] == whole[1:]
            assert again.written == lines.written
            assert bool(runs) == (known < len(lines.written))

    def test_the_seed_decides_and_nothing_else_does(self, task):
        """Twice the same; another seed, other accuracies."""
        first, again, other = (searched(*task, seed=seed)[2] for seed in (1, 1, 2))
        assert first == again
        assert [e.accuracy for e in first] != [e.accuracy for e in other]

    @pytest.mark.parametrize("memory", [0, None])
    def test_a_run_that_onnx_runtime_refuses_counts_as_wrong(self, task, monkeypatch, memory):
        """Every image of it, in whole runs and in pieces."""
        run_each = HeldBatch.run_each

        def refused(self, golden, faults):
            raise FaultyRunError("refused")

        monkeypatch.setattr(Trials, "faulty", refused)

        def refusing(self, faults, variants):
            if len(faults):
                raise FaultyRunError("refused")
            yield from run_each(self, faults, variants)

        monkeypatch.setattr(HeldBatch, "run_each", refusing)
        evaluations = searched(*task, rates=(1e-2, 1e-1), memory=memory)[2]
        assert {e.score for e in evaluations} <= {0.0, None}
        assert max(e.at_most for e in evaluations) == 0.0

    def test_rows_that_onnx_runtime_refuses_are_run_as_whole_batches(self, task, monkeypatch):
        """They may be of several patterns, and whole runs tell which was refused."""
        expected = searched(*task)
        asked, outputs = [], Trials.outputs

        def refused(self, rows, shared):
            asked.append(shared)
            # the two batches are compared with whole runs first
            if len(asked) > 2:
                raise FaultyRunError("refused")
            return outputs(self, rows, shared)

        monkeypatch.setattr(Trials, "outputs", refused)
        assert searched(*task)[1:] == expected[1:]
        assert len(asked) == 2 + len(FEEDS)

    def test_what_thresholds_and_patterns_make_alike_of_an_image_is_run_once(self, task, monkeypatch):
        """Fewer runs, and everything found is the same as where no two rows are known to be alike."""
        runs = []
        outputs = Trials.outputs
        monkeypatch.setattr(Trials, "outputs", lambda self, *given: runs.append(1) or outputs(self, *given))
        found = searched(*task)
        shared = len(runs)
        runs.clear()
        numbers = itertools.count()

        def unlike(self, rows):
            return [str(next(numbers)).encode() for _ in next(iter(rows.values()))]

        monkeypatch.setattr(Trials, "keys", unlike)
        assert searched(*task)[1:] == found[1:]
        assert shared < 0.9 * len(runs)

    def test_little_memory_gives_the_same_answer(self, task):
        """Batches that are not kept are run again."""
        model, images, labels = task
        activations = find_activations(model)
        data = data_of(images, labels)
        largest = largest_values(load_model(model), data, activations, scope="node", batch_size=12)
        settings = ClipActSettings(iterations=3, rates=RATES, batch_size=4)
        found = [
            search_thresholds(
                load_model(model), data_of(images, labels), activations, largest, settings, cache_memory=n
            )
            for n in (0, 10_000, 10**9)
        ]
        assert found[0][1] == found[1][1] == found[2][1]

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
        seen, run_each = [], HeldBatch.run_each

        def spy(self, faults, variants):
            seen.append(self._feeds["x"])
            return run_each(self, faults, variants)

        monkeypatch.setattr(HeldBatch, "run_each", spy)
        _, _, evaluations = searched(model, images, labels, resample=8, batch_size=8, repeats=1, iterations=3, memory=0)
        assert [(e.activation, e.iteration) for e in evaluations] == [
            (name, i) for name in FEEDS for i in range(3) for _ in range(4)
        ]
        data = data_of(images, labels)
        expected = [next(stratified_subset(data, 8, seed=(7, i)).batches(8))[0].tobytes() for i in range(3)]
        assert [key for key, _ in itertools.groupby(batch.tobytes() for batch in seen)] == expected * len(FEEDS)

    def test_it_is_deterministic(self, task):
        """Twice the same evaluations."""
        first, again = (searched(*task, resample=8, repeats=1)[1:] for _ in range(2))
        assert first == again


def test_a_search_by_another_task_goes_by_its_headline(task):
    """Here by what lies within a tolerance of the fault-free scores: all of it where nothing is clipped."""
    model, images, _ = task
    name = model.graph.output[0].name
    scores = plain_run(model, images)[name].astype(np.float64)
    chosen = {"iterations": 1, "include_clean": 0.5, "task": Regression(tolerance=0.01), "output": name}
    _, _, evaluations = searched(model, images, scores, **chosen)
    known = [each for each in evaluations if each.clean is not None]
    assert max(each.clean for each in known) == 1
    assert min(each.clean for each in known if each.threshold == 0) < 1
    settings = ClipActSettings(**chosen)
    assert ClipActSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
