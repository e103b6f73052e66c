"""Opening sessions: what is refused, what falls back and says so, and that lies are caught."""

import logging

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_zoo import bits_of, model_of, naively_flipped, ort_run, random_floats, small_cnn

from ftonnx.errors import DataError, ModelError, UsageError
from ftonnx.inject import Faults, FaultSpace, load_model
from ftonnx.inject.formats import Undo
from ftonnx.runtime import STRATEGIES, FaultyRunError, FaultySession
from ftonnx.runtime.layout.cache import LayoutCache
from ftonnx.runtime.layout.draft import Draft, NotPossibleError
from ftonnx.runtime.layout.sinks import Stored
from ftonnx.sessions import SessionOptions

node = helper.make_node
X = random_floats(3, 3, 8, 8, seed=9, scale=1)


def squared():
    """Return a model whose weight is multiplied by itself: ONNX Runtime stores the product only."""
    return model_of(
        [node("Mul", ["w", "w"], ["f"]), node("MatMul", ["x", "f"], ["y"])],
        [("w", random_floats(8, 5))],
    )


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("name", ["fast", "", "LIVE", "rebuild "])
def test_an_unknown_strategy_is_a_usage_error_that_lists_the_known_ones(name):
    """auto, live, rebuild."""
    with pytest.raises(UsageError) as caught:
        FaultySession(small_cnn(), strategy=name)
    assert all(known in str(caught.value) for known in STRATEGIES)


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_are_counted_from_one(threads):
    """None leaves the choice to ONNX Runtime."""
    with pytest.raises(UsageError, match="1 or more"):
        FaultySession(small_cnn(), threads=threads)
    assert FaultySession(small_cnn(), threads=None).options.threads is None


@pytest.mark.parametrize("shape", [(3, 3, 8, 9), (3, 1, 8, 8), (3, 3, 8), (3, 192), (3, 3, 8, 8, 1), (0,)], ids=str)
@pytest.mark.parametrize("strategy", ["live", "rebuild"])
def test_images_of_another_shape_are_a_data_error(shape, strategy):
    """Also in a faulty run, where it must not count as a consequence of the faults."""
    session = FaultySession(small_cnn(), strategy=strategy)
    wrong = np.zeros(shape, np.float32)
    for run in (session.golden, lambda batch: session.run(batch, Faults([0], [0], [0]))):
        with pytest.raises(DataError) as caught:
            run(wrong)
        assert "(batch, 3, 8, 8)" in str(caught.value)
        assert str(shape) in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError):
        FaultySession(small_cnn(), sample=wrong)


def test_images_of_another_type_are_converted_or_refused():
    """Floats become the model's floats; integers are a data error that names the type."""
    session = FaultySession(small_cnn())
    assert bits_of(session.golden(X.astype(np.float64))) == bits_of(session.golden(X))
    with pytest.raises(DataError, match="int64"):
        session.golden(np.zeros((1, 3, 8, 8), np.int64))


def test_data_without_names_do_not_fit_a_model_with_several_inputs():
    """The message lists them, but not hundreds of them."""
    model = small_cnn()
    for i in range(300):
        model.graph.input.append(helper.make_tensor_value_info(f"extra{i}", TensorProto.FLOAT, (1,)))
    with pytest.raises(DataError, match="takes 301 inputs") as caught:
        FaultySession(model, sample=np.zeros((1, 3, 8, 8), np.float32))
    assert "extra0" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_model_without_inputs_is_refused():
    """There is nothing to feed images into."""
    model = model_of([node("MatMul", ["c", "w"], ["y"])], [("c", random_floats(2, 8)), ("w", random_floats(8, 5))])
    del model.graph.input[:]
    with pytest.raises(ModelError, match="a tensor input was expected"):
        FaultySession(model)


def test_an_input_that_is_no_tensor_is_refused():
    """A sequence of tensors, for example."""
    model = model_of(
        [node("SequenceAt", ["x", "i"], ["t"]), node("MatMul", ["t", "w"], ["y"])],
        [("i", np.array(0)), ("w", random_floats(8, 5))],
        outputs={"y": (None, 5)},
    )
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, (None, 8)))
    with pytest.raises(ModelError, match="'x' is no tensor"):
        FaultySession(model)


