"""Models over 2 GiB: their large tensors stay in files, and are given to sessions beside the graph.

The limits are lowered for small models, which are compared with plain sessions on the whole of them; one test is as
large as it says.
"""

import pickle

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_zoo import bits_of, model_of, naively_flipped, random_floats, stored
from runtime_kit import norm_net

from ftonnx import evaluate, replay
from ftonnx.campaign.golden import fault_free_accuracies
from ftonnx.datasets import as_dataset
from ftonnx.errors import ModelError
from ftonnx.inject import BitFlipRates, Faults, FaultSpace, list_faults, load_model, unit_rng
from ftonnx.mitigate import protect, quantize
from ftonnx.runtime import FaultySession, free_memory
from ftonnx.runtime.layout.cache import LayoutCache
from ftonnx.runtime.strategies import KINDS, LAST_RESORT
from ftonnx.runtime.strategies.live import Live
from ftonnx.runtime.strategies.packed import Packed
from ftonnx.sessions import SessionOptions

node = helper.make_node
X = random_floats(3, 3, 8, 8, seed=9)
GIB = 2**30

# packed weights come from optimized graphs, of which there is none here
LARGE = [kind for kind in KINDS if kind is not Packed]


def net():
    """Return a network with large and small tensors, one in a branch, of three types."""
    branches = {}
    for name in ("then", "else"):
        output = helper.make_tensor_value_info(f"{name}.y", TensorProto.FLOAT, None)
        branches[f"{name}_branch"] = helper.make_graph(
            [node("MatMul", ["r", f"{name}.w"], [f"{name}.y"])], name, [], [output],
            [stored(f"{name}.w", random_floats(64, 64, seed=len(name)))],
        )  # fmt: skip
    return model_of(
        [
            node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w1", "b1"], ["g"]), node("Relu", ["g"], ["r"]),
            node("ReduceSum", ["r"], ["s"], keepdims=0), node("Cast", ["s"], ["p"], to=TensorProto.BOOL),
            node("If", ["p"], ["i"], **branches), node("Cast", ["w2"], ["w2f"], to=TensorProto.FLOAT),
            node("MatMul", ["i", "w2f"], ["y"]),
        ],
        [
            ("w1", random_floats(192, 64)), ("b1", random_floats(64)),
            ("w2", random_floats(64, 16, seed=2).astype(np.float16)),
        ],
        outputs={"y": ("n", 16)},
    )  # fmt: skip


