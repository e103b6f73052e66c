"""The images of a training: in any order, cut and mirrored at random."""

import numpy as np
import pytest
from PIL import Image
from published_kit import pixels, png, write_parquet
from training_kit import opened, write_squares

from ftonnx.datasets import Preprocess, load_dataset
from ftonnx.datasets.subset import held_out
from ftonnx.errors import DataError
from ftonnx.training.images import TrainingImages, in_order


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


@pytest.mark.parametrize("flips", [False, True])
def test_processes_beside_this_one_read_the_same_images(data, flips):
    """As for a network on another device."""
    ours = whole(TrainingImages(data).shuffled(10, rng(), flips=flips))
    theirs = whole(TrainingImages(data).shuffled(10, rng(), flips=flips, processes=2))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("processes", [0, 2])
def test_images_in_order_are_the_batches_of_the_data_set(data, tmp_path, processes):
    """Of tables too, which are read one after the other."""
    write_parquet(tmp_path / "train.parquet", [0, 1, 2, 0, 1, 2])
    for each in (data, load_dataset(f"hf:{tmp_path}")):
        found = list(in_order(each, 5, processes))
        for mine, other in zip(found, each.batches(5), strict=True):
            np.testing.assert_array_equal(mine.images, other[0])
            np.testing.assert_array_equal(mine.labels, other[1])


@pytest.mark.slow
def test_an_image_that_a_process_cannot_read_is_named(tmp_path):
    """In one line, without the process's traceback."""
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "good.png").write_bytes(png(pixels(1, 8)[0]))
    broken = tmp_path / "b" / "bad.png"
    broken.write_bytes(b"no image")
    data = load_dataset(f"folder:{tmp_path}")
    for batches in (in_order(data, 1, 2), TrainingImages(data).shuffled(3, rng(), flips=True, processes=2)):
        with pytest.raises(DataError, match=r"bad\.png") as caught:
            list(batches)
        assert "Traceback" not in str(caught.value)


def test_data_that_cannot_be_trained_on_is_refused(tmp_path):
    """What is no images, and streams."""
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


def write_same(folder, side=8):
    """Write images whose channels are all their label map, no two pixels alike; return the spec."""
    values = np.arange(6 * side * side, dtype=np.float32).reshape(6, 1, side, side)
    np.savez(folder / "train.npz", images=values.repeat(3, 1), labels=values[:, 0].astype(np.int64))
    return f"npz:{folder}"


@pytest.mark.parametrize(("fields", "corners"), [({}, 24), ({"crop": 5}, 80), ({"resize": 8, "crop": 6}, 80)])
def test_label_maps_are_cut_and_mirrored_as_their_images(tmp_path, fields, corners):
    """Every pixel keeps its label, wherever the window lies and whatever is mirrored."""
    data = load_dataset(write_same(tmp_path), split="train", preprocess=Preprocess(**fields))
    side = fields.get("crop", 8)
    seen = set()
    for seed in range(20):
        images, labels = whole(TrainingImages(data).shuffled(3, rng(seed), flips=True))
        assert labels.shape == (6, side, side)
        np.testing.assert_array_equal(images, labels[:, None].repeat(3, 1).astype(np.float32))
        seen |= set(labels[:, 0, 0].tolist())
    assert len(seen) >= corners  # of all mirror images of six images, wherever windows lie


def test_label_maps_of_files_are_cut_as_their_images(tmp_path):
    """Their own pixels, read again; of some of the images too."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for number in range(4):
        values = rng(number).integers(0, 200, (9, 9), np.uint8)
        Image.fromarray(values).convert("RGB").save(tmp_path / "images" / f"{number}.png")
        Image.fromarray(values).save(tmp_path / "masks" / f"{number}.png")
    cut = Preprocess(crop=4, scale=1.0)
    data = load_dataset(f"masks:{tmp_path / 'images'},{tmp_path / 'masks'}", preprocess=cut)
    for part in (data, held_out(data, 0.5, seed=1)[0]):
        images, labels = whole(TrainingImages(part).shuffled(2, rng(), flips=True))
        np.testing.assert_array_equal(images, labels[:, None].repeat(3, 1).astype(np.float32))


def test_label_maps_of_another_size_are_not_cut(tmp_path):
    """Nobody knows where; without a cut they may be what the network gives."""
    np.savez(tmp_path / "x.npz", images=np.zeros((4, 3, 8, 8), np.uint8), labels=np.zeros((4, 4, 4), np.int64))
    _, labels = whole(TrainingImages(load_dataset(f"npz:{tmp_path / 'x.npz'}")).shuffled(4, rng(), flips=True))
    assert labels.shape == (4, 4, 4)
    data = load_dataset(f"npz:{tmp_path / 'x.npz'}", preprocess=Preprocess(crop=4))
    with pytest.raises(DataError, match="label maps of the images' size were expected, got none that can be cut"):
        whole(TrainingImages(data).shuffled(4, rng(), flips=True))
