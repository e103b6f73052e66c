"""``folder:PATH``: image files, against Pillow by hand."""

import os

import numpy as np
import pytest
from images_kit import all_of, save_image
from PIL import Image

from ftonnx.datasets import Preprocess, load_dataset
from ftonnx.datasets.kinds import parse_spec
from ftonnx.errors import DataError, UsageError

PIXELS = np.random.default_rng(7).integers(0, 256, (24, 30, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Three classes with 1, 3 and 2 images of 30 x 24 pixels that differ by their brightness."""
    for label, (name, count) in enumerate([("ant", 1), ("bee", 3), ("cat", 2)]):
        (tmp_path / name).mkdir()
        for index in range(count):
            image = Image.fromarray(PIXELS // (1 + label * 3 + index))
            image.save(tmp_path / name / f"{index}.png")
    return tmp_path


def test_images_come_round_robin_over_the_sorted_classes(folder):
    """The first of every class, then the second of every class; labels are positions of the sorted names."""
    images, labels = all_of(load_dataset(f"folder:{folder}"))
    assert labels.tolist() == [0, 1, 2, 1, 2, 1]
    divisors = [1, 4, 7, 5, 8, 6]
    expected = np.stack([(PIXELS // divisor).transpose(2, 0, 1) for divisor in divisors])
    np.testing.assert_array_equal(images, expected.astype(np.float32) * np.float32(1 / 255))


def test_a_limit_keeps_the_classes_balanced(folder):
    """Four of six images: one ant, two bees, one cat."""
    data = load_dataset(f"folder:{folder}", limit=4)
    assert data.counts().tolist() == [1, 2, 1]
    assert data.classes == 3
    assert len(load_dataset(f"folder:{folder}", limit=99)) == 6


def test_resize_and_crop_are_pillows(folder):
    """Short side to 20 pixels, centre 16 x 16, as done by hand with Pillow."""
    data = load_dataset(f"folder:{folder}", preprocess=Preprocess(resize=20, crop=16))
    assert data.sample_shape == (3, 16, 16)
    by_hand = Image.fromarray(PIXELS).resize((25, 20), Image.Resampling.BILINEAR).crop((4, 2, 20, 18))
    expected = np.asarray(by_hand).transpose(2, 0, 1).astype(np.float32) * np.float32(1 / 255)
    np.testing.assert_array_equal(all_of(data)[0][0], expected)


def test_batches_of_any_size_are_read_from_disk(folder):
    """A batch needs the files of its own images, and no others."""
    data = load_dataset(f"folder:{folder}")
    assert [len(labels) for _, labels in data.batches(4)] == [4, 2]
    batches = data.batches(2)
    for path in folder.glob("*/[12].png"):  # all but the first of every class
        path.unlink()
    assert len(next(batches)[1]) == 2
    with pytest.raises(DataError, match=r"1\.png: expected an image, got No such file or directory"):
        next(batches)


def test_a_split_names_a_sub_folder(folder, tmp_path):
    """PATH/split holds the classes, and an unknown split is refused with the near name."""
    (tmp_path / "val").mkdir()
    for name in ("ant", "bee"):
        (tmp_path / name).rename(tmp_path / "val" / name)
    data = load_dataset(f"folder:{tmp_path}", split="val")
    assert (data.split, data.classes, len(data)) == ("val", 2, 4)
    with pytest.raises(UsageError, match=r"expected a sub-folder vall for the split, got cat, val; did you mean val\?"):
        load_dataset(f"folder:{tmp_path}", split="vall")


def test_a_folder_of_splits_asks_for_one(tmp_path):
    """Sub-folders that hold only folders are taken for splits, and so are those that are called so."""
    for name in ("one", "two"):
        (tmp_path / "any" / name / "ant").mkdir(parents=True)
    with pytest.raises(DataError, match=r"got no images; name a split \(one, two\)"):
        load_dataset(f"folder:{tmp_path}/any")
    (tmp_path / "any").rename(tmp_path / ".hidden")
    for split in ("train", "val"):
        save_image(tmp_path / split / "0.png")
    with pytest.raises(DataError, match=r"got splits; name a split \(train, val\)"):
        load_dataset(f"folder:{tmp_path}")


def test_the_toml_in_the_folder_is_read(folder):
    """PATH/preprocess.toml says how, and how many classes."""
    (folder / "preprocess.toml").write_text("scale = 1.0\ncrop = 8\nchannels = 'bgr'\nclasses = 10\n")
    data = load_dataset(f"folder:{folder}")
    assert (data.sample_shape, data.classes) == ((3, 8, 8), 10)
    np.testing.assert_array_equal(all_of(data)[0][0], PIXELS[8:16, 11:19, ::-1].transpose(2, 0, 1))


def test_links_are_followed_and_other_files_left_out(folder):
    """A linked image counts; text files and hidden entries do not."""
    (folder / "ant" / "linked.png").symlink_to(folder / "bee" / "0.png")
    (folder / "ant" / "notes.txt").write_text("no image")
    (folder / "ant" / ".hidden.png").write_text("no image")
    (folder / ".cache").mkdir()
    (folder / "readme.md").write_text("no class")
    assert load_dataset(f"folder:{folder}").counts().tolist() == [2, 3, 2]


def test_the_fingerprint_follows_content_and_not_names(folder):
    """Renaming a file keeps the fingerprint; another byte, class, limit or preprocessing changes it."""
    spec = f"folder:{folder}"
    first = load_dataset(spec).fingerprint
    (folder / "ant" / "0.png").rename(folder / "ant" / "renamed.PNG")
    assert load_dataset(spec).fingerprint == first
    others = [
        load_dataset(spec, limit=5).fingerprint,
        load_dataset(spec, preprocess=Preprocess(crop=8)).fingerprint,
    ]
    (folder / "bee" / "2.png").rename(folder / "cat" / "2.png")
    others.append(load_dataset(spec).fingerprint)
    Image.fromarray(PIXELS ^ 1).save(folder / "ant" / "renamed.PNG")
    others.append(load_dataset(spec).fingerprint)
    assert len({first, *others}) == 5


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no image at all",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 40,
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
    ],
    ids=["empty", "text", "bad png", "postscript"],
)
def test_a_file_that_is_no_image_is_refused_by_name(folder, content):
    """PostScript, for which Pillow would start another program, is not decoded either."""
    (folder / "bee" / "1.png").write_bytes(content)
    data = load_dataset(f"folder:{folder}")
    with pytest.raises(DataError, match=r"1\.png: expected an image, got") as caught:
        list(data.batches(2))
    assert "\n" not in str(caught.value)


def test_a_truncated_image_is_refused_by_name(folder):
    """Half a file is not half an image."""
    path = folder / "cat" / "1.png"
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(DataError, match=r"1\.png: expected an image, got OSError"):
        list(load_dataset(f"folder:{folder}").batches(6))


def test_a_decompression_bomb_is_refused(folder, monkeypatch):
    """Pillow's warning about the number of pixels is taken seriously."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(DataError, match="DecompressionBombWarning"):
        load_dataset(f"folder:{folder}")


def test_a_broken_link_is_refused_by_name(folder):
    """A link to nowhere is not skipped silently."""
    (folder / "ant" / "gone.png").symlink_to(folder / "nowhere.png")
    data = load_dataset(f"folder:{folder}")
    with pytest.raises(DataError, match=r"gone\.png: expected an image, got No such file or directory"):
        list(data.batches(6))
    with pytest.raises(DataError, match=r"gone\.png: expected an image"):
        _ = data.fingerprint


def test_images_of_several_sizes_need_resize_and_crop(folder):
    """The error names the file and the way out, which works."""
    Image.fromarray(PIXELS[:20]).save(folder / "bee" / "0.png")
    with pytest.raises(DataError, match=r"0\.png: expected \(3, 24, 30\) like the first image.*give resize and crop"):
        list(load_dataset(f"folder:{folder}").batches(6))
    data = load_dataset(f"folder:{folder}", preprocess=Preprocess(resize=16, crop=16))
    assert all_of(data)[0].shape == (6, 3, 16, 16)


def test_an_image_smaller_than_the_crop_is_refused_by_name(folder):
    """No silent padding."""
    with pytest.raises(DataError, match=r"0\.png: crop=28 is larger than an image of 24 x 30 pixels"):
        load_dataset(f"folder:{folder}", preprocess=Preprocess(crop=28))


def test_an_empty_or_missing_folder_is_refused(tmp_path):
    """No classes, no images, no folder: each says what was expected."""
    with pytest.raises(DataError, match="got no images; known files"):
        load_dataset(f"folder:{tmp_path}")
    (tmp_path / "ant").mkdir()
    with pytest.raises(DataError, match="got no images; known files"):
        load_dataset(f"folder:{tmp_path}")
    with pytest.raises(DataError, match="nowhere: expected a folder with a sub-folder per class"):
        load_dataset(f"folder:{tmp_path}/nowhere")


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_an_unreadable_folder_is_refused(folder):
    """No permission is a DataError too."""
    (folder / "ant").chmod(0)
    try:
        with pytest.raises(DataError, match="ant: expected a readable folder, got Permission denied"):
            load_dataset(f"folder:{folder}")
    finally:
        (folder / "ant").chmod(0o755)


def test_folders_called_like_splits_are_splits_and_test_is_the_default(tmp_path):
    """As of other data sets; a folder of classes alone is one split, all of it."""
    for split, images in (("train", 3), ("test", 2)):
        for name in ("cat", "dog"):
            folder = tmp_path / "splits" / split / name
            folder.mkdir(parents=True)
            for number in range(images):
                Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number}.png")
    spec = f"folder:{tmp_path / 'splits'}"
    assert parse_spec(spec).has_splits
    found = load_dataset(spec)
    assert (found.split, len(found)) == ("test", 4)
    alone = f"folder:{tmp_path / 'splits' / 'train'}"
    assert not parse_spec(alone).has_splits
    assert (load_dataset(alone).split, len(load_dataset(alone))) == (None, 6)
