"""``eurosat:``, ``patternnet:``, ``rsicb256:`` and ``bcs:``: folders of classes, lists of splits, folds."""

import logging
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from images_kit import all_of
from published_kit import SCENES, write_folds, write_lists, write_scenes

from ftonnx.datasets import Preprocess, load_dataset
from ftonnx.datasets.published.bcs import BcsKind
from ftonnx.datasets.published.eurosat import EurosatKind
from ftonnx.datasets.published.patternnet import PatternnetKind
from ftonnx.datasets.published.rsicb256 import Rsicb256Kind
from ftonnx.errors import DataError, UsageError

KINDS = (EurosatKind, PatternnetKind, Rsicb256Kind, BcsKind)
SMALL = Preprocess(resize=6, crop=6)
SHARED = Path(os.environ.get("FTONNX_SHARED", Path(__file__).parents[3] / "shared")) / "data" / "eurosat"

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def named(data):
    """Return the class name of every image."""
    return [data.class_names[label] for label in data.labels]


@pytest.mark.parametrize(("kind", "classes"), list(zip(KINDS, (10, 38, 35, 2), strict=True)))
def test_the_classes_are_numbered_in_the_order_of_their_names(kind, classes):
    """As AiTLAS numbers them."""
    assert len(kind.labels) == len(set(kind.labels)) == classes
    assert list(kind.labels) == sorted(kind.labels)
    assert set(SCENES[kind.keyword]) <= set(kind.labels)


@every_kind
@pytest.mark.parametrize("below", ["", "2750", "images", "group 1/group 2"])
def test_folders_of_classes_are_found_at_any_depth(kind, below, tmp_path):
    """Classes keep their numbers where others have no images."""
    written = write_scenes(tmp_path / below, kind.keyword)
    data = load_dataset(f"{kind.keyword}:{tmp_path}", preprocess=SMALL)
    assert sorted(named(data)) == sorted(name for name, _ in written)
    assert data.classes == len(kind.labels)
    assert data.class_names == kind.labels


@every_kind
@pytest.mark.parametrize("place", ["here", "here/splits", ".", "splits"])
def test_lists_of_splits_lie_in_the_data_or_beside_it(kind, place, tmp_path):
    """Without a name, the test images; the others by theirs."""
    written = write_scenes(tmp_path / "here" / "deep", kind.keyword)
    write_lists(tmp_path / place, kind.keyword, written, train=range(7), val=[7, 8], test=[9, 10, 11])
    spec = f"{kind.keyword}:{tmp_path / 'here'}"
    data = load_dataset(spec, preprocess=SMALL)
    assert (data.split, sorted(named(data))) == ("test", sorted(written[number][0] for number in (9, 10, 11)))
    assert len(load_dataset(spec, split="train", preprocess=SMALL)) == 7
    assert len(load_dataset(spec, split="val", preprocess=SMALL)) == 2
    with pytest.raises(UsageError, match=r"expected a split of .*test.*got 'tests'; did you mean test"):
        load_dataset(spec, split="tests")


def test_images_are_prepared_as_in_the_papers_tests(tmp_path):
    """Short side 256, centre 224, 0 to 1, neither mean nor std; the model and the options win."""
    write_scenes(tmp_path, "eurosat", count=3)
    spec = f"eurosat:{tmp_path}"
    data = load_dataset(spec)
    assert data.preprocess.as_dict() == {"scale": 1 / 255, "resize": 256, "crop": 224, "channels": "rgb"}
    assert all_of(data)[0].shape == (3, 3, 224, 224)
    native = load_dataset(spec, preprocess=SMALL, model_metadata={"ftonnx.preprocess": '{"mean": [0.5], "crop": 3}'})
    assert native.preprocess.as_dict() == {
        "scale": 1 / 255, "resize": 6, "crop": 6, "channels": "rgb", "mean": [0.5],
    }  # fmt: skip


def test_lists_can_be_anywhere(tmp_path):
    """A folder of them, or one list with any name."""
    written = write_scenes(tmp_path / "data", "eurosat")
    write_lists(tmp_path / "elsewhere", "eurosat", written, train=range(7), val=[7, 8])
    spec = f"eurosat:{tmp_path / 'data'}"
    folder = tmp_path / "elsewhere"
    assert len(load_dataset(spec, split="val", splits=folder, preprocess=SMALL)) == 2
    with pytest.raises(UsageError, match="expected `split` to be one of train, val, got none"):
        load_dataset(spec, splits=folder)
    own = (folder / "eurosat_val.csv").rename(folder / "mine.csv")
    data = load_dataset(spec, splits=own, preprocess=SMALL)
    assert (len(data), data.split) == (2, "mine")
    assert data.source["splits"] == str(own)
    with pytest.raises(DataError, match=r"eurosat_train.csv and so on, or one list, got none"):
        load_dataset(spec, splits=tmp_path / "nowhere")


def test_other_kinds_take_no_lists():
    """They would go unused without a word."""
    with pytest.raises(UsageError, match=r"expected with .*eurosat:PATH.* only, got 'digits'"):
        load_dataset("digits", splits="somewhere")


