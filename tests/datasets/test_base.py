"""What all data sets promise: batches of any size, one fingerprint, light imports."""

import subprocess
import sys
import weakref
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftonnx.datasets import as_dataset, load_dataset
from ftonnx.datasets.base import rebatch
from ftonnx.errors import UsageError


def _batches(lengths):
    """Batches of the given lengths, whose pixels and labels count up."""
    starts = np.cumsum([0, *lengths])
    images = np.arange(starts[-1] * 6, dtype=np.float32).reshape(-1, 1, 2, 3)
    return [(images[a:b], np.arange(a, b)) for a, b in pairwise(starts)]


@given(st.lists(st.integers(0, 7), max_size=6), st.integers(1, 9))
def test_rebatching_keeps_every_image_in_order(lengths, size):
    """Whatever the pieces, all batches but the last have the size asked for, and their sum is the whole."""
    pieces = _batches(lengths)
    result = list(rebatch(pieces, size))
    total = sum(lengths)
    assert [len(labels) for _, labels in result] == [size] * (total // size) + [total % size] * (total % size > 0)
    assert [int(label) for _, labels in result for label in labels] == list(range(total))
    for images, labels in result:
        np.testing.assert_array_equal(images[:, 0, 0, 0], labels * 6)


@pytest.mark.parametrize("size", [3, 6])
def test_a_batch_that_was_used_is_gone_while_the_next_is_read(size):
    """Whether it is a piece or made of several: images may be a large part of what a campaign needs."""
    read = []

    def pieces():
        for _ in range(6):
            if len(read) * 3 % size == 0:
                assert all(images() is None for images in read)
            images = np.zeros((3, 1, 1, 1), np.float32)
            read.append(weakref.ref(images))
            yield images, np.zeros(3, np.int64)
            del images

    for images, labels in rebatch(pieces(), size):
        assert len(images) == len(labels) == size
        del images, labels
    assert len(read) == 6


@given(st.lists(st.integers(1, 7), min_size=1, max_size=6))
def test_the_fingerprint_does_not_depend_on_how_the_data_was_batched(lengths):
    """One fingerprint for every cut of the same images."""
    whole = as_dataset(_batches([sum(lengths)]))
    assert as_dataset(_batches(lengths)).fingerprint == whole.fingerprint


def test_a_data_set_can_be_read_again_at_any_batch_size():
    """Two passes at two sizes give the same images and labels."""
    data = load_dataset("digits")
    once = [np.concatenate(parts) for parts in zip(*data.batches(7), strict=True)]
    again = [np.concatenate(parts) for parts in zip(*data.batches(500), strict=True)]
    np.testing.assert_array_equal(once[0], again[0])
    np.testing.assert_array_equal(once[1], again[1])
    assert (once[0].dtype, once[1].dtype) == (np.float32, np.int64)
    assert len(data) == len(once[0])
    assert once[0].shape[1:] == data.sample_shape


def test_changing_a_batch_does_not_change_the_data():
    """Batches are the caller's to write to."""
    for data in (load_dataset("digits", limit=4), as_dataset(_batches([4]))):
        images, labels = next(data.batches(4))
        kept = images.copy(), labels.copy()
        images[:] = 0
        labels[:] = 0
        again = next(data.batches(4))
        np.testing.assert_array_equal(again[0], kept[0])
        np.testing.assert_array_equal(again[1], kept[1])


@pytest.mark.parametrize("size", [0, -3])
def test_a_batch_size_below_one_is_refused_at_once(size):
    """The error comes with the call, not with the first batch."""
    with pytest.raises(UsageError, match=f"batch size of at least 1, got {size}"):
        load_dataset("digits").batches(size)


def test_counts_and_repr_describe_the_data():
    """Images per class add up to the length, and the repr names what matters."""
    data = load_dataset("digits", limit=50)
    assert data.counts().shape == (10,)
    assert data.counts().sum() == len(data) == 50
    assert repr(data) == "Dataset('digits', split='test', images=50, shape=(1, 8, 8), classes=10)"


def test_importing_the_room_and_reading_digits_loads_no_heavy_library():
    """Data that does not need torch, ONNX Runtime, Pillow or scikit-learn does not import them."""
    code = (
        "import sys, ftonnx.datasets as d; next(d.load_dataset('digits').batches(8));"
        "sys.exit(bool({'torch', 'onnxruntime', 'PIL', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
