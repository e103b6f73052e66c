"""``as_dataset``: batches made by someone else."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftonnx.datasets import as_dataset, load_dataset
from ftonnx.errors import DataError, UsageError

IMAGES = np.random.default_rng(11).random((10, 1, 3, 3), np.float32)
LABELS = np.arange(10) % 4


class Stream:
    """A re-iterable that counts its passes; ``change`` edits the batches of the second pass."""

    def __init__(self, change=lambda images, labels: (images, labels)):
        self.passes = 0
        self.change = change

    def __iter__(self):
        """Batches of four."""
        self.passes += 1
        for start in range(0, 10, 4):
            batch = IMAGES[start : start + 4], LABELS[start : start + 4]
            yield batch if self.passes == 1 else self.change(*batch)


def _all(data, size=100):
    return [np.concatenate(parts) for parts in zip(*data.batches(size), strict=True)]


def test_a_data_set_passes_through():
    """It is returned as it is."""
    data = load_dataset("digits")
    assert as_dataset(data, name="other") is data


def test_an_iterator_is_read_once_and_kept():
    """A generator can be gone through twice, although it gives its batches once."""
    data = as_dataset(batch for batch in Stream())
    for size in (3, 100):
        images, labels = _all(data, size)
        np.testing.assert_array_equal(images, IMAGES)
        np.testing.assert_array_equal(labels, LABELS)
    assert (data.name, data.split, data.classes, len(data)) == ("batches", None, 4, 10)


def test_a_re_iterable_is_streamed():
    """It is read once on opening and once per pass, and never kept."""
    stream = Stream()
    data = as_dataset(stream, name="mine")
    assert (stream.passes, data.name) == (1, "mine")
    np.testing.assert_array_equal(_all(data, 3)[0], IMAGES)
    assert stream.passes == 2


def test_a_reused_buffer_does_no_harm():
    """A source that overwrites one array gives the right images at every batch size."""

    def source():
        buffer = np.empty((2, 1, 3, 3), np.float32)
        for start in range(0, 10, 2):
            buffer[:] = IMAGES[start : start + 2]
            yield buffer, LABELS[start : start + 2]

    np.testing.assert_array_equal(_all(as_dataset(source()), 5)[0], IMAGES)


@given(st.lists(st.integers(0, 10), max_size=5), st.integers(1, 12))
def test_any_cut_of_the_batches_gives_the_same_images(cuts, size):
    """Rebatching and fingerprint do not depend on how the source was cut."""
    edges = [0, *sorted(cuts), 10]
    data = as_dataset([(IMAGES[a:b], LABELS[a:b]) for a, b in pairwise(edges)])
    images, labels = _all(data, size)
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)
    assert data.fingerprint == as_dataset([(IMAGES, LABELS)]).fingerprint


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_become_float32(dtype):
    """float16 and float64 are cast, not scaled."""
    images, _ = _all(as_dataset([(IMAGES.astype(dtype), LABELS)]))
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, IMAGES.astype(dtype).astype(np.float32))


def test_torch_tensors_are_accepted():
    """A torch DataLoader is such an iterable."""
    torch = pytest.importorskip("torch")
    pairs = torch.utils.data.TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(LABELS))
    data = as_dataset(torch.utils.data.DataLoader(pairs, batch_size=4))
    np.testing.assert_array_equal(_all(data, 3)[0], IMAGES)


def test_a_torch_tensor_that_numpy_cannot_read_is_refused():
    """A tensor that requires grad is a DataError, not a RuntimeError."""
    torch = pytest.importorskip("torch")
    with pytest.raises(DataError, match="batch 0: expected NumPy arrays, got RuntimeError"):
        as_dataset([(torch.zeros(1, 1, 2, 2, requires_grad=True), torch.zeros(1, dtype=torch.int64))])


@pytest.mark.parametrize(
    "change",
    [
        lambda images, labels: (images[::-1], labels),
        lambda images, labels: (images, labels[::-1]),
        lambda images, labels: (images + np.float32(1e-6), labels),
        lambda images, labels: (images.reshape(-1, 1, 1, 9), labels),
        lambda images, labels: (images[:1], labels[:1]),
    ],
    ids=["shuffled images", "shuffled labels", "augmented", "reshaped", "fewer"],
)
def test_a_source_that_changes_between_passes_is_refused(change):
    """Shuffling, augmentation or missing images in a later pass are an error with advice."""
    data = as_dataset(Stream(change))
    with pytest.raises(DataError, match=r"the same 10 images in every pass, got .*turn off"):
        list(data.batches(4))


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (IMAGES, r"expected a pair \(images, labels\), got ndarray"),
        ((IMAGES,), r"expected a pair \(images, labels\), got tuple"),
        ({"images": IMAGES}, r"expected a pair \(images, labels\), got dict"),
        ((IMAGES.astype(complex), LABELS), "expected numbers, got complex128"),
        (({"a": IMAGES, "b": IMAGES[:3]}, LABELS), "as many rows in every array"),
        (({}, LABELS), "arrays by the names of the model's inputs"),
        (({3: IMAGES}, LABELS), "arrays by the names of the model's inputs"),
        (([[1.0], [1.0, 2.0]], LABELS), "expected NumPy arrays, got ValueError"),
        ((IMAGES[:, :, :0], LABELS), r"got shape \(10, 1, 0, 3\)"),
        ((IMAGES, LABELS[:9]), "got 9 labels for 10 images"),
        ((IMAGES, LABELS > 1), "labels as integers or floats"),
        ((IMAGES, LABELS - 1), "labels from 0 to 1048575, got -1"),
        ((IMAGES * np.float32(np.nan), LABELS), "got NaN or Inf in image 0"),
        ((IMAGES.astype(np.float64) * 1e300, LABELS), "got NaN or Inf"),
    ],
)
def test_a_bad_batch_is_refused_by_its_number(batch, message):
    """The second batch is bad; the message says which and why."""
    with pytest.raises(DataError, match=f"mine, batch 1: .*{message}") as caught:
        as_dataset([(IMAGES, LABELS), batch], name="mine")
    assert "\n" not in str(caught.value)


def test_batches_of_several_shapes_are_refused():
    """One data set has one sample shape."""
    with pytest.raises(DataError, match=r"images of one shape, got \(1, 3, 3\) and \(1, 1, 9\)"):
        as_dataset([(IMAGES, LABELS), (IMAGES.reshape(10, 1, 1, 9), LABELS)])


@pytest.mark.parametrize("batches", [[], iter([]), [(IMAGES[:0], LABELS[:0])]])
def test_no_images_are_refused(batches):
    """An empty source is no data set."""
    with pytest.raises(DataError, match="expected at least one image, got none"):
        as_dataset(batches)


@pytest.mark.parametrize("batches", [None, 3, lambda: []])
def test_what_cannot_be_iterated_is_refused(batches):
    """A function, for one, has to be called first."""
    with pytest.raises(UsageError, match="expected an iterable of"):
        as_dataset(batches)


def test_a_dict_holds_all_of_the_data():
    """As an archive does: images, or arrays by the names of a model's inputs."""
    plain = as_dataset([(IMAGES, LABELS)])
    assert as_dataset({"images": IMAGES, "labels": LABELS}).fingerprint == plain.fingerprint
    named = as_dataset({"a": IMAGES, "b": IMAGES[:, 0], "labels": LABELS})
    assert named.sample_shape == {"a": (1, 3, 3), "b": (3, 3)}
    (samples, labels) = next(named.batches(4))
    np.testing.assert_array_equal(samples["b"], IMAGES[:4, 0])
    np.testing.assert_array_equal(labels, LABELS[:4])