def plain():
    """Return the network without its branches, whose weights no strategy but the last can reach."""
    model = net()
    kept = [each for each in model.graph.node if each.op_type not in ("ReduceSum", "If") and each.output[0] != "p"]
    for each in kept:
        each.input[:] = ["r" if name == "i" else name for name in each.input]
    return helper.make_model(
        helper.make_graph(
            kept, "g", model.graph.input, model.graph.output, model.graph.initializer
        ),
        opset_imports=model.opset_import, ir_version=10,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def low_limits(request, monkeypatch):
    """Take models of more than 40 kB for large, and their tensors of at least 1 kB."""
    if "slow" in request.keywords:
        return
    monkeypatch.setattr("ftonnx.inject.model_file._MOST_BYTES", 40_000)
    for constant in ("inject.model_file._LARGE_TENSOR", "runtime.session_model._LARGE"):
        monkeypatch.setattr(f"ftonnx.{constant}", 1000)


def saved(model, folder, *, attributes=False):
    """Write a model with external data; return its path."""
    path = folder / "m.onnx"
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    onnx.save(copy, path, save_as_external_data=True, location="m.data", size_threshold=0, convert_attribute=attributes)
    return path


def session_on(model, options, feeds):
    """Run a plain session, opened with a strategy's options, on a whole model."""
    session = ort.InferenceSession(model.SerializeToString(), options.to_ort(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


@pytest.mark.parametrize(("make", "most"), [(plain, 40_000), (norm_net, 10_000)])
@pytest.mark.parametrize("kind", [*LARGE, LAST_RESORT])
def test_every_strategy_gives_the_bits_of_a_session_on_the_whole_file(tmp_path, monkeypatch, make, most, kind):
    """Without faults, with one in every target, and with many."""
    monkeypatch.setattr("ftonnx.inject.model_file._MOST_BYTES", most)
    whole = make()
    loaded = load_model(saved(whole, tmp_path))
    assert loaded.large
    space = FaultSpace.of(loaded, format="ieee")
    strategy = kind(loaded, space, SessionOptions(threads=1), LayoutCache(None))
    feeds = {"x": X}
    assert bits_of(strategy.golden(feeds)) == bits_of(session_on(whole, strategy.options, feeds))
    patterns = [Faults([index], [target.elements - 1], [9]) for index, target in enumerate(space.targets)]
    patterns.append(BitFlipRates(0.01).draw(space, unit_rng(0, 0.01, 0, 0), 0))
    for faults in patterns:
        flips = [
            (space.targets[target].tensor, element, bit)
            for target, element, bit in zip(
                faults.target.tolist(), faults.element.tolist(), faults.bit.tolist(), strict=True
            )
        ]
        expected = session_on(naively_flipped(whole, flips, fixed=None), strategy.options, feeds)
        assert bits_of(strategy.run(feeds, faults)) == bits_of(expected)
    assert bits_of(strategy.golden(feeds)) == bits_of(session_on(whole, strategy.options, feeds))


@pytest.mark.parametrize("strategy", ["auto", "live", "rebuild"])
def test_a_session_takes_a_strategy_that_passes_the_proof(tmp_path, strategy):
    """Where weights lie in branches too."""
    session = FaultySession(saved(plain(), tmp_path), strategy=strategy)
    assert session.fallback is None
    session = FaultySession(saved(net(), tmp_path), strategy=strategy)
    assert session.fallback is None
    assert bits_of(session.golden(X)) == bits_of(session_on(net(), SessionOptions(), {"x": X}))


def test_the_layout_of_a_large_model_is_kept_and_read_back(tmp_path):
    """The graph without what it stores; weights come from the model's files each time."""
    loaded = load_model(saved(plain(), tmp_path))
    space = FaultSpace.of(loaded)
    outputs = []
    for _ in range(2):
        strategy = Live(loaded, space, SessionOptions(threads=1), LayoutCache(tmp_path / "cache"))
        outputs.append(bits_of(strategy.golden({"x": X})))
    (entry,) = (tmp_path / "cache").iterdir()
    assert entry.stat().st_size < 10_000
    assert outputs[0] == outputs[1]


def test_the_graph_has_no_large_tensors_and_the_space_is_the_same(tmp_path, monkeypatch):
    """What is small, or stands in branches, is read; what is not says where it is."""
    loaded = load_model(saved(net(), tmp_path, attributes=True))
    external = {tensor.name for tensor in loaded.structure.graph.initializer if tensor.external_data}
    assert external == {"w1", "w2"}
    assert len(pickle.dumps(loaded)) < 2000
    loaded.release()
    assert {tensor.name for tensor in loaded.structure.graph.initializer if tensor.external_data} == external
    loaded.check_unchanged()
    space = FaultSpace.of(loaded)
    faults = BitFlipRates(0.001).draw(space, unit_rng(0, 0.001, 0, 0), 0)
    records = list_faults(loaded.structure, space, faults)
    monkeypatch.undo()
    assert space.fingerprint == FaultSpace.of(net()).fingerprint
    assert records == list_faults(net(), space, faults)


def test_a_large_tensor_behind_links_is_read(tmp_path):
    """As in the cache of Hugging Face."""
    (tmp_path / "blobs").mkdir()
    path = saved(plain(), tmp_path / "blobs")
    snapshot = tmp_path / "snapshots"
    snapshot.mkdir()
    (snapshot / "m.onnx").symlink_to(path)
    (snapshot / "m.data").symlink_to(path.with_name("m.data"))
    session = FaultySession(snapshot / "m.onnx", strategy="live")
    assert bits_of(session.golden(X)) == bits_of(FaultySession(path, strategy="live").golden(X))


def test_a_relative_path_is_never_followed(tmp_path, monkeypatch):
    """What lies in the working directory under the name of a model's data is not the model's data."""
    path = saved(plain(), tmp_path)
    monkeypatch.chdir(tmp_path)
    space = FaultSpace.of(path)
    with pytest.raises(ModelError, match="load the model by its path"):
        list_faults(onnx.load(path, load_external_data=False), space, Faults([0], [0], [0]))


@pytest.mark.parametrize("spoil", [lambda data: data.unlink(), lambda data: data.write_bytes(b"short")])
def test_data_that_changes_in_use_is_noticed(tmp_path, spoil):
    """In one line, whoever reads it next."""
    loaded = load_model(saved(plain(), tmp_path))
    spoil(tmp_path / "m.data")
    with pytest.raises(ModelError, match="tensor 'w1' cannot be read"):
        FaultSpace.of(loaded)
    with pytest.raises(ModelError, match="changed or vanished"):
        loaded.check_unchanged()


def test_what_edits_a_model_says_that_it_is_too_large(tmp_path):
    """In one line that names a way on."""
    path = saved(plain(), tmp_path)
    evaluate(path, [(X, np.arange(3))], rates=[1e-3], repeats=2, results=tmp_path / "r")
    unit = replay(tmp_path / "r", rate=1e-3, repeat=1, batch=0)
    assert len(unit.list()) == unit.record.n_faults
    for act in (
        lambda: protect(path, method="relu6"),
        lambda: quantize(path, [X]),
        lambda: load_model(path).proto,
        lambda: unit.save_model(tmp_path / "faulty.onnx"),
    ):
        with pytest.raises(ModelError, match="m is over 2 GiB") as caught:
            act()
        assert "fp16" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["initializer", "branch", "memory"])
def test_what_does_not_fit_one_message_otherwise_is_refused(tmp_path, monkeypatch, place):
    """Large tensors in branches, in the file itself, and in memory."""
    model = net()
    if place == "branch":
        monkeypatch.setattr("ftonnx.inject.model_file._MOST_BYTES", 30_000)
        source = saved(model, tmp_path, attributes=True)
    elif place == "initializer":
        source = tmp_path / "m.onnx"
        onnx.save(model, source)
    else:
        source = model
    with pytest.raises(ModelError, match="external data"):
        load_model(source)


def test_a_broken_graph_is_refused_whatever_its_size(tmp_path):
    """The checker sees the nodes, and inputs in place of what lies in files."""
    model = plain()
    model.graph.node[0].op_type = "Flat"
    with pytest.raises(ModelError, match="No Op registered for Flat"):
        load_model(saved(model, tmp_path))


@pytest.mark.parametrize("version", [3, 10])
def test_an_old_file_that_lists_what_it_stores_runs(tmp_path, version):
    """As inputs, which it must in IR version 3."""
    model = plain()
    model.ir_version = version
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    session = FaultySession(saved(model, tmp_path), strategy="rebuild")
    np.testing.assert_allclose(session.golden(X)[0], session_on(model, SessionOptions(), {"x": X})[0], rtol=1e-5)


def test_a_campaign_counts_what_it_counts_on_the_small_model(tmp_path, monkeypatch):
    """With the same strategy's options, and so the same bits; fault-free accuracies too."""
    labels = np.arange(3)
    path = saved(plain(), tmp_path)
    settings = {"rates": [1e-3], "repeats": 20, "strategy": "rebuild"}
    large = evaluate(path, [(X, labels)], **settings)
    (accuracy,) = fault_free_accuracies([load_model(path).structure], as_dataset([(X, labels)]), 3)
    monkeypatch.undo()
    small = evaluate(path, [(X, labels)], **settings)
    assert large.clean == small.clean == accuracy.fractions["top1"]
    for name in ("faults_mean", "top1", "sdc1", "masked", "due"):
        assert large.to_polars()[name].to_list() == small.to_polars()[name].to_list()
    assert [accuracy] == fault_free_accuracies([plain()], as_dataset([(X, labels)]), 3)


@pytest.mark.slow
@pytest.mark.skipif(free_memory() < 12 * GIB, reason="three times the model is in memory at the peak")
def test_a_model_of_three_gib_is_evaluated(tmp_path):
    """One MatMul of three GiB: flips in it arrive exactly, compared with numpy."""
    inner = 24_576
    columns = 32_768
    path = tmp_path / "m.onnx"
    weight = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=[inner, columns], data_location=TensorProto.EXTERNAL
    )
    for key, value in (("location", "w.data"), ("offset", "0"), ("length", str(3 * GIB))):
        weight.external_data.add(key=key, value=value)
    model = model_of(
        [node("MatMul", ["x", "w"], ["h"]), node("MatMul", ["h", "v"], ["y"])],
        [weight, ("v", random_floats(columns, 4, seed=1))],
        inputs={"x": ("n", inner)}, outputs={"y": ("n", 4)},
    )  # fmt: skip
    path.write_bytes(model.SerializeToString())
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((1024, columns), np.float32) / np.float32(inner**0.5)
    with (tmp_path / "w.data").open("wb") as file:
        for _ in range(inner // 1024):
            file.write(rows.tobytes())
            # other rows, without the time that so many random numbers take
            rows = np.roll(rows, 1, axis=0)
    space = FaultSpace.of(path, format="ieee")
    assert space.bits == 8 * (3 * GIB + 16 * columns)
    x = rng.standard_normal((2, inner), np.float32)
    session = FaultySession(path, space, strategy="live", sample=x)
    assert session.fallback is None
    golden = session.golden(x)[0]
    stored_weight = np.memmap(tmp_path / "w.data", np.float32, "r", shape=(inner, columns))
    v = numpy_helper.to_array(model.graph.initializer[1])
    np.testing.assert_allclose(golden, np.dot(x, stored_weight) @ v, rtol=1e-3, atol=1e-3)
    row, column = inner - 1, columns - 3
    faults = Faults([0], [row * columns + column], [30])
    before = stored_weight[row, column]
    after = (before.view(np.uint32) ^ np.uint32(1 << 30)).view(np.float32)
    change = x[:, row, None].astype(np.float64) * (float(after) - float(before)) * v[column].astype(np.float64)
    np.testing.assert_allclose(session.run(x, faults)[0] - golden, change, rtol=1e-4)
    assert bits_of([session.golden(x)[0]]) == bits_of([golden])
