"""Campaigns that grow in their folder: to exactly what the larger one would have been from the start."""

import json
import signal
import sqlite3

import pytest
from campaign_kit import (
    BASE,
    DIGITS,
    cli,
    cli_json,
    contents,
    counts,
    digits_batches,
    edit,
    edit_header,
    finish,
    held,
    one_error_line,
    process,
    rows,
    wait_for_units,
)

from ftonnx.campaign import Campaign, Settings, check_results, evaluate, merge, replay
from ftonnx.campaign.store.folder import Store
from ftonnx.datasets import as_dataset
from ftonnx.errors import StoreError
from ftonnx.gates import gate
from ftonnx.inject import BitFlipRates, FaultCount, PerLayer, load_model

FEW = {"rates": [1e-5, 1e-4], "repeats": 2, "images_per_pattern": 8, "strategy": "live", "threads": 1}
TWO = ("--rate", "1e-5", "--rate", "1e-4")
THREE = (*TWO, "--rate", "3e-5")
LIMIT = ("--limit", "32")


def run(folder, *, data=None, **changed):
    """Run, resume or grow the small campaign of these tests, of 3 batches."""
    return evaluate("digits", data or digits_batches(24, 24), **(FEW | changed), results=folder)


def command(folder, *arguments):
    """Run the command in this process; return the JSON without the folder's name."""
    found = cli_json("inject", *BASE, *LIMIT, *arguments, "--results", folder)
    del found["run"]["results"]
    return json.dumps(found)


def mark(folder):
    """Make recorded units known again: nobody measures a negative time."""
    edit(folder, "UPDATE units SET wall_ns = -1")


def marked(folder):
    """Return the units that were not run again."""
    return {(row["rate"], row["repeat"], row["batch"]) for row in rows(folder) if row["wall_ns"] == -1}


@pytest.mark.parametrize(
    ("before", "after", "whole"),
    [
        (("--repeats", "2"), ("--repeats", "3"), ("--repeats", "3")),
        (("--rate", "1e-5"), ("--rate", "1e-5", "--rate", "3e-6"), ("--rate", "3e-6", "--rate", "1e-5")),
        (
            ("--rate", "1e-5", "--rate", "1e-4"),
            ("--rate", "3e-5"),
            THREE,
        ),
        (("--limit", "16"), ("--limit", "40"), ("--limit", "40")),
        (("--faults-per-run", "2", "--repeats", "3"), ("--faults-per-run", "2", "--repeats", "5"), None),
        (
            ("--rate", "1e-5", "--repeats", "3"),
            ("--rate", "1e-4"),
            ("--rate", "1e-5", "--rate", "1e-4", "--repeats", "3"),
        ),
        (("--rate", "1e-5", "--images-per-pattern", "4"), ("--rate", "1e-4"), None),
    ],
    ids=str,
)
def test_a_grown_campaign_gives_what_one_run_would_have_given(tmp_path, before, after, whole):
    """Byte for byte, and nothing that is recorded is run again."""
    usual = () if "--repeats" in (*before, *after) else ("--repeats", "2")
    whole = whole or (("--rate", "1e-4", *before) if "--rate" in before else after)
    command(tmp_path / "r", *before, *usual)
    mark(tmp_path / "r")
    first = marked(tmp_path / "r")
    assert first
    grown = command(tmp_path / "r", *after)
    assert marked(tmp_path / "r") == first < set(counts(tmp_path / "r"))
    assert grown == command(tmp_path / "whole", *whole, *usual)
    assert counts(tmp_path / "r") == counts(tmp_path / "whole")


def test_what_is_left_open_is_as_recorded(tmp_path):
    """Repeats and images per pattern; the rates that are asked for come to those that are there."""
    run(tmp_path / "r", repeats=3, images_per_pattern=4)
    before = contents(tmp_path / "r")
    again = run(tmp_path / "r", repeats=None, images_per_pattern=None, rates=[1e-4])
    assert contents(tmp_path / "r")["units.sqlite"] == before["units.sqlite"]
    assert again.complete
    assert [rate.rate for rate in again.rates] == [1e-5, 1e-4]
    assert (again.settings.repeats, again.settings.images_per_pattern) == (3, 4)