@pytest.mark.parametrize("elem_type", [0, 78])
def test_an_input_without_a_known_type_is_refused(elem_type):
    """The checker passes it."""
    model = small_cnn()
    model.graph.input[0].type.tensor_type.elem_type = elem_type
    with pytest.raises(ModelError, match="'x'"):
        FaultySession(model)


def test_an_unknown_type_of_an_inner_value_is_not_fatal_by_itself():
    """onnx-ir cannot read it; ONNX Runtime decides."""
    model = small_cnn()
    model.graph.node.append(node("BatchNormalization", ["x", *["bn"] * 4], ["unused"]))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "bn"))
    model.graph.output[0].type.tensor_type.elem_type = 78
    with pytest.raises(ModelError) as caught:
        FaultySession(model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "error"),
    [
        (("batch", 3, "h", "w"), UsageError),
        (("batch", None, 8, 8), UsageError),
        (("batch", 3, -1, -1), UsageError),
        ((1, 3, 10**6, 10**6), ModelError),
        ((2**40, 3, 8, 8), ModelError),
        ((), UsageError),
    ],
    ids=str,
)
def test_an_input_shape_that_cannot_be_made_up_needs_a_sample(shape, error):
    """Free sizes ask for sample=, impossible ones are the model's fault; no MemoryError."""
    model = small_cnn()
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    model.graph.input[0].CopyFrom(value)
    with pytest.raises(error):
        FaultySession(model)


def test_a_sample_stands_in_for_free_sizes():
    """Height and width come from the images then."""
    model = small_cnn()
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 3, "h", "w")))
    assert bits_of(FaultySession(model, sample=X).golden(X)) == bits_of(FaultySession(small_cnn()).golden(X))


def test_a_batch_axis_of_minus_one_is_a_free_one():
    """Some exporters write it that way."""
    model = small_cnn()
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, (-1, 3, 8, 8)))
    session = FaultySession(model)
    assert session.batch_size is None
    assert session.golden(X)[0].shape == (3, 5)


def test_a_fixed_batch_is_kept():
    """The size is known, the proof uses it, other sizes are a data error."""
    model = small_cnn()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    session = FaultySession(model, strategy="live")
    assert (session.batch_size, session.strategy, session.fallback) == (3, "live", None)
    assert session.golden(X)[0].shape == (3, 5)
    with pytest.raises(DataError, match=r"\(3, 3, 8, 8\)"):
        session.golden(X[:2])
    assert FaultySession(small_cnn()).batch_size is None


def test_a_space_of_another_model_is_refused():
    """At open, not at the first fault."""
    other = FaultSpace.of(model_of([node("MatMul", ["x", "v"], ["y"])], [("v", random_floats(8, 5))]))
    with pytest.raises(UsageError, match="another model"):
        FaultySession(small_cnn(), other)


@pytest.mark.parametrize("strategy", ["live", "rebuild"])
def test_faults_outside_the_space_are_refused_and_leave_no_trace(strategy):
    """A bit that does not exist would silently not flip."""
    session = FaultySession(small_cnn(), strategy=strategy)
    before = bits_of(session.golden(X))
    for columns in (([0, 9], [0, 0], [0, 0]), ([0, 0], [0, 10**6], [0, 0]), ([0, 0], [0, 1], [0, 32])):
        with pytest.raises(UsageError, match="does not exist"):
            session.run(X, Faults(*columns))
        assert bits_of(session.golden(X)) == before


@pytest.mark.parametrize("strategy", ["live", "rebuild"])
def test_an_old_file_whose_folded_constants_are_listed_as_inputs_runs(strategy):
    """IR version 3 lists every initializer as an input; folding one must not leave its input behind."""
    half = numpy_helper.from_array(np.array([0.5], np.float32))
    model = model_of(
        [
            node("ConstantOfShape", ["s1"], ["w1"], value=half),
            node("ConstantOfShape", ["s2"], ["w2"], value=half),
            node("Conv", ["x", "w1", "b"], ["c"]),
            node("Conv", ["c", "w2"], ["y"]),
        ],
        [("s1", np.array([3, 3, 3, 3])), ("s2", np.array([3, 3, 3, 3])), ("b", random_floats(3))],
        opset=9,
    )
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    model.ir_version = 3
    session = FaultySession(model, threads=1, strategy=strategy)
    assert (session.strategy, session.fallback) == (strategy, None)
    prepack = strategy == "rebuild"
    assert bits_of(session.golden(X)) == bits_of(ort_run(model, {"x": X}, prepack=prepack, threads=1))
    expected = ort_run(naively_flipped(model, [("b", 2, 17)]), {"x": X}, prepack=prepack, threads=1)
    assert bits_of(session.run(X, Faults([0], [2], [17]))) == bits_of(expected)


