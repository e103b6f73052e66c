"""The layout cache: what it saves, what it must not believe, and where it writes."""

import hashlib
import logging
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_zoo import bits_of, random_floats, small_cnn, with_four_bit_weights, with_half_weights
from runtime_kit import branch_net, function_cnn, norm_net

import ftonnx.runtime.layout.cache as cache_module
import ftonnx.runtime.layout.places as layout_module
from ftonnx.graphs import stored_anywhere
from ftonnx.inject import BitFlipRates, FaultSpace, load_model, unit_rng
from ftonnx.runtime import FaultySession
from ftonnx.runtime.layout.blueprint import Blueprint
from ftonnx.runtime.layout.blueprint_file import blueprint_bytes, read_blueprint
from ftonnx.runtime.layout.cache import LayoutCache, cache_folder
from ftonnx.runtime.layout.draft import Draft, NotPossibleError
from ftonnx.runtime.layout.drawing import draw
from ftonnx.sessions import SessionOptions

X = random_floats(4, 3, 8, 8, seed=9)
NETS = {
    "float": small_cnn,
    "half": lambda: with_half_weights(small_cnn()),
    "four bits": lambda: with_four_bit_weights(small_cnn()),
    "branch": branch_net,
    "function": function_cnn,
    "norms": norm_net,
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache folder that does not exist yet."""
    monkeypatch.setenv("FTONNX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def optimized(monkeypatch):
    """The optimizations that were done to find layouts, as they happen."""
    done, real = [], layout_module.optimize_model
    monkeypatch.setattr(layout_module, "optimize_model", lambda *a: (done.append(a), real(*a))[1])
    return done


def opened(model, **options):
    """Open a session; return its outputs without and with faults."""
    loaded = load_model(model)
    space = FaultSpace.of(loaded)
    session = FaultySession(loaded, space, threads=1, sample=X, **options)
    faults = BitFlipRates(1e-3).draw(space, unit_rng(1, 1e-3, 0, 0))
    return bits_of(session.golden(X)), bits_of(session.run(X, faults)), session.strategy


def draft(model, **changes):
    """Return what ``live`` asks of the optimizer."""
    loaded = load_model(model)
    given_options = {"options": SessionOptions(threads=1, prepack=False), "explicit_norms": True} | changes
    return Draft(model=loaded, space=FaultSpace.of(loaded), **given_options)


@pytest.mark.parametrize("name", NETS)
def test_the_second_opening_optimizes_nothing(folder, optimized, name):
    """Besides the proof's own reference; outputs are the same, with and without faults."""
    first = opened(NETS[name](), strategy="live")
    assert len(optimized) >= 2
    optimized.clear()
    assert opened(NETS[name](), strategy="live") == first
    assert not optimized


def test_live_and_rebuild_share_what_was_found(folder, optimized):
    """The optimizer does not know whether weights will be packed."""
    opened(small_cnn(), strategy="live")
    optimized.clear()
    opened(small_cnn(), strategy="rebuild")
    assert not optimized


def test_a_float_model_is_not_opened_a_second_time_for_rebuild(optimized):
    """Packing in every run cannot win there: one twin, one model, and no more."""
    assert opened(small_cnn())[2] == "live"
    assert len(optimized) == 2


def test_an_entry_holds_no_weights(folder):
    """A hundred thousand random weights do not fit into it; they come from the model."""
    model = small_cnn()
    wide = random_floats(300, 16, 3, 3, seed=3)
    model.graph.initializer[2].CopyFrom(layout_module.onnx.numpy_helper.from_array(wide, "w2"))
    model.graph.initializer[3].CopyFrom(layout_module.onnx.numpy_helper.from_array(random_floats(300), "b2"))
    model.graph.initializer[4].CopyFrom(layout_module.onnx.numpy_helper.from_array(random_floats(5, 300), "w3"))
    opened(model)
    (entry,) = folder.iterdir()
    assert entry.stat().st_size < 30_000 < wide.nbytes
    assert wide.tobytes()[:64] not in entry.read_bytes()


def test_another_model_option_or_target_list_has_its_own_entry():
    """Each of them changes what the optimizer does, or what is looked for; threads and number formats do not."""
    base = draft(small_cnn())
    loaded = base.model
    options = SessionOptions(threads=2, prepack=True)
    assert draft(small_cnn(), options=options).key == base.key
    assert draft(small_cnn(), explicit_norms=False).key == base.key  # it has none
    other = [
        draft(small_cnn(seed=5)),
        draft(small_cnn(), options=SessionOptions(disabled=("ConvBNFusion",))),
        draft(loaded.with_proto(_renamed(loaded.proto))),
        Draft(
            model=loaded,
            space=FaultSpace.of(loaded, exclude=("b1",)),
            options=base.options,
            explicit_norms=True,
        ),
        draft(norm_net()),
        draft(norm_net(), explicit_norms=False),
    ]
    assert len({base.key, *(one.key for one in other)}) == 7


def _renamed(model):
    changed = type(model).FromString(model.SerializeToString())
    changed.graph.node[0].name = "other"
    return changed


def test_another_processor_or_version_has_its_own_entry(monkeypatch):
    """The blocked layout depends on the vector units."""
    keys = {draft(small_cnn()).key}
    monkeypatch.setattr("ftonnx.runtime.layout.draft.processor_facts", lambda: ["another"])
    keys.add(draft(small_cnn()).key)
    monkeypatch.setattr("onnxruntime.__version__", "0.0.1")
    keys.add(draft(small_cnn()).key)
    assert len(keys) == 3


def damaged(data):
    """Ways in which a file can be broken, by name."""
    digest = slice(19, 51)
    forged = bytearray(data)
    forged[60] ^= 1
    forged[digest] = hashlib.sha256(forged[51:]).digest()
    return {
        "empty": b"",
        "cut": data[: len(data) // 2],
        "one bit flipped": data[:-1] + bytes([data[-1] ^ 1]),
        "another version": data.replace(b"blueprint 1", b"blueprint 9", 1),
        "longer": data + b"\0",
        "a pickle": b"\x80\x04]\x94.",
        "forged index": bytes(forged),
        "text": b"not a cache entry\n" * 9,
    }


@pytest.mark.parametrize("kind", damaged(bytes(100)))
def test_a_damaged_entry_is_ignored_and_written_anew(folder, optimized, caplog, kind):
    """With a debug message, and no other sign."""
    first = opened(small_cnn())
    (entry,) = folder.iterdir()
    good = entry.read_bytes()
    entry.write_bytes(damaged(good)[kind])
    optimized.clear()
    with caplog.at_level(logging.DEBUG, "ftonnx"):
        assert opened(small_cnn()) == first
    assert len(optimized) == 2
    assert entry.read_bytes() == good
    assert [r.levelname for r in caplog.records if "is ignored" in r.getMessage()] == ["DEBUG"]


def forged(good: bytes, change) -> bytes:
    """Return an entry with a valid digest whose placements were changed."""
    blueprint = read_blueprint(good)
    places = {name: tuple(change(name, place) for place in found) for name, found in blueprint.places.items()}
    return blueprint_bytes(Blueprint(model=blueprint.model, places=places, norms=blueprint.norms, rest=blueprint.rest))


def swapped(name, place):
    """Exchange two rows of one weight."""
    if name != "w2":
        return place
    table = place.tables[0].copy()
    table[[0, 1]] = table[[1, 0]]
    return type(place)(place.initializer, place.shape, place.base, (table, *place.tables[1:]))


def test_a_wrong_map_is_caught_by_the_proof_and_replaced(folder, optimized, caplog):
    """Its digest is right, and every element has a place of its own: only the outputs tell."""
    first = opened(small_cnn())
    (entry,) = folder.iterdir()
    good = entry.read_bytes()
    entry.write_bytes(forged(good, swapped))
    optimized.clear()
    with caplog.at_level(logging.INFO, "ftonnx"):
        assert opened(small_cnn()) == first
    assert len(optimized) == 2
    assert entry.read_bytes() == good
    assert "a cached layout is wrong" in caplog.text


@pytest.mark.parametrize("shift", [-1, 1, 2**62, -(2**62)])
def test_a_map_out_of_bounds_or_onto_itself_is_refused(shift):
    """Neither outside an array nor twice to one place can anything be written."""
    found = draft(small_cnn())
    good = draw(found).blueprint
    moved = read_blueprint(
        forged(blueprint_bytes(good), lambda n, p: type(p)(p.initializer, p.shape, p.base + shift, p.tables))
    )
    doubled = read_blueprint(
        forged(
            blueprint_bytes(good), lambda n, p: type(p)(p.initializer, p.shape, p.base, tuple(t * 0 for t in p.tables))
        )
    )
    for wrong in (moved, doubled):
        with pytest.raises(ValueError, match=r"elements, not one at|given twice|int64"):
            wrong.weights(stored_anywhere(found.model.proto))


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data):
    """Anything but a blueprint is a ValueError, also behind a valid digest."""
    body = b"ftonnx blueprint 1\n" + hashlib.sha256(data).digest() + data
    for given_bytes in (data, body):
        with pytest.raises(ValueError, match=r".+"):
            read_blueprint(given_bytes)


def test_a_graph_that_refers_to_other_files_is_refused():
    """The only tensors without bytes are those that the model fills."""
    good = draw(draft(small_cnn())).blueprint
    graph = type(good.model).FromString(good.model.SerializeToString())
    extra = graph.graph.initializer.add(name="spy", data_type=1, dims=[1], data_location=1)
    extra.external_data.add(key="location", value="/etc/passwd")
    wrong = Blueprint(model=graph, places=good.places, norms=(), rest=good.rest)
    with pytest.raises(ValueError, match="refers to other files"):
        read_blueprint(blueprint_bytes(wrong))


def test_that_a_layout_is_impossible_is_remembered_too(folder, optimized):
    """Else every opening would try again what cannot work."""
    found = draft(norm_net(), explicit_norms=False)
    for expected in (2, 0):
        optimized.clear()
        with pytest.raises(NotPossibleError, match="no place for"):
            LayoutCache(folder).open(found)
        assert len(optimized) == expected


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path, monkeypatch, optimized):
    """Nothing is kept, and a debug message says so."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FTONNX_CACHE", str(tmp_path / "file" / "cache"))
    first = opened(small_cnn())
    assert opened(small_cnn()) == first
    assert len(optimized) == 4


def test_off_keeps_nothing(tmp_path, monkeypatch):
    """Not in any of the usual places."""
    monkeypatch.setenv("FTONNX_CACHE", "off")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    opened(small_cnn())
    assert cache_folder() is None
    assert list(tmp_path.iterdir()) == []


def test_the_folder_follows_the_variables_of_the_system(tmp_path, monkeypatch):
    """FTONNX_CACHE first, then the XDG folder where it is absolute, then the home folder."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("FTONNX_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "ftonnx"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "ftonnx"
    monkeypatch.setenv("FTONNX_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_the_oldest_entries_go_first_when_the_folder_grows(folder, monkeypatch):
    """What was used last stays."""
    folder.mkdir()
    for age, name in enumerate(["newest", "middle", "oldest"]):
        (folder / f"{name}.layout").write_bytes(bytes(100_000))
        os.utime(folder / f"{name}.layout", (1_000_000 - age, 1_000_000 - age))
    (folder / "another program's").write_bytes(bytes(300_000))
    monkeypatch.setattr(cache_module, "_MOST_BYTES", 250_000)
    opened(small_cnn())
    left = {path.stem for path in folder.iterdir()}
    assert {"newest", "middle", "another program's"} < left
    assert "oldest" not in left
    assert len(left) == 4


def test_using_an_entry_makes_it_young(folder):
    """So that it is not removed as an old one."""
    opened(small_cnn())
    (entry,) = folder.iterdir()
    os.utime(entry, (1_000_000, 1_000_000))
    opened(small_cnn())
    assert entry.stat().st_mtime > 2_000_000


def test_nothing_is_left_of_a_write_that_failed(folder, monkeypatch):
    """Entries appear whole or not at all."""
    real = os.replace
    monkeypatch.setattr("os.replace", lambda part, _: real(part, "/nonexistent/x"))
    opened(small_cnn())
    assert not list(folder.glob("*.layout"))
    assert not list(folder.glob("*.part"))


def test_rest_and_norms_survive_the_file():
    """Everything that is not in the model is in the entry, bit for bit."""
    found = draft(norm_net())
    good = draw(found).blueprint
    again = read_blueprint(blueprint_bytes(good))
    assert blueprint_bytes(again) == blueprint_bytes(good)
    assert len(again.norms) == 2
    tensors = stored_anywhere(found.model.proto)
    filled, expected = again.weights(tensors), good.weights(tensors)
    assert filled.arrays.keys() == expected.arrays.keys()
    for name, words in expected.arrays.items():
        assert np.array_equal(filled.arrays[name], words)
        assert words.ctypes.data % 64 == 0
