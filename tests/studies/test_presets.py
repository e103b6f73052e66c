"""Presets: the paper's tables and figures as studies, on the embedded model and on what was brought."""

import tomllib
from pathlib import Path

import pytest
from campaign_kit import cli, cli_json
from published_kit import write_cifar_python

from ftonnx.errors import UsageError
from ftonnx.studies import Preset, presets, run
from ftonnx.studies.published import read_published
from ftonnx.studies.shipped import preset as preset_module

FOLDER = Path(preset_module.__file__).parent / "paper"
PUBLISHED = FOLDER / "published.csv"
QUICK = ("paper/table5", "paper/figure11")
ALL = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in presets()]
SOME = {
    "paper/table4": ["*/eurosat/*"],
    "paper/figure7": ["*/eurosat/*"],
    "paper/figure12": ["*/imagenet/*", "*/eurosat/*"],
}
"""Cells of the large ones: the embedded data stand in for all data sets alike."""


def shelf_with(folder, *names):
    """Return a folder with empty files of some names."""
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return folder


def test_the_paper_has_all_its_tables_and_figures():
    """Of those that come from experiments."""
    tables = [f"paper/table{number}" for number in (3, 4, 5)]
    assert list(presets()) == tables + [f"paper/figure{number}" for number in range(2, 13)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_a_preset_runs_in_small(name, tmp_path):
    """From end to end on the embedded model and data."""
    only = [option for pattern in SOME.get(name, ()) for option in ("--only", pattern)]
    told = cli_json("study", name, "--scale", "small", "-o", tmp_path / "study", *only)
    assert told["failures"] == []
    assert told["warnings"][0].startswith("A rehearsal: ")
    assert told["published"] == []
    assert (tmp_path / "study" / "report.html").exists()


@pytest.mark.parametrize("name", presets())
def test_a_preset_names_what_it_needs(name):
    """Every data set and checkpoint, with where it comes from; without them it is refused."""
    values = tomllib.loads(Preset.named(name).text)
    parts = Preset.named(name).parts
    assert [each.name for each in parts if each.kind == "data"] == list(values["data"])
    assert all(each.what and each.source and each.form and each.licence for each in parts)
    found = cli("study", name, "-o", "absent")
    assert found.code == 2
    assert parts[0].option in found.err
    assert not Path("absent").exists()


def test_the_paper_s_numbers_are_those_of_its_tables():
    """A few of every table, and how many there are."""
    numbers = read_published(PUBLISHED)
    known = {(n.model, n.protect, n.quantize, n.data, n.rate, n.figure): n for n in numbers}
    assert len(known) == len(numbers)

    def value(model, variant, data, rate, figure="top1"):
        return known[model, *variant, data, rate, figure].value

    plain, clipped, ptq, qat = ("none", "none"), ("clipact", "none"), ("none", "ptq"), ("none", "qat")
    assert value("resnet50-supervised", plain, "imagenet", 0) == 0.7615
    assert value("resnet50-swav", clipped, "imagenet", 3e-6, "top5") == 0.4490
    assert value("resnet50-ssql", ptq, "imagenet", 3e-5) == 0.6695
    assert value("resnet50-supervised", qat, "eurosat", 0) == 0.2552
    assert value("resnet50-dino", clipped, "rsicb256", 3e-5) == 0.0563
    assert value("resnet50-simsiam", qat, "bcs", 3e-7) == 0.9097
    assert value("swin_unet-ssl", ("actmax", "none"), "dfc2020", 1e-7, "class_accuracy") == 0.3030
    # table 3: 5 networks, top-1 and top-5 of 9 columns; table 4: 20 networks of 9; table 5: 4 of 7; the text
    assert len(numbers) == 5 * 2 * 9 + 20 * 9 + 4 * 7 + 14
    # five repetitions of the test images in batches of 128
    assert known["resnet50-swav", *clipped, "eurosat", 3e-6, "top1"].patterns == 5 * 43


def test_every_published_number_is_of_a_preset():
    """Whose cells measure it at that rate."""
    measured = set()
    for name in presets():
        study = Preset.named(name).study(scale="small").study
        for cell in study.cells:
            rates = study.faults[cell.faults].model.rates
            names = (cell.model, cell.protect, cell.quantize, cell.data)
            measured.update((*names, rate) for rate in (0.0, *rates))
    for number in read_published(PUBLISHED):
        assert (number.model, number.protect, number.quantize, number.data, number.rate) in measured


def test_what_is_missing_is_left_out_and_the_rest_is_there(tmp_path):
    """Checkpoints by data set and pretraining; data with all that they were needed for."""
    shelf = shelf_with(tmp_path / "shelf", "swav-bcs.pth", "swav-eurosat.pth", "dino-eurosat.pth")
    found = Preset.named("paper/table4").study(["bcs:here", "eurosat:there"], shelf)
    cells = {(cell.model, cell.data) for cell in found.study.cells}
    assert cells == {("resnet50-swav", "bcs"), ("resnet50-swav", "eurosat"), ("resnet50-dino", "eurosat")}
    assert found.study.models["resnet50-swav"].weights == (str(shelf / "swav-{data}.pth"),)
    assert found.study.data["bcs"].spec == "bcs:here"
    missing = [each.name for each in found.missing]
    assert missing[:2] == ["patternnet", "rsicb256"]
    assert found.study.note.startswith("what needs patternnet, rsicb256, ")
    assert set(missing[2:]) == {
        f"{label}-{data}.pth" for label in ("supervised", "simsiam", "ssql") for data in ("bcs", "eurosat")
    } | {"dino-bcs.pth"}


def test_a_backbone_without_its_head_is_missing(tmp_path):
    """Where a network is in two files, both have to be there."""
    shelf = shelf_with(tmp_path / "shelf", "swav_800ep_pretrain.pth.tar", "resnet50-0676ba61.pth")
    found = Preset.named("paper/table3").study(["imagenet:here"], shelf)
    assert {cell.model for cell in found.study.cells} == {"resnet50-supervised"}
    assert found.study.data["imagenet"].tuning.spec == "imagenet:here"


def test_exclusions_of_what_is_left_out_are_no_mistake(tmp_path):
    """Nor is a reference that is not there."""
    found = Preset.named("paper/figure5").study(["cifar10:here"], shelf_with(tmp_path / "a", "resnet50.pt"))
    assert list(found.study.models) == ["cifar"]
    names = [f"{label}-eurosat.pth" for label in ("supervised", "swav")]
    study = Preset.named("paper/figure12").study(["eurosat:here"], shelf_with(tmp_path / "b", *names)).study
    assert {cell.model for cell in study.cells} == {"resnet50-supervised", "resnet50-swav"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": ["eurosta:here"]}, r"`data`: paper/table4 takes bcs:PATH, .*did you mean eurosat\?"),
        ({"data": ["digits"]}, r"`data`: paper/table4 takes bcs:PATH, "),
        ({"scale": "tiny"}, "`scale`: paper or small was expected, got 'tiny'"),
    ],
)
def test_what_a_preset_does_not_take_is_refused(options, message):
    """With what it takes."""
    with pytest.raises(UsageError, match=message):
        Preset.named("paper/table4").study(**options)


