"""Merging the folders of shards: the same counts as one machine's, and nothing that does not belong together."""

import shutil

import numpy as np
import pytest
from campaign_kit import cli, cli_json, contents, counts, edit, edit_header, faults, rows, summary

import ftonnx
from ftonnx.campaign import CampaignResult, merge
from ftonnx.campaign.store.folder import Store
from ftonnx.campaign.store.golden_run import GoldenRun
from ftonnx.datasets import load_dataset
from ftonnx.errors import IncompleteError, StoreError, UsageError
from ftonnx.files import cpu_name
from ftonnx.inject import FaultCount
from ftonnx.report import build
from ftonnx.tasks import Classification, Counts, Regression

pytestmark = pytest.mark.usefixtures("temporary_folder")

FAST = {"strategy": "live", "threads": 1, "repeats": 3}
SHARDS = 3


def run(results, faults=None, **options):
    """Run a campaign on sixty digits: 48 units at two rates, or 20 injections that all images meet."""
    data = load_dataset("digits", limit=60)
    if faults is None:
        return ftonnx.evaluate("digits", data, rates=[1e-5, 1e-4], results=results, **(FAST | options))
    return ftonnx.evaluate("digits", data, faults, results=results, **(FAST | {"repeats": 20} | options))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder with a whole campaign and those of its three shards."""
    place = tmp_path_factory.mktemp("shards")
    run(place / "whole")
    for number in range(1, SHARDS + 1):
        run(place / f"{number}", shard=f"{number}/{SHARDS}")
    return place


@pytest.fixture
def parts(done, tmp_path):
    """Copies of the shards' folders, which may be spoilt."""
    return [shutil.copytree(done / f"{number}", tmp_path / f"{number}") for number in range(1, SHARDS + 1)]


def by_batch(folder):
    """Return what is recorded of golden runs."""
    return sorted(rows(folder, "golden"), key=lambda row: row["batch"])


def test_merged_shards_are_the_campaign(done, tmp_path):
    """Every count, every interval; the golden runs, whatever the order of the parts."""
    found = merge([done / "3", done / "1", done / "2"], tmp_path / "all")
    assert counts(tmp_path / "all") == counts(done / "whole")
    assert summary(tmp_path / "all") == summary(done / "whole")
    assert (found.units, dict(found.missing)) == (48, {})
    assert by_batch(tmp_path / "all") == by_batch(done / "whole")
    assert [part.units for part in found.parts] == [16, 16, 16]
    assert CampaignResult.open(tmp_path / "all").complete


def test_single_faults_are_merged_with_their_lists(tmp_path):
    """Every injection once, though all shards have recorded some batches of it."""
    whole = run(tmp_path / "whole", FaultCount(1), batch_size=30)
    shards = [run(tmp_path / f"{k}", FaultCount(1), batch_size=30, shard=f"{k}/3").results for k in (1, 2, 3)]
    merge(shards, tmp_path / "all")
    assert counts(tmp_path / "all") == counts(whole.results)
    assert faults(tmp_path / "all") == faults(whole.results)
    assert summary(tmp_path / "all") == summary(whole.results)


def test_a_merge_may_be_repeated(done, tmp_path):
    """With more parts, with the same ones, with one that is merged already."""
    merge([done / "1"], tmp_path / "some", partial=True)
    found = merge([done / "1", done / "2"], tmp_path / "some", partial=True)
    assert (found.units, sum(found.missing.values())) == (32, 16)
    merge([tmp_path / "some", done / "3"], tmp_path / "all")
    again = merge([tmp_path / "some", done / "3"], tmp_path / "all")
    assert [part.folder for part in again.parts] == [str(done / f"{number}") for number in (1, 2, 3)]
    assert summary(tmp_path / "all") == summary(done / "whole")


