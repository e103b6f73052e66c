"""Pooling seeds: their patterns are repeats of the same batches, and the estimates those of all of them together."""

import json
import shlex
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from campaign_kit import cli, cli_json, contents, counts, edit, edit_header, faults, rows, summary
from report_kit import HEADER

import ftonnx
from ftonnx.campaign import CampaignResult, compare, merge
from ftonnx.campaign.pooling import pooled_identity
from ftonnx.campaign.store.seeds import PooledSeeds, SeedRepeats
from ftonnx.campaign.store.subject import Subject
from ftonnx.datasets import load_dataset
from ftonnx.errors import IncompleteError, StoreError, UsageError
from ftonnx.inject import EveryBit, FaultCount, FaultList, PerLayer
from ftonnx.report import build, repeat_command

pytestmark = pytest.mark.usefixtures("temporary_folder")

FAST = {"strategy": "live", "threads": 1, "repeats": 3}
RATES = [1e-5, 1e-4]


def run(results, what=None, **options):
    """Run a campaign on sixty digits, eight images per pattern: 48 units at two rates, or injections."""
    data = load_dataset("digits", limit=60)
    if what is None:
        return ftonnx.evaluate("digits", data, rates=RATES, results=results, **(FAST | options)).results
    given = {"repeats": None, "batch_size": 30} | options
    return ftonnx.evaluate("digits", data, what, results=results, **(FAST | given)).results


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Folders with campaigns of three seeds: 0 and 7 with three repeats, 9 with five; and 0 in two shards."""
    place = tmp_path_factory.mktemp("seeds")
    for seed, repeats in ((0, 3), (7, 3), (9, 5)):
        run(place / f"{seed}", seed=seed, repeats=repeats)
    for number in (1, 2):
        run(place / f"0-{number}", shard=f"{number}/2")
    return place


def renumbered(folder, before):
    """Return a folder's counts with its repeats behind so many others."""
    return {(rate, before + repeat, batch): found for (rate, repeat, batch), found in counts(folder).items()}


def fractions(folders, rate):
    """Return the top-1 accuracies of all patterns by batch, those without faults, and the images of each."""
    golden = {row["batch"]: row for row in rows(folders[0], "golden")}
    found = {batch: [] for batch in sorted(golden)}
    for folder in folders:
        for row in rows(folder):
            if row["rate"] == rate:
                found[row["batch"]].append(row["correct1"] / row["n"])
    known = np.array([golden[batch]["correct1"] / golden[batch]["n"] for batch in found])
    images = np.array([golden[batch]["n"] for batch in found])
    return np.array(list(found.values())), known, images


def limits(values, known, images):
    """Return the interval of docs/statistics.md for the mean over batches (in the rows) and patterns."""
    shares = images / images.sum()
    moved = (values - known[:, None] + shares @ known).ravel()
    weights = np.repeat(shares / values.shape[1], values.shape[1])
    n = 1 / (weights**2).sum()
    found = []
    for extreme, quantile in ((0.0, 0.025), (1.0, 0.975)):
        start, end = min(moved.min(), extreme), max(moved.max(), extreme)
        places, last = (moved - start) / (end - start), (extreme - start) / (end - start)
        mean = (n * (weights @ places) + last) / (n + 1)
        variance = (n * (weights @ (places - mean) ** 2) + (last - mean) ** 2) / ((n + 1) * (n + 2))
        total = mean * (1 - mean) / variance - 1
        found.append(start + (end - start) * scipy.stats.beta(mean * total, (1 - mean) * total).ppf(quantile))
    return found


