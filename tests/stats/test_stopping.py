"""Campaigns that end by themselves are right when they do: docs/stopping_study.py in small."""

from importlib import import_module
from pathlib import Path

import pytest

from ftonnx.gates import Goal
from ftonnx.stats import anytime_mean

DOCS = Path(__file__).parents[2] / "docs"
RUNS = 15


@pytest.fixture
def study(monkeypatch):
    """The script of the page on statistics."""
    monkeypatch.syspath_prepend(DOCS)
    return import_module("stopping_study")


def test_intervals_hold_when_a_precision_is_reached(study):
    """And are as narrow as was asked for, no sooner."""
    rng = study.np.random.default_rng(5)
    population = study.spread(0.9, 0.3)
    covered = 0
    for _ in range(RUNS):
        rounds = study.ended_at(population, 0.05, rng)
        found = anytime_mean(rounds / study.SHARING, study.SIZES, golden=study.GOLDEN / study.SHARING)
        assert found.high - found.low <= 0.1
        covered += found.low <= population.truth <= found.high
    assert covered >= RUNS - 2


@pytest.mark.parametrize(("distance", "right"), [(0.05, "FAIL"), (-0.05, "PASS")])
def test_gates_are_right_where_the_limit_is_not_the_truth(study, distance, right):
    """Five points away they decide, and what they print holds."""
    population = study.spread(0.9, 0.3)
    goal = Goal("min_accuracy", population.truth + distance, study.RATE)
    found = [study.verdict_on(population, goal, seed) for seed in range(RUNS)]
    assert sum(each.verdict == right for each in found) >= RUNS - 1
    assert sum(study.covers(each, population.truth) for each in found) >= RUNS - 2