# ------------------------------------------------------------------ fall-backs


@pytest.mark.parametrize(("strategy", "level"), [("live", "WARNING"), ("rebuild", "INFO"), ("auto", "INFO")])
def test_a_strategy_that_is_not_possible_falls_back_and_says_so(caplog, strategy, level):
    """In the session, with the reason and the tensor, and in the log."""
    with caplog.at_level(logging.INFO, logger="ftonnx"):
        session = FaultySession(squared(), threads=1, strategy=strategy)
    assert session.strategy == "rebuild"
    assert "'w'" in session.fallback
    assert ("live is not possible" in session.fallback) == (strategy != "rebuild")
    assert any(r.levelname == level and session.fallback.split(";")[0] in r.getMessage() for r in caplog.records)
    weight = random_floats(8, 5)
    np.testing.assert_allclose(session.golden(X)[0], X @ weight**2, rtol=1e-5, atol=1e-5)
    # bit 16 of q15.16 is worth one
    is_even = int(np.floor(float(weight[0, 0]))) % 2 == 0
    weight[0, 0] += 1 if is_even else -1
    faulty = session.run(X, Faults([0], [0], [16]))[0]
    np.testing.assert_allclose(faulty, X @ weight**2, rtol=1e-2, atol=1e-2)


def test_a_strategy_that_works_reports_no_fallback(caplog):
    """And logs no warning."""
    for strategy in ("live", "rebuild", "auto"):
        assert FaultySession(small_cnn(), strategy=strategy).fallback is None
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_auto_takes_one_of_the_proved_strategies():
    """Which one is a matter of speed; the choice is visible in repr."""
    session = FaultySession(small_cnn(), strategy="auto")
    assert session.strategy in ("live", "rebuild")
    assert f"strategy='{session.strategy}'" in repr(session)
    assert session.options.prepack == (session.strategy == "rebuild")


# ------------------------------------------------------------------ lies are caught by the proof


def lost_flip(self, elements, masks):
    """Pretend to flip."""
    return []


def shifted_flip(self, elements, masks):
    """Flip the neighbour of what was asked for."""
    undos = []
    for copy in self.copies:
        neighbours = (copy.place.positions(elements) + 1) % len(copy.words)
        undos.append(self.format.flip(copy.words, np.unique(neighbours), masks[:1]))
    return undos


class ForgetfulUndo(Undo):
    """An undo that does nothing."""

    def __call__(self):
        """Leave the flips in place."""


def forgetful_flip(self, elements, masks):
    """Flip and forget the way back."""
    return [
        ForgetfulUndo(u.words, u.index, u.previous)
        for copy in self.copies
        for u in [copy.flip(self.format, elements, masks)]
    ]


@pytest.mark.parametrize("sabotage", [lost_flip, shifted_flip, forgetful_flip])
@pytest.mark.parametrize("strategy", ["live", "rebuild", "auto"])
def test_flips_that_go_astray_are_caught_at_open(monkeypatch, strategy, sabotage):
    """The session then opens every run on a flipped file, where nothing can go astray."""
    monkeypatch.setattr(Stored, "flip", sabotage)
    session = FaultySession(small_cnn(), threads=1, strategy=strategy)
    assert "differ" in session.fallback
    assert type(session._strategy).__name__ == "RebuildFromFile"
    clean = FaultySession.__new__(FaultySession)
    monkeypatch.undo()
    clean.__init__(small_cnn(), threads=1, strategy="rebuild")
    faults = Faults([0, 4], [3, 1], [20, 12])
    assert bits_of(session.run(X, faults)) == bits_of(clean.run(X, faults))


def test_a_single_target_out_of_reach_is_caught(monkeypatch):
    """Five of six tensors flip, one does not: the proof covers every target."""
    flip = Stored.flip

    def partial(self, elements, masks):
        if self.copies[0].place.shape == (5,):  # the last bias
            return []
        return flip(self, elements, masks)

    monkeypatch.setattr(Stored, "flip", partial)
    session = FaultySession(small_cnn(), strategy="live")
    assert (session.strategy, "differ" in session.fallback) == ("rebuild", True)