@pytest.mark.parametrize("seeds", [("0", "7"), ("0", "7", "9")])
def test_estimates_are_those_of_all_patterns(done, tmp_path, seeds):
    """The mean over both folders' images, and the interval of so many more repeats; of unequally many, too."""
    folders = [done / seed for seed in seeds]
    found = merge(folders, tmp_path / "all", pool_seeds=True)
    result = CampaignResult.open(tmp_path / "all")
    assert result.complete
    assert found.missing == {}
    repeats = {2: 6, 3: 11}[len(seeds)]
    for rate in result.rates:
        values, known, images = fractions(folders, rate.rate)
        assert values.shape == (8, repeats)
        assert rate.units == 8 * repeats
        assert rate.top1.mean == pytest.approx((values.mean(axis=1) * images).sum() / images.sum(), abs=1e-12)
        assert (rate.top1.low, rate.top1.high) == pytest.approx(limits(values, known, images), abs=1e-9)


def test_repeats_go_on_from_seed_to_seed(done, tmp_path):
    """In the order of the seeds, whatever that of the folders; nothing else changes."""
    found = merge([done / "9", done / "7"], tmp_path / "all", pool_seeds=True)
    assert counts(tmp_path / "all") == renumbered(done / "7", 0) | renumbered(done / "9", 3)
    assert found.seeds == (SeedRepeats(7, 3), SeedRepeats(9, 5))
    result = CampaignResult.open(tmp_path / "all")
    assert result.seeds == found.seeds
    assert (result.settings.seed, result.settings.repeats) == (7, 8)
    assert result.shown_settings == result.settings.to_dict() | {"seed": "seeds 7 (3 repeats), 9 (5 repeats)"}
    merge([done / "7", done / "9"], tmp_path / "again", pool_seeds=True)
    assert summary(tmp_path / "again") == summary(tmp_path / "all")
    assert CampaignResult.open(done / "9").seeds == (SeedRepeats(9, 5),)


def test_a_seeds_shards_are_united_first(done, tmp_path):
    """As they are without other seeds; a folder may be named with its parts."""
    merge([done / "7", done / "0-2", done / "0-1", done / "0"], tmp_path / "parts", pool_seeds=True)
    merge([done / "0", done / "7"], tmp_path / "whole", pool_seeds=True)
    assert counts(tmp_path / "parts") == counts(tmp_path / "whole")
    assert summary(tmp_path / "parts") == summary(tmp_path / "whole")


def test_what_a_seed_lacks_is_counted_until_it_is_there(done, tmp_path):
    """With its name; the same command takes in what has come."""
    folders = [done / "0-1", done / "7"]
    with pytest.raises(IncompleteError, match=r"24 units are missing: 6 of batch 4, .* 6 of batch 7, of seed 0; run"):
        merge(folders, tmp_path / "all", pool_seeds=True)
    assert not (tmp_path / "all").exists()
    found = merge(folders, tmp_path / "all", pool_seeds=True, partial=True)
    assert (found.units, found.missing) == (72, dict.fromkeys((4, 5, 6, 7), 6))
    assert not CampaignResult.open(tmp_path / "all").complete
    assert merge([done / "0-2", done / "7"], tmp_path / "all", pool_seeds=True).missing == {}
    merge([done / "0", done / "7"], tmp_path / "whole", pool_seeds=True)
    assert counts(tmp_path / "all") == counts(tmp_path / "whole")


def test_a_pooled_unit_is_replayed_with_its_own_seed(done, tmp_path):
    """Its faults are drawn again as they were."""
    merge([done / "0", done / "7"], tmp_path / "all", pool_seeds=True)
    for repeat, folder, own in ((1, "0", 1), (4, "7", 1), (5, "7", 2)):
        found = ftonnx.replay(tmp_path / "all", rate=1e-4, repeat=repeat, batch=2)
        expected = ftonnx.replay(done / folder, rate=1e-4, repeat=own, batch=2)
        assert found.list() == expected.list()
        assert found.record.outcomes == expected.record.outcomes
        assert len(found.faults) == found.record.n_faults > 0