@pytest.mark.parametrize("arrays", [{}, {"labels": LABELS}, {"images": IMAGES}])
def test_a_dict_without_labels_or_samples_is_refused(arrays):
    """With what it holds."""
    with pytest.raises(DataError, match="expected 'labels', and 'images' or arrays"):
        as_dataset(arrays)


def test_of_a_list_single_batches_are_read_without_the_others():
    """Across its own batches, of one array or several; a change is noticed where it is met."""
    pairs = [(IMAGES[:4], LABELS[:4]), (IMAGES[4:5], LABELS[4:5]), (IMAGES[5:].copy(), LABELS[5:])]
    data = as_dataset(pairs)
    assert data.any_order
    assert not as_dataset(Stream()).any_order
    assert not as_dataset([*pairs, (IMAGES[:0], LABELS[:0])]).any_order
    for size in (1, 3, 7):
        every = list(data.batches(size))
        for number in range(len(every)):
            ((images, labels),) = data.batches(size, [number])
            np.testing.assert_array_equal(images, every[number][0])
            np.testing.assert_array_equal(labels, every[number][1])
    named = as_dataset({"left": IMAGES, "right": IMAGES[:, 0], "labels": LABELS})
    ((samples, _),) = named.batches(3, [1])
    np.testing.assert_array_equal(samples["right"], IMAGES[3:6, 0])
    pairs[2][0][:] = 0
    assert len(list(data.batches(3, [0]))) == 1
    with pytest.raises(DataError, match="others among images 6 to 8"):
        list(data.batches(3, [2]))


def test_of_a_stream_no_batch_is_read_behind_the_last_one_wanted():
    """A pass ends there."""
    stream = Stream(lambda images, labels: (images, labels) if images[0, 0, 0, 0] != IMAGES[8, 0, 0, 0] else None)
    data = as_dataset(stream)
    ((images, _),) = data.batches(4, [1])
    np.testing.assert_array_equal(images, IMAGES[4:8])