def test_a_session_that_copies_its_weights_is_caught(monkeypatch):
    """As with add_external_initializers, through which nothing is live."""
    convert = onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type
    copies = []
    monkeypatch.setattr(
        onnxruntime.OrtValue,
        "ortvalue_from_numpy_with_onnx_type",
        staticmethod(lambda a, *rest: convert(copies.append(a.copy()) or copies[-1], *rest)),
    )
    session = FaultySession(small_cnn(), strategy="live")
    assert session.strategy == "rebuild"
    assert "live is not possible: its outputs differ" in session.fallback


def test_memory_names_the_tensor_it_cannot_hold():
    """One name and how many more."""
    with pytest.raises(NotPossibleError, match="no place for 'w'"):
        LayoutCache(None).open(
            Draft(
                model=load_model(squared()),
                space=FaultSpace.of(squared()),
                options=SessionOptions(),
                explicit_norms=False,
            )
        )


# ------------------------------------------------------------------ runs that break


def test_a_run_that_breaks_because_of_faults_is_told_apart(monkeypatch):
    """A flipped index tensor, zero point or shape may make ONNX Runtime refuse: a detected error."""
    session = FaultySession(small_cnn(), strategy="rebuild")

    def refuse(*_):
        raise ModelError("refused")

    # golden runs are rebuild's own; what all strategies share runs with faults
    monkeypatch.setattr("ftonnx.runtime.strategies.base.run_session", refuse)
    with pytest.raises(FaultyRunError, match="refused"):
        session.run(X, Faults([0], [0], [0]))
    assert issubclass(FaultyRunError, ModelError)


@pytest.mark.parametrize("roles", [["scale"], ["zero_point"], ["weight", "bias", "scale", "zero_point"]])
def test_scales_and_zero_points_flip_too(roles):
    """In a quantized layer, with the outputs of a fresh session on the flipped file."""
    model = model_of(
        [
            node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
            node("DequantizeLinear", ["q", "xs", "xz"], ["d"]),
            node("DequantizeLinear", ["w", "ws", "wz"], ["f"], axis=0),
            node("Conv", ["d", "f"], ["y"]),
        ],
        [
            ("xs", np.float32(0.05)), ("xz", np.uint8(128)), ("w", np.arange(108, dtype=np.int8).reshape(4, 3, 3, 3)),
            ("ws", np.full(4, 0.01, np.float32)), ("wz", np.zeros(4, np.int8)),
        ],
    )  # fmt: skip
    space = FaultSpace.of(model, roles=roles)
    session = FaultySession(model, space, threads=1)
    before = bits_of(session.golden(X))
    last = len(space.targets) - 1
    assert bits_of(session.run(X, Faults([last], [0], [3]))) != before
    assert bits_of(session.golden(X)) == before


def test_the_input_model_is_never_changed(tmp_path):
    """Neither the object nor the file."""
    model = small_cnn()
    onnx.save(model, tmp_path / "m.onnx")
    before = (tmp_path / "m.onnx").read_bytes()
    for strategy in ("live", "rebuild"):
        for source in (model, tmp_path / "m.onnx"):
            FaultySession(source, strategy=strategy).run(X, Faults([0], [0], [31]))
    assert (tmp_path / "m.onnx").read_bytes() == before == model.SerializeToString()


def test_reference_opens_a_fresh_session_on_any_file():
    """With the options in use; on the untouched model it gives the golden outputs."""
    for strategy in ("live", "rebuild"):
        session = FaultySession(small_cnn(), strategy=strategy)
        assert bits_of(session.reference(small_cnn(), X)) == bits_of(session.golden(X))
        assert bits_of(session.reference(small_cnn(seed=7), X)) != bits_of(session.golden(X))


def test_all_outputs_of_a_model_are_returned():
    """In the model's order."""
    model = model_of(
        [node("MatMul", ["x", "w"], ["y"]), node("Relu", ["y"], ["z"])],
        [("w", random_floats(8, 5))],
        outputs=["z", "y"],
    )
    rectified, plain = FaultySession(model).run(X, Faults([0], [0], [20]))
    assert np.array_equal(rectified, np.maximum(plain, 0))