def test_injections_of_several_seeds_keep_their_faults(tmp_path):
    """Every fault has the number of its injection; tensors and bits were hit as often as in all of them."""
    folders = [run(tmp_path / f"{seed}", FaultCount(1), seed=seed, repeats=20) for seed in (3, 1)]
    merge(folders, tmp_path / "all", pool_seeds=True)
    first, second = faults(folders[1]), faults(folders[0])
    assert faults(tmp_path / "all") == [*first, *((20 + number, *rest) for number, *rest in second)]
    assert counts(tmp_path / "all") == renumbered(folders[1], 0) | renumbered(folders[0], 20)
    pooled = CampaignResult.open(tmp_path / "all")
    assert pooled.injections == 40
    hits, critical = Counter(), Counter()
    for folder in folders:
        for each in CampaignResult.open(folder).vulnerability:
            hits[each.tensor, each.bit] += each.injections
            critical[each.tensor, each.bit] += each.critical
    assert {(each.tensor, each.bit): each.injections for each in pooled.vulnerability} == hits
    assert {(each.tensor, each.bit): each.critical for each in pooled.vulnerability} == critical
    means = [CampaignResult.open(folder).rates[0].sdc1.mean for folder in folders]
    assert pooled.rates[0].sdc1.mean == pytest.approx(np.mean(means))


