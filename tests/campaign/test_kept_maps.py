"""Label maps that a campaign keeps: of which units, against plain runs of saved faulty models, and their file."""

import logging
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from campaign_kit import cli, one_error_line, rows
from segmentation_kit import write_campaign

import ftonnx
from ftonnx.campaign import Campaign, KeptMaps, MapPair, Settings
from ftonnx.campaign.inputs import open_data, open_model
from ftonnx.errors import StoreError, UsageError
from ftonnx.inject import BitFlipRates, FaultCount

RATES = (1e-4, 1e-3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A network of three classes, segmenter.onnx, and twenty images with label maps, maps.npz."""
    made = tmp_path_factory.mktemp("kept")
    write_campaign(made)
    return made


def opened(folder, results, faults=None, **settings):
    """A campaign on them, and how it ended."""
    model = open_model(folder / "segmenter.onnx")
    used = Settings(**{"repeats": 3, "images_per_pattern": 8, "strategy": "live", "threads": 1} | settings)
    data = open_data(f"npz:{folder / 'maps.npz'}", model)
    campaign = Campaign(model, data, faults or BitFlipRates(RATES), settings=used, results=results)
    return campaign, campaign.run()


@pytest.fixture(scope="module")
def kept(folder):
    """The maps of two units at each rate."""
    campaign, result = opened(folder, folder / "r")
    return campaign.keep_maps(result, 2)


def places(kept):
    """Which units they are of."""
    return [(pair.rate, pair.repeat, pair.batch) for pair in kept.pairs]


def test_they_are_of_the_units_that_changed_most_pixels(folder, kept):
    """By the store's rows alone; most first."""
    expected = []
    for rate in RATES:
        own = [row for row in rows(folder / "r") if row["rate"] == rate and row["due"] == 0]
        own.sort(key=lambda row: (row["same"] - row["area"], row["repeat"], row["batch"]))
        expected += [(rate, row["repeat"], row["batch"]) for row in own[:2]]
    assert places(kept) == expected


def test_they_are_what_a_plain_session_sees_in_the_saved_model(folder, kept, tmp_path):
    """Of the image of the unit that changed most."""
    with np.load(folder / "maps.npz") as archive:
        pixels = archive["images"]
    for pair in kept.pairs:
        saved = tmp_path / "faulty.onnx"
        unit = ftonnx.replay(folder / "r", rate=pair.rate, repeat=pair.repeat, batch=pair.batch)
        unit.save_model(saved)
        part = pixels[8 * pair.batch : 8 * pair.batch + 8]
        faulty, golden = (classes(onnx.load(path), part) for path in (saved, folder / "segmenter.onnx"))
        changed = (faulty != golden).reshape(len(part), -1).mean(axis=1)
        number = pair.image - 8 * pair.batch
        assert changed[number] == changed.max() == pair.changed
        np.testing.assert_array_equal(pair.faulty, faulty[number])
        np.testing.assert_array_equal(pair.golden, golden[number])


def classes(model, pixels):
    """What a fresh session sees that packs nothing, as the live one."""
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_prepacking", "1")
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": pixels})[0].argmax(axis=1)


def test_the_file_gives_back_what_was_kept(folder, kept):
    """With all that is said of it."""
    again = KeptMaps.read(folder / "r")
    assert (again.classes, again.names) == (3, ())
    assert [pair.about() for pair in again.pairs] == [pair.about() for pair in kept.pairs]
    for one, other in zip(again.pairs, kept.pairs, strict=True):
        np.testing.assert_array_equal(one.golden, other.golden)
        np.testing.assert_array_equal(one.faulty, other.faulty)
        assert one.golden.dtype == np.uint8


@pytest.mark.parametrize("settings", [{"jobs": 2}, {"batch_size": 3}, {"budget": "1000units"}])
def test_however_the_campaign_runs_they_are_the_same(folder, kept, tmp_path, settings):
    """In processes, with several runs per unit, ended early, and where a finished campaign is opened again."""
    campaign, result = opened(folder, tmp_path / "r", **settings)
    found = campaign.keep_maps(result, 2)
    assert places(found) == places(kept)
    again, result = opened(folder, tmp_path / "r", **settings)
    assert places(again.keep_maps(result, 1)) == places(kept)[::2]
    assert places(KeptMaps.read(tmp_path / "r")) == places(kept)[::2]


def test_injections_have_maps_too(folder, tmp_path):
    """At their one level."""
    campaign, result = opened(folder, tmp_path / "r", FaultCount(1), repeats=12, images_per_pattern=None, batch_size=8)
    kept = campaign.keep_maps(result, 3)
    assert 1 <= len(kept.pairs) <= 3
    assert len({pair.rate for pair in kept.pairs}) == 1


def test_units_that_changed_nothing_are_not_kept(folder, tmp_path):
    """A rate at which nothing flips has no pair."""
    campaign, result = opened(folder, tmp_path / "r", BitFlipRates((0.0, 1e-12)))
    assert campaign.keep_maps(result, 2).pairs == ()
    assert KeptMaps.read(tmp_path / "r").pairs == ()


def test_a_unit_that_comes_out_otherwise_is_left_out(folder, tmp_path, caplog):
    """As on another kind of processor: the picture would not be that of the counts."""
    campaign, result = opened(folder, tmp_path / "r")
    columns = {rate: {name: each.copy() for name, each in own.items()} for rate, own in result.recorded.columns.items()}
    columns[1e-3]["correct"] += 1
    other = replace(result, recorded=replace(result.recorded, columns=columns))
    with caplog.at_level(logging.WARNING, "ftonnx"):
        kept = campaign.keep_maps(other, 2)
    assert {pair.rate for pair in kept.pairs} == {1e-4}
    assert "came out otherwise than it was recorded" in caplog.text


def test_large_maps_are_thinned():
    """At most 512 pixels a side are kept, and the share of those that changed is that of all."""
    golden = np.zeros((1025, 40), np.uint16)
    faulty = golden.copy()
    faulty[1] = 300
    pair = MapPair.of(golden, faulty, rate=1e-6, repeat=0, batch=0, image=0)
    assert pair.golden.shape == (342, 14)
    assert pair.step == 3
    assert pair.changed == pytest.approx(1 / 1025)


def test_a_folder_without_maps_has_none(tmp_path):
    """Most have none."""
    assert KeptMaps.read(tmp_path) is None


BAD = {
    "class": {"golden": np.full((4, 4), 3, np.uint8)},
    "shape": {"golden": np.zeros((4, 5), np.uint8)},
    "large": {"golden": np.zeros((600, 4), np.uint8), "faulty": np.zeros((600, 4), np.uint8)},
    "signed": {"golden": np.zeros((4, 4), np.int64)},
    "empty": {"golden": np.zeros((0, 4), np.uint8), "faulty": np.zeros((0, 4), np.uint8)},
}


@pytest.mark.parametrize("name", BAD)
def test_maps_that_cannot_be_are_refused(tmp_path, name):
    """One line that names the file."""
    small = np.zeros((4, 4), np.uint8)
    pair = MapPair.of(small, small + 1, rate=1e-6, repeat=0, batch=0, image=0)
    KeptMaps(pairs=(replace(pair, **BAD[name]),), classes=3).write(tmp_path)
    with pytest.raises(StoreError, match=r"maps\.npz: expected label maps, got a damaged file") as caught:
        KeptMaps.read(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_damaged_file_is_refused(folder, kept, tmp_path):
    """Cut, of another kind, or with other bytes in it."""
    whole = kept.write(tmp_path).read_bytes()
    turned = bytearray(whole)
    turned[len(whole) // 2] ^= 255
    for content in (whole[: len(whole) // 2], b"", b"no archive", bytes(turned)):
        (tmp_path / "maps.npz").write_bytes(content)
        with pytest.raises(StoreError, match="damaged file"):
            KeptMaps.read(tmp_path)


@pytest.mark.parametrize("number", [0, -1, 21])
def test_numbers_that_make_no_sense_are_refused(folder, kept, number):
    """A usage error that says what was expected."""
    campaign, result = opened(folder, folder / "r")
    with pytest.raises(UsageError, match="1 to 20 pairs"):
        campaign.keep_maps(result, number)


def test_the_command_line_keeps_them(folder, tmp_path):
    """And says how many; another task has none, which is said before anything runs."""
    data = ("--data", f"npz:{folder / 'maps.npz'}", "--strategy", "live", "--repeats", 2)
    finished = cli(
        "inject", folder / "segmenter.onnx", *data, "--rate", 1e-3, "--results", tmp_path / "r", "--keep-maps", 2
    )
    assert finished.code == 0
    assert "label maps: 2 pairs kept" in finished.err
    assert len(KeptMaps.read(tmp_path / "r").pairs) == 2
    finished = cli("inject", "digits", "--data", "digits", "--rate", 1e-5, "--keep-maps", 1, "--dry-run")
    assert finished.code == 2
    assert "--keep-maps: label maps are those of task segmentation" in one_error_line(finished)


def test_maps_of_a_campaign_that_grows_are_not_taken_for_the_worst_of_all(folder, tmp_path):
    """They go, and can be kept anew; where nothing is added they stay."""
    campaign, result = opened(folder, tmp_path / "r")
    campaign.keep_maps(result, 1)
    opened(folder, tmp_path / "r")
    assert (tmp_path / "r" / "maps.npz").exists()
    opened(folder, tmp_path / "r", repeats=4)
    assert not (tmp_path / "r" / "maps.npz").exists()