def test_what_is_missing_is_counted_and_nothing_is_left_behind(done, tmp_path):
    """By batch; ``partial`` does without it."""
    with pytest.raises(IncompleteError, match="16 units are missing: 6 of batch 2, 6 of batch 3, 2 of batch 6, 2 of"):
        merge([done / "1", done / "3"], tmp_path / "all")
    assert not (tmp_path / "all").exists()
    found = merge([done / "1", done / "3"], tmp_path / "all", partial=True)
    assert found.missing == {2: 6, 3: 6, 6: 2, 7: 2}
    assert not CampaignResult.open(tmp_path / "all").complete


def test_what_is_missing_can_be_run_where_the_others_are(done, tmp_path):
    """A merged folder is a campaign like any other, which goes on."""
    merge([done / "1", done / "3"], tmp_path / "all", partial=True)
    result = run(tmp_path / "all")
    assert result.complete
    assert counts(tmp_path / "all") == counts(done / "whole")


def test_many_missing_batches_are_not_all_named(done, tmp_path):
    """The first five."""
    with pytest.raises(IncompleteError, match=r"32 units are missing: .* 2 of batch 6 and others; run"):
        merge([done / "1"], tmp_path / "all")


@pytest.mark.parametrize("name", ["correct1", "n_faults"])
def test_a_unit_that_is_recorded_differently_is_refused_by_name(parts, tmp_path, name):
    """A unit's time may differ; nothing is merged, neither of the folders before."""
    other = shutil.copytree(parts[0], tmp_path / "again")
    edit(other, "UPDATE units SET wall_ns = wall_ns + 1")
    merge([*parts, other], tmp_path / "all")
    before = contents(tmp_path / "all")
    edit(other, f"UPDATE units SET {name} = {name} + 1 WHERE rate = 1e-5 AND repeat = 2 AND batch = 1")
    with pytest.raises(StoreError, match=rf"again .*\(rate 1e-05, repeat 2, batch 1: {name} \d+ here, \d+ before\)"):
        merge([*parts, other], tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(StoreError, match="recorded a unit differently"):
        merge([*parts, other], tmp_path / "all")
    assert contents(tmp_path / "all") == before


def test_folders_of_two_campaigns_are_refused_with_both(done, tmp_path):
    """Whatever differs is named."""
    run(tmp_path / "other", seed=7, shard="1/3")
    says = r"other is not of the same campaign as .*1: seed 7 there, seed 0 before; `pool_seeds` puts the patterns"
    with pytest.raises(StoreError, match=says):
        merge([done / "1", tmp_path / "other"], tmp_path / "all")
    with pytest.raises(StoreError, match="belongs to another campaign"):
        merge([done / "1"], tmp_path / "other", partial=True)
    assert not (tmp_path / "all").exists()


def test_campaigns_that_ended_early_are_refused(tmp_path):
    """Their units are those that somebody asked for."""
    run(tmp_path / "r", budget="12units", repeats=None)
    with pytest.raises(StoreError, match="was ended by `precision` or `budget`"):
        merge([tmp_path / "r"], tmp_path / "all")


def test_what_is_no_folder_of_results_is_refused(done, tmp_path):
    """And so is nothing at all, and a folder that is merged into itself."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="empty holds no campaign"):
        merge([done / "1", tmp_path / "empty"], tmp_path / "all")
    with pytest.raises(UsageError, match="one results folder or more was expected, got none"):
        merge([], tmp_path / "all")
    with pytest.raises(UsageError, match="`output`: a folder besides those that are merged was expected"):
        merge([done / "1"], done / "1")


def test_shards_that_grow_give_what_they_have(parts, tmp_path):
    """While their process holds the folder."""
    with Store.open(parts[0]) as store:
        header = store.header
        record = next(iter(store.units().values()))
    edit(parts[0], f"DELETE FROM units WHERE batch = {record.unit.batch}")
    with Store.create_or_resume(parts[0], header) as store:
        assert merge(parts, tmp_path / "all", partial=True).units == 42
        store.add(record)
        store.flush()
        assert merge(parts, tmp_path / "all", partial=True).units == 43
    assert merge(parts, tmp_path / "all", partial=True).units == 43


def test_parts_with_other_golden_outputs_are_named(parts, tmp_path):
    """With their processor and the images that are taken for something else; ``strict`` refuses them."""
    edit_header(parts[1], lambda header: header["machine"].update(host="node7", cpu="another kind"))
    edit(parts[1], "UPDATE golden SET digest = x'0011223344556677' WHERE batch = 0")
    found = merge(parts, tmp_path / "all")
    assert [(part.other_batches, part.other_images) for part in found.parts] == [(0, 0), (1, 0), (0, 0)]
    says = "fault-free outputs of 1 of 3 merged parts differ from those of the others (such as "
    images = "2 on node7, another kind, 0 images are taken for something else)"
    result = CampaignResult.open(tmp_path / "all")
    assert [text for text in result.warnings if text.startswith(says) and images in text]
    edit(parts[1], "UPDATE golden SET decided = CAST(x'00' || substr(decided, 2) AS BLOB) WHERE batch = 0")
    assert merge(parts, tmp_path / "two").parts[1].other_images == 1
    with pytest.raises(StoreError, match="2 ran on node7, another kind, where fault-free outputs are not those"):
        merge(parts, tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict").exists()


def test_the_report_tells_who_took_part(parts, tmp_path):
    """Machines, processors and versions."""
    merge(parts, tmp_path / "all")
    (section,) = [part for part in build([CampaignResult.open(tmp_path / "all")]).sections if part.name == "settings"]
    (table,) = [table for table in section.tables if table.caption == "Merged parts"]
    (row,) = table.rows
    assert row[0] == "digits"
    assert row[1] == CampaignResult.open(parts[0]).header.machine["host"] + ", " + cpu_name()
    assert row[2].startswith("python 3.")
    assert list(row[3:]) == ["live", "3", "48", "0"]
    (section,) = [part for part in build([CampaignResult.open(parts[0])]).sections if part.name == "settings"]
    assert not [table for table in section.tables if table.caption == "Merged parts"]


def test_the_command_line_merges(done, tmp_path, monkeypatch):
    """In words and as JSON; what is missing ends in exit code 5, what is wrong in 4."""
    monkeypatch.chdir(tmp_path)
    shards = [done / f"{number}" for number in (1, 2, 3)]
    said = cli("merge", *shards, "-o", "all")
    assert (said.code, said.out.splitlines()[0]) == (0, "48 units of digits")
    found = cli_json("merge", *shards[:2], "-o", "some", "--partial")
    assert (found["units"], found["missing"]) == (32, 16)
    assert found["missing_by_batch"][0] == {"batch": 4, "units": 6}
    assert cli("merge", *shards[:2], "-o", "none").code == 5
    assert "say --partial to do without" in cli("merge", *shards[:2], "-o", "none").err
    assert cli("merge", "nowhere", "-o", "none").code == 4
    assert cli("merge", "all", "-o", "all").code == 2


def golden(scores, task=None):
    """Return what is kept of a golden run with these scores."""
    return GoldenRun.of(Counts(n=len(scores)), task or Classification(), {"scores": scores})


def test_golden_runs_are_compared_in_every_bit_and_by_class():
    """A last bit changes the digest, not the class; a shape and a type change it too."""
    scores = np.float32([[0.25, 0.75], [0.5, 0.25]])
    other = np.nextafter(scores, np.float32(1))
    assert golden(scores) == golden(scores.copy())
    assert golden(scores).digest != golden(other).digest
    assert golden(scores).images_that_differ(golden(other)) == 0
    assert golden(scores).images_that_differ(golden(scores[:, ::-1])) == 2
    assert golden(scores).images_that_differ(golden(scores[::-1])) == 2
    assert golden(scores).digest != golden(scores.astype(np.float64)).digest
    assert golden(scores).digest != golden(scores.reshape(2, 2, 1)).digest
    assert golden(scores).images_that_differ(golden(scores[:1])) is None


def test_without_decisions_every_bit_of_an_image_counts():
    """As with measured values."""
    values = np.float32([1, 2, 3])
    changed = np.float32([1, 2.5, 3])
    task = Regression(tolerance=0.5)
    assert golden(values, task).images_that_differ(golden(changed, task)) == 1