def test_a_name_of_no_preset_is_refused():
    """With those that there are."""
    with pytest.raises(UsageError, match=r"paper/tabel3: a study's file .* was expected.*did you mean paper/table3"):
        Preset.named("paper/tabel3")


def test_options_of_presets_are_not_for_files(tmp_path):
    """Which say where their data lie."""
    file = tmp_path / "study.toml"
    file.write_text(Preset.named("paper/table3").text)
    found = cli("study", file, "--data", "imagenet:here", "-o", tmp_path / "out")
    assert found.code == 2
    assert "--data is for presets" in found.err


def test_the_text_of_a_preset_is_a_study_to_change():
    """As it was read."""
    found = cli("study", "paper/figure6", "--example")
    assert found.out == Preset.named("paper/figure6").text


@pytest.mark.slow
def test_a_preset_runs_in_small_on_what_was_brought(tmp_path):
    """One of three networks, and the data."""
    torch = pytest.importorskip("torch")
    from ftonnx.models import build

    files = [f"data_batch_{number}" for number in range(1, 6)]
    write_cifar_python(tmp_path / "cifar-10-batches-py", [*files, "test_batch"], "labels", list(range(10)) * 2)
    shelf = shelf_with(tmp_path / "shelf")
    torch.manual_seed(0)
    torch.save(build("resnet18-cifar").state_dict(), shelf / "resnet18.pt")
    found = Preset.named("paper/figure4").study([f"cifar10:{tmp_path}"], shelf, scale="small")
    assert [each.name for each in found.missing] == ["resnet34.pt", "resnet50.pt"]
    result = run(found.study, tmp_path / "study", only=["*/relu6/*", "*/actmax/*"])
    assert result.failures == ()
    assert [cell.name for cell in result.results] == [
        f"resnet18/{protect}/none/cifar10/rates" for protect in ("relu6", "actmax")
    ]