def test_faults_drawn_tensor_by_tensor_stay_with_their_tensors(tmp_path):
    """Each tensor has the patterns of all seeds, one after the other, and the mean of its own."""
    folders = [run(tmp_path / f"{seed}", PerLayer(3), seed=seed) for seed in (0, 5)]
    merge(folders, tmp_path / "all", pool_seeds=True)
    assert all(target == injection // 6 for injection, target, *_ in faults(tmp_path / "all"))
    pooled = CampaignResult.open(tmp_path / "all")
    first, second = (CampaignResult.open(folder) for folder in folders)
    assert pooled.complete
    for each, one, other in zip(pooled.layers, first.layers, second.layers, strict=True):
        assert (each.tensor, each.weight, each.injections) == (one.tensor, one.weight, 6)
        assert each.sdc1.mean == pytest.approx((one.sdc1.mean + other.sdc1.mean) / 2)
    assert pooled.rates[0].sdc1.mean == pytest.approx((first.rates[0].sdc1.mean + second.rates[0].sdc1.mean) / 2)
    (fault,) = ftonnx.replay(tmp_path / "all", repeat=10, batch=0).list()
    assert [fault] == ftonnx.replay(folders[1], repeat=4, batch=0).list()


def test_numbers_lead_back_to_seeds():
    """Every number is that of one repeat of one seed."""
    pooled = PooledSeeds((SeedRepeats(4, 6), SeedRepeats(8, 6), SeedRepeats(9, 6)), groups=2)
    found = {pooled.numberings[seed].of(repeat): (seed, repeat) for seed in (4, 8, 9) for repeat in range(6)}
    assert sorted(found) == list(range(18))
    assert {number: pooled.origin(number) for number in found} == found
    assert PooledSeeds.from_dict(json.loads(json.dumps(pooled.to_dict()))) == pooled


def test_no_campaign_goes_on_from_pooled_seeds(done, tmp_path):
    """Neither the first seed's with all repeats, nor a merge of parts; other seeds want another folder."""
    merge([done / "0", done / "7"], tmp_path / "all", pool_seeds=True)
    before = contents(tmp_path / "all")
    says = r"all holds seeds 0 \(3 repeats\), 7 \(3 repeats\) together, which no campaign of one seed goes on from"
    with pytest.raises(StoreError, match=says):
        run(tmp_path / "all", repeats=6)
    with pytest.raises(StoreError, match=says):
        merge([done / "0-1"], tmp_path / "all", partial=True)
    with pytest.raises(StoreError, match=r"and seeds 0 \(3 .*\), 9 \(5 .*\) were to be pooled in it: choose another"):
        merge([done / "0", done / "9"], tmp_path / "all", pool_seeds=True)
    with pytest.raises(StoreError, match=r"all holds seeds 0 .* together already; name the folders"):
        merge([tmp_path / "all", done / "9"], tmp_path / "more", pool_seeds=True)
    merge([done / "0"], tmp_path / "one")
    with pytest.raises(StoreError, match=r"one holds seed 0 \(3 repeats\), and seeds 0 .* were to be pooled"):
        merge([done / "0", done / "7"], tmp_path / "one", pool_seeds=True)
    assert contents(tmp_path / "all") == before
    merge([done / "7", done / "0"], tmp_path / "all", pool_seeds=True)
    assert counts(tmp_path / "all") == renumbered(done / "0", 0) | renumbered(done / "7", 3)


def test_a_copy_of_pooled_seeds_is_merged_as_any_folder(done, tmp_path):
    """Its repeats have their numbers already."""
    merge([done / "0-1", done / "7"], tmp_path / "one", pool_seeds=True, partial=True)
    merge([done / "0-2", done / "7"], tmp_path / "two", pool_seeds=True, partial=True)
    assert merge([tmp_path / "one", tmp_path / "two"], tmp_path / "all").missing == {}
    assert counts(tmp_path / "all") == renumbered(done / "0", 0) | renumbered(done / "7", 3)


def test_what_is_not_the_same_but_for_the_seed_is_refused(done, tmp_path):
    """What differs is named; so is a seed whose repeats are the first of another folder's, and a lonely one."""
    other = run(tmp_path / "other", seed=1, images_per_pattern=20)
    with pytest.raises(StoreError, match=r"not of the same campaign as .*0: images per pattern 20 there, images"):
        merge([done / "0", other], tmp_path / "all", pool_seeds=True)
    longer = run(tmp_path / "longer", repeats=4, shard="1/8")
    with pytest.raises(StoreError, match=r"longer has 4 repeats of seed 0, and .*0 3: these have patterns in common"):
        merge([done / "0", done / "7", longer], tmp_path / "all", pool_seeds=True)
    with pytest.raises(UsageError, match="`pool_seeds`: folders of two seeds or more were expected, all are of seed 0"):
        merge([done / "0", done / "0-1"], tmp_path / "all", pool_seeds=True)
    ended = run(tmp_path / "ended", seed=2, budget="12units", repeats=None)
    with pytest.raises(StoreError, match="ended by `precision` or `budget`"):
        merge([done / "0", ended], tmp_path / "all", pool_seeds=True)
    assert not (tmp_path / "all").exists()


@pytest.mark.parametrize("what", [EveryBit(), FaultList(None, "ab" * 32)])
def test_faults_that_every_seed_has_are_refused(tmp_path, what):
    """Twice the same says nothing more."""
    settings = HEADER.identity.settings
    identities = [replace(HEADER.identity, faults=what, settings=replace(settings, seed=seed)) for seed in (0, 1)]
    subjects = [Subject.of(replace(HEADER, identity=identity)) for identity in identities]
    with pytest.raises(UsageError, match=f"the faults of {what.name} are the same for every seed"):
        pooled_identity([tmp_path / "a", tmp_path / "b"], subjects)


def test_a_unit_that_is_recorded_differently_has_its_own_number(done, tmp_path):
    """That of its folder, where it can be looked up."""
    other = shutil.copytree(done / "7", tmp_path / "again")
    edit(other, "UPDATE units SET sdc1 = sdc1 + 1 WHERE rate = 1e-5 AND repeat = 2 AND batch = 1")
    with pytest.raises(StoreError, match=r"again .*\(rate 1e-05, repeat 2, batch 1: sdc1 \d here, \d before\)"):
        merge([done / "0", done / "7", other], tmp_path / "all", pool_seeds=True)


def test_seeds_with_other_golden_outputs_are_named(done, tmp_path):
    """As parts are; ``strict`` refuses them."""
    other = shutil.copytree(done / "7", tmp_path / "7")
    edit(other, "UPDATE golden SET digest = x'0011223344556677' WHERE batch = 3")
    found = merge([done / "0", other], tmp_path / "all", pool_seeds=True)
    assert [part.other_batches for part in found.parts] == [0, 1]
    assert "fault-free outputs of 1 of 2 merged parts differ" in found.warnings[0]
    with pytest.raises(StoreError, match="`strict` accepts none such"):
        merge([done / "0", other], tmp_path / "strict", pool_seeds=True, strict=True)


def test_folders_from_before_seeds_were_pooled_are_read(done, tmp_path):
    """They are of one seed."""
    older = shutil.copytree(done / "0", tmp_path / "older")
    edit_header(older, lambda header: header["identity"].pop("pooled"))
    assert summary(older) == summary(done / "0")
    run(older)
    merge([older, done / "7"], tmp_path / "all", pool_seeds=True)
    assert counts(older) == counts(done / "0")


def test_equally_pooled_campaigns_met_the_same_faults(done, tmp_path):
    """And are compared pattern by pattern; others within batches."""
    merge([done / "0", done / "7"], tmp_path / "a", pool_seeds=True)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (model,) = compare([tmp_path / "a", tmp_path / "b"]).models
    assert (model.pairing, model.rates[0].difference.mean) == ("faults", 0)
    (model,) = compare([done / "0", tmp_path / "a"]).models
    assert (model.pairing, model.why) == ("images", "the seeds differ, 0 and seeds 0 (3 repeats), 7 (3 repeats)")


def test_reports_say_which_seeds_went_in(done, tmp_path):
    """In the verdict and among the settings; of one seed, as ever."""
    merge([done / "0", done / "7"], tmp_path / "all", pool_seeds=True)
    report = build([CampaignResult.open(tmp_path / "all")])
    assert "It met the fault patterns of seeds 0 (3 repeats), 7 (3 repeats) together." in report.verdict
    (section,) = [each for each in report.sections if each.name == "settings"]
    assert ["setting: seed", "seeds 0 (3 repeats), 7 (3 repeats)"] in [list(row) for row in section.tables[0].rows]
    alone = build([CampaignResult.open(done / "0")])
    assert "together" not in alone.verdict


@pytest.mark.parametrize("what", [None, PerLayer(2)])
def test_the_shown_commands_repeat_a_pooled_campaign(tmp_path, monkeypatch, what):
    """A seed's command for each, and one that pools them."""
    repeats = {} if what else {"repeats": 1}
    folders = [run(tmp_path / f"{seed}", what, seed=seed, **repeats) for seed in (0, 7)]
    merge(folders, tmp_path / "all", pool_seeds=True)
    monkeypatch.chdir(tmp_path)
    commands = repeat_command(CampaignResult.open("all")).split(" && ")
    assert len(commands) == 3
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "ftonnx"
        finished = cli(*arguments)
        assert finished.code == 0, finished.err
    assert counts("pooled") == counts("all")
    assert summary("pooled") == summary("all")


def test_the_command_line_pools(done, tmp_path, monkeypatch):
    """In words and as JSON; it says why what is refused is."""
    monkeypatch.chdir(tmp_path)
    folders = [done / "0", done / "7"]
    said = cli("merge", *folders, "--pool-seeds", "-o", "all")
    assert (said.code, said.out.splitlines()[0]) == (0, "96 units of digits, of seeds 0 (3 repeats), 7 (3 repeats)")
    found = cli_json("merge", *folders, "--pool-seeds", "-o", "all")
    assert found["seeds"] == [{"seed": 0, "repeats": 3}, {"seed": 7, "repeats": 3}]
    again = ("--data", "digits", "--limit", "60", "--strategy", "live", "--threads", "1", "--repeats", "6")
    refused = cli("inject", *again, "--rate", "1e-5", "--rate", "1e-4", "--results", "all")
    assert (refused.code, "pool that with the others by ftonnx merge and --pool-seeds" in refused.err) == (4, True)
    lonely = cli("merge", done / "0", "--pool-seeds", "-o", "one")
    assert (lonely.code, "--pool-seeds: folders of two seeds or more were expected" in lonely.err) == (2, True)
    assert cli("merge", *folders, "-o", "one").code == 4