def test_folders_of_splits_are_splits_too(tmp_path):
    """Somebody sorted the images; without a name, each would be there twice or of both."""
    write_scenes(tmp_path / "train", "eurosat", count=9)
    write_scenes(tmp_path / "test", "eurosat", count=4)
    assert len(load_dataset(f"eurosat:{tmp_path}", split="test", preprocess=SMALL)) == 4
    with pytest.raises(DataError, match="expected each image once"):
        load_dataset(f"eurosat:{tmp_path}", preprocess=SMALL)
    with pytest.raises(UsageError, match=r"expected eurosat_val.csv .* or a folder val"):
        load_dataset(f"eurosat:{tmp_path}", split="val")


def test_without_lists_all_images_are_taken_with_a_warning(tmp_path, caplog):
    """They are those of training too."""
    write_scenes(tmp_path, "eurosat")
    with caplog.at_level(logging.WARNING):
        data = load_dataset(f"eurosat:{tmp_path}", preprocess=SMALL)
    assert (len(data), data.split) == (12, None)
    assert "no lists of splits; all images are taken" in caplog.text
    assert "a class without images stays a class: HerbaceousVegetation" in caplog.text


def test_names_may_hold_parentheses_and_lists_another_suffix(tmp_path):
    """RSI-CB256's ``sapling(295).tif``; EuroSAT's bands have the names of its pictures."""
    written = write_scenes(tmp_path / "woodland", "rsicb256", suffix="tif")
    folder = tmp_path / "woodland" / "sea"
    (folder / written[2][1]).rename(folder / "sea(295).tif")
    (tmp_path / "rsicb256_test.csv").write_text("sea/sea(295).jpg,sea\nairplane/airplane_0.tif,airplane\n")
    data = load_dataset(f"rsicb256:{tmp_path}", preprocess=SMALL)
    assert sorted(named(data)) == ["airplane", "sea"]


@pytest.mark.parametrize("below", ["", "brazilian_coffee_scenes"])
def test_the_folds_of_coffee_scenes(below, tmp_path):
    """Labels are in lists; AiTLAS's lists name the same images."""
    write_folds(tmp_path / below)
    data = load_dataset(f"bcs:{tmp_path}", preprocess=SMALL)
    assert sorted(named(data)) == ["coffee"] * 2 + ["noncoffee"] * 4
    (tmp_path / "bcs_test.csv").write_text("noncoffee/guaxupe.T2.B1.L1.R2.jpg,noncoffee\n")
    one = load_dataset(f"bcs:{tmp_path}", preprocess=SMALL)
    assert named(one) == ["noncoffee"]


def test_folds_that_lack_images_or_name_other_classes(tmp_path):
    """One line each, which names the line."""
    write_folds(tmp_path)
    first = tmp_path / "fold1.txt"
    before = first.read_text()
    first.write_text(before + "coffee.absent\n")
    with pytest.raises(DataError, match=r"fold1.txt: line 4: expected an image absent in fold1"):
        load_dataset(f"bcs:{tmp_path}")
    first.write_text(before + "tea.guaxupe\n")
    with pytest.raises(DataError, match=r"line 4: expected coffee or noncoffee before the first dot, got 'tea'"):
        load_dataset(f"bcs:{tmp_path}")


def test_lists_that_do_not_fit(tmp_path):
    """Absent images are counted and named, unknown classes too."""
    write_scenes(tmp_path, "eurosat")
    listed = tmp_path / "eurosat_test.csv"
    listed.write_text("Forest/Forest_1.png,Forest\nForest/Forest_90.png,Forest\nRiver/River_91.png,River\n")
    expected = "expected the 3 images that it lists, got no Forest/Forest_90.png, River/River_91.png"
    with pytest.raises(DataError, match=expected):
        load_dataset(f"eurosat:{tmp_path}")
    listed.write_text("Forest/Forest_1.png,Wood\n")
    with pytest.raises(DataError, match=r"line 1: expected a class of AnnualCrop.*got 'Wood'"):
        load_dataset(f"eurosat:{tmp_path}")


def test_other_folders_and_archives_are_refused(tmp_path):
    """With the way on."""
    (tmp_path / "cats").mkdir()
    with pytest.raises(DataError, match=r"folders named like the classes of EuroSAT.*did you mean folder:"):
        load_dataset(f"eurosat:{tmp_path}")
    archive = tmp_path / "EuroSAT.zip"
    with zipfile.ZipFile(archive, "w"):
        pass
    with pytest.raises(DataError, match="got an archive; unpack it"):
        load_dataset(f"eurosat:{archive}")


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real EuroSAT is not here (FTONNX_SHARED)")
def test_the_real_eurosat(tmp_path):
    """All of it: 27,000 images in splits without a common image, and as many of every class as were published."""
    shutil.unpack_archive(SHARED / "EuroSAT.zip", tmp_path)
    sizes = {}
    totals = np.zeros(10, int)
    contents = set()
    for split in ("train", "val", "test"):
        data = load_dataset(
            f"eurosat:{tmp_path}", split=split, splits=SHARED, preprocess=Preprocess(resize=64, crop=64)
        )
        sizes[split] = len(data)
        totals += data.counts()
        contents.update(data._files)
        assert data.unreadable() == []
    assert sizes == {"train": 16_200, "val": 5_400, "test": 5_400}
    assert len(contents) == 27_000
    assert totals.tolist() == [3000, 3000, 3000, 2500, 2500, 2000, 2500, 3000, 2500, 3000]
