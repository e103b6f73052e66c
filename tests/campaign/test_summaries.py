"""What is said of a campaign is a function of its counts, whichever processor sums them up and whatever ran it."""

import json
import os
import subprocess
import sys

import pytest

import ftonnx
from ftonnx.campaign import CampaignResult
from ftonnx.datasets import load_dataset
from ftonnx.stats.differences import Difference
from ftonnx.stats.estimate import Estimate
from tests.campaign_kit import summary

KERNELS = ("Haswell", "Prescott", "SkylakeX")
"""Kernels of numpy's OpenBLAS, which add up in different orders."""

SETTINGS = {"rates": [1e-6, 1e-5], "repeats": 20, "threads": 1}

SUMMED_UP = """
import json, sys
from ftonnx.campaign import CampaignResult, compare
found = CampaignResult.open(sys.argv[1]).to_dict()
del found["run"]
new = CampaignResult.open(sys.argv[1], question="new-images").to_dict()["rates"]
print(json.dumps([found, new, compare([sys.argv[1], sys.argv[2]]).to_dict()]))
"""


def run(folder, **settings):
    """Run the embedded model on the data set that comes with it."""
    return ftonnx.evaluate("digits", load_dataset("digits", limit=120), **(SETTINGS | settings), results=folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two finished campaigns of different patterns."""
    place = tmp_path_factory.mktemp("summaries")
    for seed in (0, 1):
        run(place / f"{seed}", seed=seed, strategy="live")
    return place / "0", place / "1"


def test_the_result_part_has_the_same_bytes_whatever_kernels_add_up(folders):
    """Of the campaign for these and for new images, and of a comparison."""
    said = set()
    for kernel in KERNELS:
        done = subprocess.run(
            [sys.executable, "-c", SUMMED_UP, *folders],
            env=os.environ | {"OPENBLAS_CORETYPE": kernel},
            capture_output=True,
            check=True,
        )
        said.add(done.stdout)
    assert len(said) == 1


def test_the_result_part_has_the_same_bytes_whatever_strategy_ran(folders, tmp_path):
    """And whatever number of threads was asked for; ``run`` tells them apart."""
    other = run(tmp_path / "r", strategy="rebuild", threads=2)
    first = CampaignResult.open(folders[0])
    assert summary(tmp_path / "r") == summary(folders[0])
    assert first.to_dict()["run"]["engine"]["strategy"] == "live"
    assert other.to_dict()["run"]["engine"]["strategy"] == "rebuild"
    assert other.to_dict()["run"]["settings"]["threads"] == 2


def test_a_mean_stays_within_its_limits_when_all_are_rounded():
    """Also where they are equal, or nearly so."""
    for value in (1 / 3, 2 / 3, 1e-9 / 7, 1.0):
        for width in (0.0, 1e-17, 1e-10):
            found = Estimate(value, value - width, value + width).to_dict()
            assert found["low"] <= found["mean"] <= found["high"]


def test_small_p_values_keep_their_digits():
    """Only fractions and their limits end at the twelfth decimal."""
    found = Difference(
        mean=1 / 3, low=3e-17, high=2 / 3, confidence=0.95, p_value=1e-13 / 3, p_sign_flip=None, pairs=9
    ).to_dict()
    assert (found["mean"], found["low"], found["p_value"]) == (0.333333333, 0.0, 3.33333333e-14)
    assert json.loads(json.dumps(found)) == found
