"""``imagenet:PATH``: folders of classes, a list, the devkit."""

import os
import shutil
from pathlib import Path

import pytest
from images_kit import save_image
from published_kit import write_devkit

from ftonnx.datasets import Preprocess, load_dataset
from ftonnx.datasets.published.imagenet import wnids
from ftonnx.errors import DataError, UsageError

SMALL = Preprocess(resize=4, crop=4)
SAMPLE = Path(os.environ.get("FTONNX_SHARED", Path(__file__).parents[3] / "shared")) / "data" / "imagenet"
CLASSES = (0, 999, 65, 0)
NAMES = [f"ILSVRC2012_val_0000000{number}.JPEG" for number in range(1, 5)]


def write_flat(folder):
    """Write four images of the classes above into one folder."""
    for number, name in enumerate(NAMES):
        save_image(folder / name, number)


def classes_of(data):
    """Return the class of every file."""
    return {file.name: int(label) for file, label in zip(data._files, data.labels, strict=True)}


def test_the_list_of_classes():
    """1,000 WordNet numbers in their order."""
    assert len(set(wnids())) == 1000
    assert list(wnids()) == sorted(wnids())
    assert (wnids()[0], wnids()[65], wnids()[-1]) == ("n01440764", "n01751748", "n15075141")


@pytest.mark.parametrize("split", ["val", "train"])
def test_folders_of_classes(split, tmp_path):
    """A class keeps its number where others have no images; the folder of a split is enough."""
    for number in (999, 65):
        save_image(tmp_path / split / wnids()[number] / "a.JPEG", number)
    data = load_dataset(f"imagenet:{tmp_path}", split=split, preprocess=SMALL)
    assert sorted(data.labels) == [65, 999]
    assert (data.classes, data.split) == (1000, split)
    alone = load_dataset(f"imagenet:{tmp_path / split}", preprocess=SMALL)
    assert sorted(alone.labels) == [65, 999]
    assert alone.split is None
    assert any("998 of 1,000 classes have no images" in warning for warning in alone.labelling.warnings)


@pytest.mark.parametrize("place", ["", "val"])
@pytest.mark.parametrize("named", [False, True])
def test_a_flat_folder_with_a_list(place, named, tmp_path):
    """Class numbers from 0 in the order of the WordNet numbers, or these."""
    write_flat(tmp_path / "val")
    labels = [wnids()[number] if named else number for number in CLASSES]
    lines = [f"{name} {label}\n" for name, label in zip(NAMES, labels, strict=True)]
    (tmp_path / place / "val_map.txt").write_text("".join(lines))
    data = load_dataset(f"imagenet:{tmp_path}", preprocess=SMALL)
    assert classes_of(data) == dict(zip(NAMES, CLASSES, strict=True))


@pytest.mark.parametrize("place", ["", "val", "ILSVRC2012_devkit_t12"])
def test_a_flat_folder_with_the_devkit(place, tmp_path):
    """Its IDs are in another order than the classes: less one they would be wrong."""
    write_flat(tmp_path / "val")
    ids = {wnids()[0]: 449, wnids()[65]: 1, wnids()[999]: 66, wnids()[448]: 1000}
    write_devkit(tmp_path / place, [ids[wnids()[number]] for number in CLASSES], ids)
    data = load_dataset(f"imagenet:{tmp_path}", preprocess=SMALL)
    assert classes_of(data) == dict(zip(NAMES, CLASSES, strict=True))


def test_a_devkit_without_its_table_or_with_another_id(tmp_path):
    """Nobody can guess the order."""
    write_flat(tmp_path / "val")
    write_devkit(tmp_path, [1, 2, 3, 4], {wnids()[0]: 1, wnids()[1]: 2})
    with pytest.raises(DataError, match=r"line 3: expected the ID of a class in meta.mat, got '3'"):
        load_dataset(f"imagenet:{tmp_path}")
    meta = tmp_path / "data" / "meta.mat"
    meta.write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match=r"meta.mat: expected the devkit's table of classes"):
        load_dataset(f"imagenet:{tmp_path}")
    meta.unlink()
    with pytest.raises(DataError, match="its IDs are in no order without it"):
        load_dataset(f"imagenet:{tmp_path}")


def test_images_without_a_class(tmp_path):
    """All of them, one of them, or with a label that is none."""
    write_flat(tmp_path / "val")
    with pytest.raises(DataError, match="got images alone; put one of these beside them"):
        load_dataset(f"imagenet:{tmp_path}")
    listed = tmp_path / "val_map.txt"
    listed.write_text(f"{NAMES[0]} 5\n")
    with pytest.raises(DataError, match=f"got none for {NAMES[1]}; add or remove it"):
        load_dataset(f"imagenet:{tmp_path}")
    listed.write_text(f"{NAMES[0]} 1000\n")
    with pytest.raises(
        DataError, match="line 1: expected a class number from 0 to 999, or a WordNet number, got '1000'"
    ):
        load_dataset(f"imagenet:{tmp_path}")


def test_names_beside_the_images_are_shown(tmp_path):
    """Those of a list in the classes' own order; another is another data set's."""
    save_image(tmp_path / wnids()[1] / "a.JPEG")
    (tmp_path / "synset_words.txt").write_text("".join(f"{wnid} thing {n}\n" for n, wnid in enumerate(wnids())))
    data = load_dataset(f"imagenet:{tmp_path}", preprocess=SMALL)
    assert data.class_names[1] == f"{wnids()[1]} thing 1"
    (tmp_path / "synset_words.txt").write_text("cat\ndog\n")
    assert load_dataset(f"imagenet:{tmp_path}", preprocess=SMALL).class_names[1] == wnids()[1]


def test_preprocessing_is_that_of_published_networks(tmp_path):
    """256, 224, mean and std; SwAV and DINO say what differs."""
    save_image(tmp_path / wnids()[1] / "a.JPEG")
    data = load_dataset(f"imagenet:{tmp_path}", preprocess=Preprocess(interpolation="bicubic"))
    assert data.preprocess.as_dict() == {
        "scale": 1 / 255,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "resize": 256,
        "crop": 224,
        "channels": "rgb",
        "interpolation": "bicubic",
    }


def test_other_folders_are_refused(tmp_path):
    """With the way on."""
    with pytest.raises(DataError, match="got no images; check the path"):
        load_dataset(f"imagenet:{tmp_path}")
    with pytest.raises(DataError, match="expected the folder of ImageNet, got none"):
        load_dataset(f"imagenet:{tmp_path / 'nowhere'}")
    with pytest.raises(UsageError, match="expected a folder val for the split"):
        load_dataset(f"imagenet:{tmp_path}", split="val")


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the ImageNet sample is not here (FTONNX_SHARED)")
def test_the_real_sample(tmp_path):
    """One image of every fourth class."""
    shutil.unpack_archive(SAMPLE / "sample_250.zip", tmp_path)
    data = load_dataset(f"imagenet:{tmp_path}", preprocess=SMALL)
    assert sorted(data.labels) == list(range(0, 1000, 4))
