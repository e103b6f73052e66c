"""Parts of a study on several machines: every cell once, every model once, and put together the same tables."""

import shutil
from collections import defaultdict

import pytest
from campaign_kit import cli, cli_json
from study_kit import SMALL, changed, files, ran, study, write

from ftonnx.campaign import Settings
from ftonnx.campaign.run.signals import StopRequest
from ftonnx.errors import UsageError
from ftonnx.studies import plan, run
from ftonnx.studies.campaigns import CellCampaign
from ftonnx.studies.shards import cells_of_shard
from ftonnx.studies.workshop import Workshop

MANY = {
    "models": {"a": "digits", "b": "digits"},
    "data": {"x": "digits", "y": {"spec": "digits", "limit": 7}},
    "faults": {"r": {"rate": [1e-5, 1e-4]}, "s": {"faults_per_run": 1, "repeats": 500}, "l": {"per_layer": 3}},
    "matrix": {"protect": ["none", "relu6", "actmax", "clipact", "ranger"], "quantize": ["none", "ptq", "qat"]},
}


def parts(values, folder, number):
    """Return the cells of every part."""
    shop = Workshop(values, folder, StopRequest())
    return [cells_of_shard(f"{part}/{number}", values.cells, shop) for part in range(1, number + 1)]


def together(cell):
    """Return what a cell's models are made from with images; cells with the same are to stay together."""
    if cell.protect in ("actmax", "clipact", "ranger"):
        return (cell.model, cell.protect, cell.data)
    return (cell.model, cell.protect, cell.quantize, cell.data) if cell.quantize != "none" else cell


@pytest.mark.parametrize("number", [1, 2, 3, 7, 16])
def test_every_cell_is_in_one_part_with_those_that_need_the_same_models(tmp_path, number):
    """The groups are made here by the names of the cells alone."""
    values = study(**MANY)
    found = parts(values, tmp_path, number)
    assert sorted(cell for part in found for cell in part) == sorted(values.cells)
    places = defaultdict(set)
    for part, cells in enumerate(found):
        assert list(cells) == [cell for cell in values.cells if cell in cells]
        for cell in cells:
            places[together(cell)].add(part)
    assert all(len(where) == 1 for where in places.values())


@pytest.mark.parametrize("number", [2, 3, 5])
def test_parts_have_about_equally_many_units(tmp_path, number):
    """They differ by a group at most, whose units are those of its campaigns on the model as it is."""
    values = study(**MANY)
    found = parts(values, tmp_path, number)
    planned = plan(study(**MANY | {"matrix": {"protect": ["none"], "quantize": ["none"]}}), tmp_path)
    units = {tuple(step.name.split("/")): step.units for step in planned.steps if step.kind == "campaign"}

    def size(cells):
        return sum(units[cell.model, "none", "none", cell.data, cell.faults] for cell in cells)

    groups = defaultdict(list)
    for cell in values.cells:
        groups[together(cell)].append(cell)
    sizes = [size(cells) for cells in found]
    assert max(sizes) - min(sizes) <= max(map(size, groups.values()))


def test_parts_depend_on_nothing_that_was_made(tmp_path):
    """Else machines would not agree: after a run they are what they were before."""
    values = study(faults={"l": {"per_layer": 1}, "r": {"rate": 1e-5}})
    before = parts(values, tmp_path, 2)
    ran(tmp_path, faults={"r": {"rate": 1e-5}})
    assert parts(values, tmp_path, 2) == before


def test_cells_of_which_nobody_knows_the_units_count_as_the_mean(tmp_path):
    """Those of models that are exported, of which there is no file yet."""
    models = {"given": "digits", "exported": {"architecture": "digits"}}
    values = study(models=models, matrix={"protect": ["none"], "quantize": ["none", "ptq"]})
    assert [len(cells) for cells in parts(values, tmp_path, 4)] == [1, 1, 1, 1]
    only_exported = study(models={"e": {"architecture": "digits"}}, matrix={"protect": ["none", "actmax"]})
    assert [len(cells) for cells in parts(only_exported, tmp_path, 2)] == [2, 2]