@pytest.mark.parametrize("other", [{"format": "q15.16"}, {"roles": ("bias", "weight")}, {"exclude": ("nothing*",)}])
def test_the_same_bits_may_be_asked_for_in_another_way(tmp_path, other):
    """By the usual format's name, for one: no unit is run again."""
    run(tmp_path)
    mark(tmp_path)
    run(tmp_path, **other)
    assert len(marked(tmp_path)) == 12
    with pytest.raises(StoreError, match="asked for format ieee"):
        run(tmp_path, format="ieee")


def test_an_early_end_needs_all_repeats_that_there_may_be(tmp_path):
    """A campaign of few repeats goes on until it is precise enough; back again it cannot."""
    run(tmp_path / "r")
    found = run(tmp_path / "r", repeats=None, budget="30units")
    assert found.stopping is not None
    assert len(rows(tmp_path / "r")) == 30
    said = (
        "recorded with 10,000 repeats at most, as a gate, `precision` and `budget` have it, asked for 10 repeats: give"
    )
    with pytest.raises(StoreError, match=said):
        run(tmp_path / "r", repeats=None)


def test_injections_that_are_numbered_tensor_by_tensor_do_not_grow(tmp_path):
    """Of more per tensor, every one would be another fault."""
    data = digits_batches(24, 24)
    settings = {"strategy": "live", "threads": 1}
    evaluate("digits", data, PerLayer(1), results=tmp_path / "r", **settings)
    said = "recorded with per layer 1, asked for per layer 2; recorded with .* repeats, asked for"
    with pytest.raises(StoreError, match=said):
        evaluate("digits", data, PerLayer(2), results=tmp_path / "r", **settings)


def test_images_are_added_in_whole_batches_of_the_same_data(tmp_path):
    """The last batch of the smaller campaign must stay what it is; other data never grow."""
    folder = tmp_path / "r"
    assert cli("inject", *BASE, "--limit", "20", "--rate", "1e-5", "--repeats", "2", "--results", folder).code == 0
    before = contents(folder)
    refused = cli("inject", *BASE, "--limit", "40", "--rate", "1e-5", "--results", folder)
    assert refused.code == 4
    line = one_error_line(refused)
    assert "was recorded with 20 images, the last 4 of which have a pattern for themselves that 8 would share" in line
    assert line.endswith("give --limit 20, or another --results")
    fewer = one_error_line(cli("inject", *BASE, "--limit", "16", "--rate", "1e-5", "--results", folder))
    assert "recorded with limit 20, asked for limit 16: give --limit 20, or another --results" in fewer
    other = one_error_line(cli("inject", *BASE, "--split", "val", "--rate", "1e-5", "--results", folder))
    assert "recorded with no split, asked for split val; recorded with limit 20, asked for no limit" in other
    assert contents(folder) == before


def test_a_grown_folder_is_checked_replayed_and_merged(tmp_path):
    """Its rows keep their check values, and everything that reads a folder reads it."""
    run(tmp_path / "r", rates=[1e-5])
    begun = Store.header_of(tmp_path / "r").identity.fingerprint
    run(tmp_path / "r", repeats=3)
    header = Store.header_of(tmp_path / "r")
    assert header.begun_as == begun != header.identity.fingerprint
    assert check_results(tmp_path / "r").is_whole
    edit(tmp_path / "r", "UPDATE units SET wall_ns = 7")
    found = replay(tmp_path / "r", rate=1e-4, repeat=2, batch=1)
    drawn = BitFlipRates(1e-4).unit_pattern(found.space, 0, level=1e-4, repeat=2, batch=1)
    assert found.faults.element.tolist() == drawn.element.tolist()
    for number in (1, 2):
        run(tmp_path / f"part{number}", rates=[1e-4], repeats=1)
        run(tmp_path / f"part{number}", rates=[1e-4], repeats=3, shard=f"{number}/2")
        run(tmp_path / f"part{number}", rates=[1e-5], repeats=3, shard=f"{number}/2")
    merged = merge([tmp_path / "part1", tmp_path / "part2", tmp_path / "r"], tmp_path / "all")
    assert merged.missing == {}
    assert counts(tmp_path / "all") == counts(tmp_path / "r")
    assert check_results(tmp_path / "all").is_whole


def test_flipped_bits_in_a_grown_folder_are_noticed_and_repaired(tmp_path):
    """A row of the smaller campaign as well as one of the larger."""
    run(tmp_path / "r")
    run(tmp_path / "r", repeats=3)
    whole = counts(tmp_path / "r")
    database = sqlite3.connect(tmp_path / "r" / "units.sqlite")
    with database:
        database.execute("UPDATE units SET correct1 = correct1 + 1 WHERE batch = 0 AND repeat IN (0, 2)")
    database.close()
    found = check_results(tmp_path / "r", repair=True)
    assert [each.damaged for each in found.tables] == [4, 0, 0]
    run(tmp_path / "r", repeats=3)
    assert counts(tmp_path / "r") == whole


