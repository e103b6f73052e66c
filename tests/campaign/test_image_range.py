"""Ranges of images: parts of a campaign whose batches are whole, which together are all of it."""

import pytest
from campaign_kit import cli, cli_json, counts, faults, rows, summary
from hypothesis import given
from hypothesis import strategies as st

import ftonnx
from ftonnx.campaign import CampaignResult, merge
from ftonnx.campaign.plan.image_range import ImageRange
from ftonnx.campaign.plan.settings import Settings
from ftonnx.datasets import load_dataset
from ftonnx.errors import IncompleteError, UsageError
from ftonnx.gates.goals import Goal
from ftonnx.inject import EveryBit, FaultCount

pytestmark = pytest.mark.usefixtures("temporary_folder")

FAST = {"strategy": "live", "threads": 1, "repeats": 3}
RATES = [1e-5, 1e-4]
RUN = ("--data", "digits", "--limit", "60", "--strategy", "live", "--threads", "1", "--repeats", "3", "--rate", "1e-5")


def run(results, what=None, **options):
    """Run a campaign on sixty digits, eight images per pattern: 48 units at two rates, or injections."""
    data = load_dataset("digits", limit=60)
    if what is None:
        return ftonnx.evaluate("digits", data, rates=RATES, results=results, **(FAST | options))
    return ftonnx.evaluate("digits", data, what, results=results, **(FAST | {"repeats": None} | options))


@given(st.data(), st.integers(1, 100), st.integers(1, 9), st.integers(1, 5))
def test_ranges_that_follow_each_other_are_the_campaign(data, samples, size, units_per_batch):
    """Every unit of every image once, wherever the data set is cut between batches."""
    cuts = sorted(data.draw(st.sets(st.sampled_from(range(0, samples, size)))) - {0})
    ranges = [ImageRange(*limits) for limits in zip([0, *cuts], [*cuts, samples], strict=True)]
    found = []
    for each in ranges:
        share = each.share(samples=samples, images_per_batch=size, units_per_batch=units_per_batch)
        units = [(batch, number) for batch in share.batches for number in share.units_of(batch)]
        assert share.units == len(units)
        images = {image for batch, _ in units for image in range(batch * size, min(samples, (batch + 1) * size))}
        assert images == set(range(each.start, each.stop))
        found += units
    batches = range((samples - 1) // size + 1)
    assert found == [(batch, number) for batch in batches for number in range(units_per_batch)]


@pytest.mark.parametrize(
    ("text", "limits", "again"),
    [("8:16", (8, 16), "8:16"), (":16", (0, 16), "0:16"), ("8:", (8, None), "8:"), (":", (0, None), "0:")],
)
def test_a_range_is_written_as_a_slice(text, limits, again):
    """Either side may be left out."""
    found = Settings(images=text).images
    assert found == ImageRange(*limits)
    assert str(found) == again


@pytest.mark.parametrize("text", ["16", "8:8", "16:8", "-8:16", "8:-1", "0:16:2", "a:b", "", "1e2:"])
def test_what_is_no_range_is_refused(text):
    """Steps and negative numbers too."""
    with pytest.raises(UsageError, match="`images`: A:B"):
        Settings(images=text)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            "5:16",
            "`images=5:16` cuts a batch of 8 images, which meet a fault pattern together: 0 or 8 was expected in ",
        ),
        ("8:15", "8 or 16 was expected in place of 15"),
        ("8:59", "56 or 60 was expected in place of 59"),
        ("56:61", "`images=56:61` was asked for, and the data set has 60 images, numbered from 0"),
        ("60:", "`images=60:` was asked for, and the data set has 60 images"),
    ],
)
def test_a_range_that_does_not_fit_is_refused_with_those_that_do(tmp_path, images, message):
    """Before anything is run."""
    with pytest.raises(UsageError, match=message):
        run(tmp_path / "r", images=images)
    assert not (tmp_path / "r").exists()


def test_ranges_are_merged_to_the_campaign(tmp_path):
    """Every count and every interval, whatever the order; a range has its own golden runs, and the first."""
    whole = run(tmp_path / "whole").results
    done = [run(tmp_path / name, images=images) for name, images in (("a", ":16"), ("b", "16:40"), ("c", "40:"))]
    assert [len(counts(result.results)) for result in done] == [12, 18, 18]
    assert all(not result.complete for result in done)
    golden = [[row["batch"] for row in rows(result.results, "golden")] for result in done]
    assert golden == [[0, 1], [0, 2, 3, 4], [0, 5, 6, 7]]
    found = merge([tmp_path / "c", tmp_path / "a", tmp_path / "b"], tmp_path / "all")
    assert (found.units, dict(found.missing)) == (48, {})
    assert counts(tmp_path / "all") == counts(whole)
    assert summary(tmp_path / "all") == summary(whole)
    assert CampaignResult.open(tmp_path / "all").complete


