"""``hf:PATH``: parquet files, and data sets saved by Hugging Face's ``datasets``."""

import numpy as np
import polars as pl
import pytest
from images_kit import all_of
from published_kit import pixels, table, write_parquet, write_saved

from ftonnx.datasets import Preprocess, load_dataset
from ftonnx.errors import DataError, UsageError

AS_STORED = Preprocess(scale=1.0)
LABELS = [1, 0, 2, 1, 0, 2, 1]
NAMES = ("cat", "dog", "eel")


@pytest.mark.parametrize(
    "name",
    [
        "test.parquet",
        "test-00000-of-00001.parquet",
        "data/test-00000-of-00001-0a1b2c.parquet",
        "default/test/0000.parquet",
    ],
)
def test_parquet_files_are_splits_by_their_names(name, tmp_path):
    """Or by their folder's; classes have the names that the file says."""
    write_parquet(tmp_path / name, LABELS, NAMES)
    write_parquet(tmp_path / name.replace("test", "train"), LABELS + LABELS)
    data = load_dataset(f"hf:{tmp_path}", preprocess=AS_STORED)
    images, labels = all_of(data)
    np.testing.assert_array_equal(images, pixels(len(LABELS)))
    assert labels.tolist() == LABELS
    assert (data.split, data.classes, data.class_names) == ("test", 3, NAMES)
    assert len(load_dataset(f"hf:{tmp_path}", split="train")) == 2 * len(LABELS)


def test_shards_are_one_table(tmp_path):
    """In the order of their numbers; batches cross them."""
    for shard in range(3):
        file = tmp_path / f"test-0000{shard}-of-00003.parquet"
        write_parquet(file, [shard, 0], NAMES)
    data = load_dataset(f"hf:{tmp_path}", preprocess=AS_STORED)
    assert data.labels.tolist() == [0, 0, 1, 0, 2, 0]
    batches = [images for images, _ in data.batches(4)]
    assert [len(images) for images in batches] == [4, 2]
    np.testing.assert_array_equal(np.concatenate(batches), np.concatenate([pixels(2)] * 3))
    assert len(load_dataset(f"hf:{tmp_path}", limit=3)) == 3


def test_what_save_to_disk_wrote(tmp_path):
    """A folder per split, Arrow streams in it."""
    write_saved(tmp_path / "saved", {"train": [0, 1], "validation": LABELS}, NAMES)
    spec = f"hf:{tmp_path / 'saved'}"
    data = load_dataset(spec, split="val", preprocess=AS_STORED)
    assert (data.split, data.labels.tolist(), data.class_names) == ("validation", LABELS, NAMES)
    np.testing.assert_array_equal(all_of(data)[0], pixels(len(LABELS)))
    with pytest.raises(UsageError, match="expected `split` to be one of train, validation, got none; name one"):
        load_dataset(spec)
    with pytest.raises(UsageError, match="expected a split of train, validation, got 'trian'; did you mean train"):
        load_dataset(spec, split="trian")


def test_a_single_file(tmp_path):
    """It is the split that it is named after."""
    write_parquet(tmp_path / "mine.parquet", LABELS)
    data = load_dataset(f"hf:{tmp_path / 'mine.parquet'}")
    assert (data.split, data.classes, data.class_names) == (None, 3, None)
    with pytest.raises(UsageError, match="expected a split of none, got 'test'"):
        load_dataset(f"hf:{tmp_path / 'mine.parquet'}", split="test")


def test_images_as_plain_bytes_under_other_names(tmp_path):
    """The only column of bytes, and the only one of whole numbers."""
    frame = table(LABELS).select(picture=pl.col("image").struct.field("bytes"), kind="label", note=pl.lit("text"))
    frame.write_parquet(tmp_path / "test.parquet")
    assert load_dataset(f"hf:{tmp_path}").labels.tolist() == LABELS


def test_names_that_somebody_gives_win(tmp_path):
    """Where there are enough of them."""
    write_parquet(tmp_path / "test.parquet", LABELS, NAMES)
    names = tmp_path / "names.txt"
    names.write_text("a\nb\nc\nd\n")
    data = load_dataset(f"hf:{tmp_path}", class_names=names)
    assert (data.classes, data.class_names) == (4, ("a", "b", "c", "d"))
    names.write_text("a\nb\n")
    with pytest.raises(DataError, match="expected names of 3 classes or more, got 2"):
        load_dataset(f"hf:{tmp_path}", class_names=names)


def test_columns_that_nobody_can_tell(tmp_path):
    """They are listed."""
    pl.DataFrame({"text": ["a"], "label": [1]}).write_parquet(tmp_path / "test.parquet")
    with pytest.raises(DataError, match=r"expected a column of images and one of whole numbers .*got text, label"):
        load_dataset(f"hf:{tmp_path}")


def test_rows_without_an_image_or_a_label(tmp_path):
    """Images that are only named lie elsewhere."""
    frame = table(LABELS)
    frame.with_columns(label=pl.when(pl.col("label") == 2).then(None).otherwise("label")).write_parquet(
        tmp_path / "test.parquet"
    )
    with pytest.raises(DataError, match="expected a label in every row, got 2 without"):
        load_dataset(f"hf:{tmp_path}")
    missing = [each if number != 3 else {"bytes": None, "path": "x.png"} for number, each in enumerate(frame["image"])]
    frame.with_columns(image=pl.Series(missing, dtype=frame["image"].dtype)).write_parquet(tmp_path / "test.parquet")
    data = load_dataset(f"hf:{tmp_path}")
    with pytest.raises(DataError, match="expected an image in every row, got none in row 3"):
        all_of(data)
    assert len(data.unreadable()) == 1


def test_damaged_files_are_one_line(tmp_path):
    """Cut off, or something else."""
    write_parquet(tmp_path / "test.parquet", LABELS)
    whole = (tmp_path / "test.parquet").read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"nothing of the kind"):
        (tmp_path / "test.parquet").write_bytes(content)
        with pytest.raises(DataError, match=r"test.parquet: expected a table of images") as caught:
            load_dataset(f"hf:{tmp_path}")
        assert "\n" not in str(caught.value)


def test_folders_without_tables(tmp_path):
    """And none at all."""
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=r"expected parquet files, or a data set saved by .* got none"):
            load_dataset(f"hf:{path}")


def test_images_of_other_sizes_need_a_crop(tmp_path):
    """As in folders."""
    write_parquet(tmp_path / "test-00000-of-00002.parquet", [0, 1])
    other = table([0]).with_columns(
        image=pl.Series([{"bytes": _small(), "path": "s.png"}], dtype=table([0])["image"].dtype)
    )
    other.write_parquet(tmp_path / "test-00001-of-00002.parquet")
    data = load_dataset(f"hf:{tmp_path}")
    with pytest.raises(DataError, match=r"row 2: expected \(3, 32, 32\) like the first image, got \(3, 8, 8\)"):
        all_of(data)


def _small():
    from published_kit import png

    return png(pixels(1, side=8)[0])
