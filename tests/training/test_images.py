"""The images of a training: in any order, cut and mirrored at random."""

import numpy as np
import pytest
from published_kit import pixels, png, write_parquet
from training_kit import opened, write_squares

from ftonnx.datasets import load_dataset
from ftonnx.errors import DataError
from ftonnx.training.images import TrainingImages


def rng(seed=0):
    """Return a generator of its own."""
    return np.random.default_rng(seed)


def whole(batches):
    """Return all images and labels of some batches."""
    found = list(batches)
    return np.concatenate([each.images for each in found]), np.concatenate([each.labels for each in found])


@pytest.fixture
def data(tmp_path):
    """48 images of three classes."""
    return opened(write_squares(tmp_path))[0]


def test_every_image_is_met_once_with_its_label(data):
    """In another order, prepared as for a test where nothing is cut or mirrored."""
    images, labels = whole(TrainingImages(data).shuffled(16, rng(), flips=False))
    expected, own = next(data.batches(48))
    order = [int(np.flatnonzero((expected == image).all((1, 2, 3)))[0]) for image in images]
    assert sorted(order) == list(range(48))
    assert order != sorted(order)
    assert labels.tolist() == own[order].tolist()


def test_only_whole_batches_are_met_unless_there_is_none(data):
    """A last batch of one image would upset batch statistics."""
    assert [len(batch.labels) for batch in TrainingImages(data).shuffled(20, rng(), flips=True)] == [20, 20]
    assert [len(batch.labels) for batch in TrainingImages(data).shuffled(100, rng(), flips=True)] == [48]


def test_the_seed_decides_everything(data):
    """Order, flips and windows."""
    images = TrainingImages(data)
    first, _ = whole(images.shuffled(16, rng(1), flips=True))
    again, _ = whole(images.shuffled(16, rng(1), flips=True))
    other, _ = whole(images.shuffled(16, rng(2), flips=True))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_flips_are_the_four_that_there_are(data):
    """Each about as often."""
    expected, _ = next(data.batches(48))
    counts = np.zeros(4, int)
    for seed in range(20):
        images, _ = whole(TrainingImages(data).shuffled(48, rng(seed), flips=True))
        for image in images[:5]:
            for kind, back in enumerate((image, image[:, :, ::-1], image[:, ::-1], image[:, ::-1, ::-1])):
                counts[kind] += bool((expected == back).all((1, 2, 3)).any())
    assert counts.sum() == 100
    assert counts.min() > 10


def test_windows_lie_everywhere_and_nowhere_else(tmp_path):
    """In the place of the centre that a test cuts, before mean and std."""
    data, _ = opened(write_squares(tmp_path), crop=6, mean=(0.25,), std=(0.5,))
    stored = load_dataset(f"npz:{tmp_path}", split="train")
    pixels = (next(stored.batches(48))[0] - np.float32(0.25)) / np.float32(0.5)
    windows = np.stack([pixels[:, :, top : top + 6, left : left + 6] for top in range(3) for left in range(3)])
    places = set()
    for seed in range(30):
        images, _ = whole(TrainingImages(data).shuffled(48, rng(seed), flips=False))
        assert images.shape[1:] == (3, 6, 6)
        for image in images[:3]:
            is_equal = np.isclose(windows, image, atol=1e-6).all((2, 3, 4))
            (place,) = np.flatnonzero(is_equal.any(1))
            places.add(int(place))
    assert len(places) == 9


def test_tables_are_read_in_any_order_too(tmp_path):
    """Their images are held in memory from then on."""
    write_parquet(tmp_path / "train.parquet", [0, 1, 2, 0, 1, 2])
    data = load_dataset(f"hf:{tmp_path}")
    images, labels = whole(TrainingImages(data).shuffled(6, rng(), flips=False))
    expected, own = next(data.batches(6))
    order = [int(np.flatnonzero((expected == image).all((1, 2, 3)))[0]) for image in images]
    assert labels.tolist() == own[order].tolist()


def test_data_that_cannot_be_trained_on_is_refused(tmp_path):
    """Labels that are no classes, and streams."""
    np.savez(tmp_path / "x.npz", images=np.zeros((4, 3, 8, 8), np.uint8), labels=np.float32([0.5, 1, 2, 3]))
    with pytest.raises(DataError, match="class numbers were expected as labels, got float"):
        TrainingImages(load_dataset(f"npz:{tmp_path / 'x.npz'}"))
    np.savez(tmp_path / "flat.npz", images=np.zeros((4, 5), np.float32), labels=np.arange(4))
    with pytest.raises(DataError, match=r"images \(channels, height, width\) were expected, got \(5,\)"):
        TrainingImages(load_dataset(f"npz:{tmp_path / 'flat.npz'}"))
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n\ndef load():\n    yield np.zeros((2, 3, 8, 8), np.float32), np.arange(2)\n"
    )
    with pytest.raises(DataError, match="can be read one after the other only; give files or arrays"):
        TrainingImages(load_dataset(f"{tmp_path / 'mine.py'}:load"))


def test_images_of_several_sizes_need_a_crop(tmp_path):
    """A batch is one array."""
    write_parquet(tmp_path / "train.parquet", [0, 1, 2])
    data = load_dataset(f"hf:{tmp_path}")
    data.stored(0)  # from now on they are held
    data._held[1] = png(pixels(1, side=8)[0])
    with pytest.raises(DataError, match=r"expected \(3, 32, 32\) like the first image, got \(3, 8, 8\); give resize"):
        whole(TrainingImages(data).shuffled(3, rng(), flips=False))