@pytest.mark.parametrize(
    ("what", "options", "injections"),
    [(FaultCount(1), {"repeats": 20}, 20), (EveryBit(), {"include": "linear.bias", "bits": [30, 31]}, 20)],
)
def test_ranges_of_injections_are_merged_to_the_campaign(tmp_path, what, options, injections):
    """All images meet an injection, each range's images on its own machine; its faults are recorded once."""
    whole = run(tmp_path / "whole", what, batch_size=16, **options).results
    parts = [run(tmp_path / name, what, batch_size=16, images=name, **options).results for name in ("0:32", "32:60")]
    with pytest.raises(IncompleteError, match=f"{2 * injections} units are missing: {injections} of batch 2, "):
        merge(parts[:1], tmp_path / "all")
    assert merge(parts[:1], tmp_path / "some", partial=True).missing == {2: injections, 3: injections}
    merge(parts, tmp_path / "all")
    assert counts(tmp_path / "all") == counts(whole)
    assert faults(tmp_path / "all") == faults(whole)
    assert summary(tmp_path / "all") == summary(whole)


def test_ranges_and_shards_go_together(tmp_path):
    """They are parts of one campaign; what two have done agrees."""
    parts = [run(tmp_path / "a", images="0:32").results, run(tmp_path / "b", shard="2/2").results]
    parts.append(run(tmp_path / "c", images="16:40").results)
    assert merge(parts, tmp_path / "all").missing == {}
    assert counts(tmp_path / "all") == counts(run(tmp_path / "whole").results)


def test_workers_run_a_range_and_a_range_goes_on(tmp_path):
    """Its progress is that of its own units."""
    run(tmp_path / "r", images=":16")
    told = []
    run(tmp_path / "r", images="16:32", jobs=2, progress=lambda done, units: told.append((done, units)))
    assert (told[0], told[-1]) == ((0, 12), (12, 12))
    alone = run(tmp_path / "alone", images=":32").results
    assert counts(tmp_path / "r") == counts(alone)


def test_what_ranges_would_decide_differently_is_refused():
    """As with shards; and a part is said once."""
    for options in ({"precision": 0.1}, {"budget": "5units"}):
        with pytest.raises(UsageError, match="no `images` was expected with `precision`, `budget` or a gate"):
            Settings(images=":8", **options)
    with pytest.raises(UsageError, match=r"every part would measure another `images_per_pattern`.*with `images`"):
        Settings(images=":8", images_per_pattern="auto")
    with pytest.raises(UsageError, match="said once: either `shard` or `images`"):
        Settings(images=":8", shard="1/2")
    goal = Goal("min_accuracy", 0.5, 1e-9)
    with pytest.raises(UsageError, match="no `images` was expected"):
        ftonnx.gate("digits", load_dataset("digits", limit=60), [goal], images=":8")


def test_the_command_line_runs_a_range(tmp_path, monkeypatch):
    """It says what comes next, and forecasts its share."""
    monkeypatch.chdir(tmp_path)
    done = cli("inject", *RUN, "--images", "8:32", "--results", "r")
    assert done.code == 0
    assert "9 units of images 8:32 are done; put the parts together with ftonnx merge" in done.err
    assert {batch for _, _, batch in counts("r")} == {1, 2, 3}
    forecast = cli_json("inject", *RUN, "--images", "8:32", "--results", "x", "--dry-run")
    assert (forecast["units"], forecast["batches"]) == (9, 3)
    assert cli("merge", "r", "-o", "all").code == 5
    assert "15 units are missing: 3 of batch 0" in cli("merge", "r", "-o", "all").err
    without = cli("inject", *RUN, "--images", ":8")
    assert (without.code, "--results DIR is missing: with --images, ftonnx merge" in without.err) == (2, True)
    wrong = cli("inject", *RUN, "--images", "8:30", "--results", "x")
    assert (wrong.code, "--images 8:30 cuts a batch of 8 images" in wrong.err) == (2, True)
    assert "24 or 32 was expected in place of 30" in wrong.err