def test_a_part_without_work_is_refused(tmp_path):
    """As by ftonnx inject; nothing is made."""
    with pytest.raises(UsageError, match=r"`shard=4/4` has nothing to do: the cells are 3 groups"):
        run(study(), tmp_path / "s", shard="4/4")
    assert not (tmp_path / "s").exists()
    with pytest.raises(UsageError, match=r"`shard`: K/N with K from 1 to N was expected"):
        run(study(), tmp_path / "s", shard="0/4")
    with pytest.raises(UsageError, match=r"`shard`: K/N such as 3/16"):
        plan(study(), tmp_path / "s", shard="half")


@pytest.mark.slow
def test_folders_of_parts_are_joined_by_copying(tmp_path):
    """On the command line: what the last run finds is all there, and its tables are those of one machine."""
    file = write(tmp_path / "s.toml", changed(faults={"r": {"rate": [1e-5, 1e-4]}, "s": {"faults_per_run": 1}}))
    ones = [tmp_path / name for name in ("one", "two")]
    for number, folder in enumerate(ones, 1):
        done = cli("study", file, "-o", folder, "--shard", f"{number}/2")
        assert done.code == 0, done.err
        assert f"shard {number}/2 is done; copy the shards' folders over each other" in done.err
    made = [set(files(folder / "models", ".onnx")) for folder in ones]
    assert not made[0] & made[1]
    for folder in ones:
        shutil.copytree(folder, tmp_path / "all", dirs_exist_ok=True)
    before = {name: content for name, content in files(tmp_path / "all").items() if "/" in name and "models" in name}
    planned = cli_json("study", file, "-o", tmp_path / "all", "--dry-run")
    assert {step["state"] for step in planned["steps"]} == {"given", "done"}
    assert cli("study", file, "-o", tmp_path / "all").code == 0
    assert cli("study", file, "-o", tmp_path / "whole").code == 0
    joined, whole = files(tmp_path / "all"), files(tmp_path / "whole")
    assert {name: joined[name] for name in before} == before
    assert joined.keys() == whole.keys()
    for name in ("tables.md", "tables.csv", "tables.tex"):
        assert joined[name] == whole[name]


def test_a_part_can_be_planned(tmp_path, monkeypatch):
    """With the models that it needs; a job array says which part it is."""
    file = write(tmp_path / "s.toml", SMALL)
    steps = []
    for number in ("0", "1"):
        monkeypatch.setenv("JOB_COMPLETION_INDEX", number)
        found = cli_json("study", file, "-o", tmp_path / "s", "--dry-run", "--shard", "auto", "--shards", "2")
        steps += [step["name"] for step in found["steps"]]
    assert sorted(steps) == sorted(["net/given"] + [step.name for step in plan(study(), tmp_path).steps])
    assert cli("study", file, "-o", tmp_path / "s", "--shards", "2").code == 2
    assert not (tmp_path / "s").exists()


def test_only_some_cells_are_shared_out(tmp_path):
    """Parts of what is chosen."""
    found = [
        {step.name for step in plan(study(), tmp_path, only=["*/ptq/*"], shard=f"{number}/2").steps if step.units}
        for number in (1, 2)
    ]
    assert sorted(map(len, found)) == [1, 1]
    assert set.union(*found) == {"net/none/ptq/digits/rates", "net/actmax/ptq/digits/rates"}


def test_the_files_of_a_campaign_are_in_the_order_in_which_they_are_made(tmp_path):
    """By which cells are grouped."""
    values = study()
    campaign = CellCampaign.of(values.cells[-1], Workshop(values, tmp_path, StopRequest()), Settings())
    assert [file.name for file in campaign.files] == ["given", "actmax@digits", "actmax+ptq@digits"]
