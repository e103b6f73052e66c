"""Finding elements in an optimized graph, with optimizers made up by the test: honest, strange and lying."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from onnx_zoo import model_of, random_floats, small_cnn

import ftonnx.runtime.layout.places as layout_module
from ftonnx.inject.tensors import words_of
from ftonnx.runtime.layout.placement import Placement
from ftonnx.runtime.layout.places import find_layout
from ftonnx.sessions import SessionOptions

SHAPE = (4, 6, 2, 3)
OPTIONS = SessionOptions(threads=1)


def conv(weights=None):
    """Return a model with one weight of shape (4, 6, 2, 3)."""
    weights = random_floats(*SHAPE) if weights is None else weights
    return model_of([helper.make_node("Conv", ["x", "w"], ["y"])], [("w", weights)], inputs={"x": (None, 6, 8, 8)})


def optimizer(change):
    """Return an optimizer whose result stores ``change(weights)`` as {name: array}."""

    def optimize(model, options, folder):
        copy = onnx.ModelProto.FromString(model.content)
        tensor = copy.graph.initializer[0]
        words = np.frombuffer(tensor.raw_data, np.uint32).reshape(SHAPE)
        del copy.graph.initializer[:]
        for name, array in change(words).items():
            copy.graph.initializer.append(
                numpy_helper.from_array(np.ascontiguousarray(array, np.uint32).view(np.float32), name)
            )
        return copy

    return optimize


def found(monkeypatch, *changes, model=None):
    """Find the weight where the optimizer does one thing to the model and another, or the same, to the twin."""
    calls = iter(changes[::-1] * (2 if len(changes) == 1 else 1))  # the twin comes first
    monkeypatch.setattr(layout_module, "optimize_model", lambda *arguments: optimizer(next(calls))(*arguments))
    model = model or conv()
    before = model.SerializeToString()
    layout = find_layout(model, ["w"], OPTIONS, Path())
    assert model.SerializeToString() == before
    return layout.places["w"], layout.model


def blocked(words):
    """Move the weights into blocks of 4 x 4 channels as NCHWc does, with zero padding."""
    padded = np.zeros((4, 8, 2, 3), np.uint32)
    padded[:, :6] = words
    return padded.reshape(1, 4, 2, 4, 2, 3).transpose(0, 2, 4, 5, 3, 1)


HONEST = {
    "kept": lambda w: {"w": w},
    "renamed": lambda w: {"other": w},
    "flattened": lambda w: {"w2": w.reshape(4, -1)},
    "transposed": lambda w: {"w2": w.transpose(2, 0, 3, 1)},
    "reversed": lambda w: {"w2": w[::-1, :, ::-1]},
    "channels shuffled": lambda w: {"w2": w[[2, 0, 3, 1]][:, [5, 3, 1, 0, 2, 4]]},
    "blocked and padded": lambda w: {"w2": blocked(w)},
    "among others": lambda w: {"w2": np.concatenate([np.zeros(7, np.uint32), w.ravel(), np.zeros(3, np.uint32)])},
}


@pytest.mark.parametrize("change", HONEST.values(), ids=HONEST)
def test_a_move_is_found_element_by_element(monkeypatch, change):
    """Every element of the original lies where the placement says, bit for bit."""
    (place,), optimized = found(monkeypatch, change)
    tensors = {tensor.name: words_of(tensor) for tensor in optimized.graph.initializer}
    positions = place.positions(np.arange(144))
    assert len(set(positions.tolist())) == 144
    assert tensors[place.initializer][positions].tolist() == words_of(conv().graph.initializer[0]).tolist()


def test_every_copy_is_found(monkeypatch):
    """A weight that ends up in two layouts must flip in both."""
    places, _ = found(monkeypatch, lambda w: {"a": w, "b": blocked(w), "unrelated": np.ones(5)})
    assert sorted(place.initializer for place in places) == ["a", "b"]


REPEATED = {
    "one behind the other": lambda w: np.concatenate([w.ravel(), w.ravel()]),
    "each element twice": lambda w: np.repeat(w.ravel(), 2),
    "along an axis in the middle": lambda w: np.tile(w, (1, 3, 1, 1)),
    "transposed, with padding between": lambda w: np.stack([w.T, np.zeros_like(w.T), w.T]),
}


@pytest.mark.parametrize("change", REPEATED.values(), ids=REPEATED)
def test_a_repeated_tensor_lies_in_every_copy(monkeypatch, change):
    """As one that is expanded to a fixed batch does: each element is flipped wherever it is."""
    places, optimized = found(monkeypatch, lambda w: {"w2": change(w)})
    (tensor,) = optimized.graph.initializer
    held = words_of(tensor)
    original = words_of(conv().graph.initializer[0])
    covered = []
    for place in places:
        positions = place.positions(np.arange(144))
        assert held[positions].tolist() == original.tolist()
        covered += positions.tolist()
    assert len(covered) == len(set(covered)) == np.count_nonzero(held)


def scramble(words):
    """Shuffle all elements: a bijection, but no move per axis."""
    return np.random.default_rng(0).permutation(words.ravel()).reshape(SHAPE)


def swap(words):
    """Swap two elements."""
    changed = words.copy().ravel()
    changed[[10, 99]] = changed[[99, 10]]
    return changed


def scaled(words):
    """Compute with the values, as folding a normalization does."""
    return (words.view(np.float32) * np.float32(1.5)).view(np.uint32)


USELESS = {
    "scrambled": lambda w: {"w": scramble(w)},
    "two swapped": lambda w: {"w": swap(w)},
    "scaled": lambda w: {"w": scaled(w)},
    "gone": lambda w: {"z": np.zeros(3)},
    "nothing left": lambda w: {},
    "cut": lambda w: {"w": w[:3]},
    "one lost": lambda w: {"w": np.where(np.arange(144).reshape(SHAPE) == 5, 0, w)},
    "one doubled": lambda w: {"w": np.append(w.ravel(), w.ravel()[:1])},
    "summed": lambda w: {"w": w.sum(axis=0)},
    "empty": lambda w: {"w": np.zeros((0, 3), np.uint32)},
}


@pytest.mark.parametrize("change", USELESS.values(), ids=USELESS)
def test_what_is_not_a_move_per_axis_is_refused(monkeypatch, change):
    """Rather than described wrongly."""
    places, _ = found(monkeypatch, change)
    assert places == ()


@pytest.mark.parametrize("name", ["scrambled", "two swapped"])
def test_equal_values_do_not_hide_that_elements_moved_irregularly(monkeypatch, name):
    """Where all weights are the same, only the twin can tell."""
    model = conv(np.full(SHAPE, 0.5, np.float32))
    assert found(monkeypatch, USELESS[name], model=model)[0] == ()


LIES = {
    "moves the model, keeps the twin": (lambda w: {"w": blocked(w)}, lambda w: {"w": w}),
    "keeps the model, moves the twin": (lambda w: {"w": w}, lambda w: {"w": w.transpose(1, 0, 2, 3)}),
    "changes one value of the model": (lambda w: {"w": w ^ (np.arange(144).reshape(SHAPE) == 143)}, lambda w: {"w": w}),
    "a shorter tensor in the model": (lambda w: {"w": w[:2]}, lambda w: {"w": w}),
    "another name in the model": (lambda w: {"v": w}, lambda w: {"w": w}),
}


@pytest.mark.parametrize("changes", LIES.values(), ids=LIES)
def test_a_twin_that_is_optimized_otherwise_is_not_believed(monkeypatch, changes):
    """The placement is checked against the bits of the real model."""
    places, _ = found(monkeypatch, *changes)
    assert places == ()


def test_integers_must_keep_name_shape_and_content(monkeypatch):
    """They are not probed: a number is not a label in eight bits."""
    tensor = numpy_helper.from_array(np.arange(12, dtype=np.int8).reshape(3, 4), "q")
    model = model_of(
        [helper.make_node("MatMulInteger", ["x", "q"], ["y"])],
        [tensor],
        inputs={"x": (None, 3)},
        outputs={"y": (None, 4)},
    )
    for change, expected in (
        (lambda a: ("q", a), 1),
        (lambda a: ("p", a), 0),
        (lambda a: ("q", a.reshape(4, 3)), 0),
        (lambda a: ("q", a + 1), 0),
        (lambda a: ("q", a.astype(np.int16)), 0),
    ):

        def optimize(model, options, folder, change=change):
            copy = onnx.ModelProto.FromString(model.content)
            name, array = change(numpy_helper.to_array(copy.graph.initializer[0]))
            copy.graph.initializer[0].CopyFrom(numpy_helper.from_array(array, name))
            return copy

        monkeypatch.setattr(layout_module, "optimize_model", optimize)
        assert len(find_layout(model, ["q"], OPTIONS, Path()).places["q"]) == expected


def test_the_real_optimizer_is_understood(tmp_path):
    """All six tensors of a small CNN have a place, and the elements lie there."""
    model = small_cnn()
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    layout = find_layout(model, tensors, OPTIONS, tmp_path)
    held = {tensor.name: words_of(tensor) for tensor in layout.model.graph.initializer}
    for name, tensor in tensors.items():
        (place,) = layout.places[name]
        words = words_of(tensor)
        assert held[place.initializer][place.positions(np.arange(len(words)))].tolist() == words.tolist()


@given(st.lists(st.integers(1, 4), min_size=0, max_size=4), st.randoms())
def test_positions_are_the_sum_of_one_table_per_axis(shape, random):
    """Compared with numpy's own transpose."""
    axes = list(range(len(shape)))
    random.shuffle(axes)
    target = np.arange(int(np.prod(shape))).reshape([shape[a] for a in axes])
    grid = target.transpose(np.argsort(axes)) if shape else target
    tables = tuple(
        grid[tuple(slice(None) if a == axis else 0 for a in range(len(shape)))].astype(np.int64)
        for axis in range(len(shape))
    )
    place = Placement("w", tuple(shape), 0, tables)
    assert place.positions(np.arange(grid.size)).tolist() == grid.ravel().tolist()


CASTS = {
    "cast and moved": (lambda w: w.T, 1),
    "cast and scaled": (lambda w: w.T * np.float32(1.5), 0),
    "cast, one value changed": (lambda w: w + (w == w.max()), 0),
}


@pytest.mark.parametrize("case", CASTS)
def test_a_weight_in_half_precision_is_found_where_it_was_cast_to(monkeypatch, case):
    """By the values of its labels, in as many twins as 40,000 numbers have digits; arithmetic leaves no place."""
    change, expected = CASTS[case]
    weights = random_floats(200, 200).astype(np.float16)
    model = model_of([helper.make_node("Conv", ["x", "w"], ["y"])], [("w", weights)])
    calls = []

    def optimize(model, options, folder):
        calls.append(model)
        copy = onnx.ModelProto.FromString(model.content)
        array = model.apart["w"].astype(np.float32)
        copy.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(change(array)), "moved"))
        return copy

    monkeypatch.setattr(layout_module, "optimize_model", optimize)
    places = find_layout(model, ["w"], OPTIONS, Path()).places["w"]
    assert len(calls) == 3  # two twins and the model
    assert len(places) == expected
    for place in places:
        assert place.positions(np.arange(3)).tolist() == [0, 200, 400]