def test_a_folder_without_the_new_key_is_read_and_grows(tmp_path):
    """As folders of before have it."""
    run(tmp_path / "r")
    edit_header(tmp_path / "r", lambda content: content.pop("begun_as"))
    assert run(tmp_path / "r").complete
    grown = run(tmp_path / "r", repeats=3)
    assert grown.to_dict()["rates"] == run(tmp_path / "whole", repeats=3).to_dict()["rates"]


@pytest.mark.parametrize(
    ("read", "before"),
    [(lambda folder: Store.open(folder).count(), 1), (lambda folder: check_results(folder).units, 2)],
    ids=["open", "check"],
)
def test_a_reader_that_is_overtaken_by_growth_reads_again(tmp_path, monkeypatch, read, before):
    """Rows beyond the campaign that it has read of are no damage."""
    run(tmp_path / "r")
    answers = [Store.header_of(tmp_path / "r")] * before
    run(tmp_path / "r", repeats=3)
    grown = Store.header_of(tmp_path / "r")
    monkeypatch.setattr(Store, "header_of", lambda path: answers.pop() if answers else grown)
    assert read(tmp_path / "r") == 18
    assert not answers


@pytest.mark.slow
def test_a_campaign_that_is_killed_while_it_grows_goes_on(tmp_path):
    """Whenever the kill comes, the folder is whole, and ends as one run would have."""
    folder = tmp_path / "r"
    base = ("inject", *BASE, "--rate", "1e-5", "--images-per-pattern", "60", "--results", folder)
    assert finish(process(*base, "--repeats", "2", folder=tmp_path)).code == 0
    growing = process(*base, "--repeats", "300", folder=tmp_path)
    wait_for_units(folder, growing, beyond=12)
    growing.send_signal(signal.SIGKILL)
    finish(growing)
    assert check_results(folder).is_whole
    assert Store.header_of(folder).settings.repeats == 300
    busy = process(*base, "--repeats", "300", folder=tmp_path)
    wait_for_units(folder, busy, beyond=len(rows(folder)))
    with held(busy):
        second = cli(*base, "--repeats", "400")
    assert second.code == 4
    assert "is in use by process" in one_error_line(second)
    assert finish(busy).code == 0
    assert len(rows(folder)) == 300 * 6


def test_growth_after_another_process_is_seen_under_the_lock(tmp_path):
    """What was read before the lock may be old: a folder that has grown beyond is refused, not cut."""
    run(tmp_path / "r")
    settings = Settings(**{name: value for name, value in FEW.items() if name != "rates"} | {"repeats": 3})
    waiting = Campaign(
        load_model(DIGITS),
        as_dataset(digits_batches(24, 24)),
        BitFlipRates((1e-5, 1e-4)),
        settings=settings,
        results=tmp_path / "r",
    )
    run(tmp_path / "r", repeats=4)
    with pytest.raises(StoreError, match="recorded with 4 repeats, asked for 3"):
        waiting.run()
    assert len(rows(tmp_path / "r")) == 24


def test_a_gate_goes_on_from_a_campaigns_units(tmp_path):
    """They count, and rates that no goal is about are left as they are."""
    run(tmp_path / "r")
    mark(tmp_path / "r")
    verdict = gate(
        "digits",
        digits_batches(24, 24),
        ["min-accuracy 1e-4:0.9"],
        results=tmp_path / "r",
        strategy="live",
        threads=1,
    )
    assert verdict.verdict == "FAIL"
    assert len(marked(tmp_path / "r")) == 12


def test_injections_grow_with_their_faults(tmp_path):
    """Each of them is recorded fault by fault."""
    data = digits_batches(24, 24)
    settings = {"strategy": "live", "threads": 1}
    evaluate("digits", data, FaultCount(1), repeats=3, results=tmp_path / "r", **settings)
    grown = evaluate("digits", data, FaultCount(1), repeats=6, results=tmp_path / "r", **settings)
    whole = evaluate("digits", data, FaultCount(1), repeats=6, results=tmp_path / "whole", **settings)
    assert grown.vulnerability == whole.vulnerability
    assert sum(each.injections for each in grown.vulnerability) == 6
