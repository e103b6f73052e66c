"""Broken and hostile files: one line that says why, or a valid model, and never anything else."""

import hashlib
import os
import pickle
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_zoo import model_of, random_floats, small_cnn

import ftonnx
from ftonnx.errors import ModelError, UsageError
from ftonnx.inject import FaultSpace, OnnxModel, load_model
from ftonnx.inject.model_checks import validate
from ftonnx.runtime import FaultySession

DIGITS = Path(ftonnx.__file__).parent / "models" / "digits.onnx"


def matmul(weight=None):
    """Return ``y = x @ w`` with a 4x4 weight."""
    tensor = weight if weight is not None else numpy_helper.from_array(random_floats(4, 4), "w")
    return model_of(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")],
        [tensor],
        inputs={"x": ("batch", 4)},
        outputs={"y": ("batch", 4)},
    )


def external(location, **keys):
    """Return a model whose weight lies in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **keys}.items():
        tensor.external_data.add(key=key, value=str(value))
    return matmul(tensor)


def save(model, path):
    """Write a model without any of onnx's own checks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def weights_file(path, count=16):
    """Write ``count`` float32 values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(np.arange(count, dtype=np.float32).tobytes())
    return path


def refused(source, *, by=load_model):
    """Return the message of the ModelError, which must be a single line."""
    with pytest.raises(ModelError) as caught:
        by(source)
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


def in_child(code, *arguments, gigabytes=8):
    """Run Python code in a child process with limited address space; return what it printed."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({gigabytes} << 30,) * 2)\n"
    done = subprocess.run(
        [sys.executable, "-c", limit + textwrap.dedent(code), *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    return done.stdout


# ------------------------------------------------------------------ files that are what they should be


def test_a_good_file_is_read_whole(tmp_path):
    """Name, path, hash and content."""
    model = small_cnn()
    path = save(model, tmp_path / "net.onnx")
    loaded = load_model(path)
    assert (loaded.name, loaded.path) == ("net", path)
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.proto == model
    assert load_model(str(path), name="other").name == "other"
    assert load_model(loaded) is loaded


def test_an_embedded_models_name_is_a_source_for_everything_that_takes_a_model(tmp_path, monkeypatch):
    """Also where a file of that name lies in the current folder; its path is not a name."""
    expected = load_model(DIGITS)
    monkeypatch.chdir(tmp_path)
    save(small_cnn(), tmp_path / "digits")
    loaded = load_model("digits")
    assert (loaded.name, loaded.path, loaded.sha256) == ("digits", DIGITS, expected.sha256)
    space = FaultSpace.of("digits")
    assert space == FaultSpace.of(expected)
    assert "digits" in repr(FaultySession("digits", space, threads=1, strategy="rebuild"))
    for path in ("./digits", tmp_path / "digits", Path("digits")):
        assert load_model(path).proto == small_cnn()


@pytest.mark.parametrize("opens", [load_model, FaultSpace.of, FaultySession])
def test_a_name_that_nobody_knows_is_answered_with_what_was_probably_meant(opens, tmp_path, monkeypatch):
    """The embedded models, and files beside it."""
    monkeypatch.chdir(tmp_path)
    save(small_cnn(), tmp_path / "network.onnx")
    for name, meant in (("digit", "digits"), ("netwrk.onnx", "network.onnx")):
        with pytest.raises(ModelError, match=rf"^{name}: .*known: digits; did you mean {meant}\?") as caught:
            opens(name)
        assert len(str(caught.value).splitlines()) == 1


def test_what_is_no_plain_file_is_read_all_the_same(tmp_path):
    """A model may come through a pipe."""
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(small_cnn().SerializeToString(),))
    writer.start()
    assert load_model(tmp_path / "pipe").proto == small_cnn()
    writer.join()


def test_a_model_in_memory_is_a_source_too():
    """Its name is the graph's, its hash is that of its bytes."""
    loaded = load_model(small_cnn())
    assert (loaded.name, loaded.path) == ("g", None)
    assert loaded.sha256 == load_model(small_cnn()).sha256 != load_model(small_cnn(seed=1)).sha256


def test_metadata_is_readable(tmp_path):
    """The file's metadata_props as a dict."""
    model = small_cnn()
    helper.set_model_props(model, {"a": "1", "b": "2"})
    assert load_model(save(model, tmp_path / "m.onnx")).metadata == {"a": "1", "b": "2"}


@pytest.mark.parametrize("convert_attribute", [False, True])
def test_external_data_beside_the_model_is_read(tmp_path, convert_attribute):
    """The proto then carries the bytes, whether they come from initializers or Constant nodes."""
    model = small_cnn()
    constant = helper.make_node("Constant", [], ["w1"], value=model.graph.initializer[0])
    model.graph.node.insert(0, constant)
    del model.graph.initializer[0]
    expected = numpy_helper.to_array(constant.attribute[0].t).tobytes()
    path = tmp_path / "m.onnx"
    onnx.save(
        model, path, save_as_external_data=True, location="m.data", size_threshold=0,
        convert_attribute=convert_attribute,
    )  # fmt: skip
    loaded = load_model(path).proto
    assert loaded.graph.node[0].attribute[0].t.raw_data == expected
    assert all(t.data_location == TensorProto.DEFAULT for t in loaded.graph.initializer)
    assert FaultSpace.of(path).elements == FaultSpace.of(small_cnn()).elements


@pytest.mark.parametrize("length", [{}, {"length": 0}, {"length": 64}])
def test_the_length_of_external_data_is_optional(tmp_path, length):
    """Without it the shape says how much to read, also where the file goes on after it."""
    weights_file(tmp_path / "w.bin", count=40)
    path = save(external("w.bin", offset=8, **length), tmp_path / "m.onnx")
    (tensor,) = load_model(path).proto.graph.initializer
    assert numpy_helper.to_array(tensor).ravel().tolist() == list(range(2, 18))


def test_external_data_of_a_function_is_read(tmp_path):
    """A Constant node inside a model-local function may store its tensor outside, too."""
    weights_file(tmp_path / "w.bin")
    (tensor,) = external("w.bin").graph.initializer
    body = [helper.make_node("Constant", [], ["w"], value=tensor), helper.make_node("MatMul", ["a", "w"], ["b"])]
    function = helper.make_function("local", "Layer", ["a"], ["b"], body, [helper.make_opsetid("", 20)])
    model = model_of(
        [helper.make_node("Layer", ["x"], ["y"], domain="local")],
        functions=[function], domains=["local"], inputs={"x": ("batch", 4)}, outputs={"y": ("batch", 4)},
    )  # fmt: skip
    loaded = load_model(save(model, tmp_path / "m.onnx"))
    assert FaultSpace.of(loaded).elements == 16
    weights_file(tmp_path / "w.bin", count=17)
    with pytest.raises(ModelError, match="changed"):
        loaded.check_unchanged()


def test_the_hash_covers_external_data_and_notices_changes(tmp_path):
    """Another byte in either file is another model, and is noticed at the end of a campaign."""
    weights_file(tmp_path / "w.bin")
    loaded = load_model(save(external("w.bin"), tmp_path / "m.onnx"))
    loaded.check_unchanged()
    (tmp_path / "w.bin").write_bytes(np.ones(16, np.float32).tobytes())
    with pytest.raises(ModelError, match="changed"):
        loaded.check_unchanged()
    assert load_model(tmp_path / "m.onnx").sha256 != loaded.sha256


@pytest.mark.parametrize(
    "replace", [lambda p: p.unlink(), lambda p: save(small_cnn(seed=9), p), lambda p: p.write_bytes(b"")]
)
def test_a_file_that_changes_in_use_is_noticed(tmp_path, replace):
    """Removed, replaced or emptied."""
    path = save(small_cnn(), tmp_path / "m.onnx")
    loaded = load_model(path)
    replace(path)
    with pytest.raises(ModelError, match="changed or vanished"):
        loaded.check_unchanged()


def test_an_initializer_that_is_also_an_input_is_legitimate(tmp_path):
    """As in files of IR version 3: it is overridable, and it is stored."""
    model = matmul()
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, (4, 4)))
    path = save(model, tmp_path / "m.onnx")
    session = FaultySession(path, FaultSpace.of(path))
    x = random_floats(3, 4, seed=5)
    assert np.array_equal(session.golden(x)[0], x @ random_floats(4, 4)) or np.allclose(
        session.golden(x)[0], x @ random_floats(4, 4), atol=1e-6
    )


# ------------------------------------------------------------------ files that are not


@pytest.mark.parametrize(
    "make",
    [
        lambda p: p / "missing.onnx",
        lambda p: p,
        lambda p: p / "nul\0byte.onnx",
        lambda p: p / ("long" * 100),
        lambda p: save(small_cnn(), p / "m.onnx") / "below",
    ],
)
def test_a_path_without_a_readable_file_is_refused(tmp_path, make):
    """Missing, a folder, or no possible file name."""
    refused(make(tmp_path))


def test_an_empty_file_is_refused(tmp_path):
    """By onnx itself it would be read as an empty model."""
    (tmp_path / "m.onnx").write_bytes(b"")
    assert "empty" in refused(tmp_path / "m.onnx")


@pytest.mark.parametrize("content", [b"\x00", b"hello", os.urandom(4096), b"PK\x03\x04" + bytes(500), b"\x08\x08"])
def test_bytes_that_are_no_model_are_refused(tmp_path, content):
    """Text, noise, an archive, and a header without a graph."""
    (tmp_path / "m.onnx").write_bytes(content)
    refused(tmp_path / "m.onnx")


def test_every_truncation_of_a_file_is_refused(tmp_path):
    """A download that stopped is never taken for the model."""
    data = matmul().SerializeToString()
    for length in range(len(data)):
        (tmp_path / "m.onnx").write_bytes(data[:length])
        try:
            loaded = load_model(tmp_path / "m.onnx")
        except ModelError as error:
            message = str(error)
        else:  # the file may end with fields that a model can do without
            message = "complete"
            assert len(loaded.proto.graph.initializer[0].raw_data) == 64
        assert "\n" not in message


OUTSIDE = {
    "parent": "../secret.bin",
    "detour": "junk/../../secret.bin",
    "absolute": "{root}/secret.bin",
    "device": "/dev/zero",
    "folder link": "link/secret.bin",
    "file link": "link.bin",
    "hard link": "hard.bin",
    "missing": "missing.bin",
    "empty": "",
    "the folder": ".",
    "a folder": "junk",
    "pipe": "pipe",
}


@pytest.mark.parametrize("location", OUTSIDE.values(), ids=OUTSIDE)
def test_external_data_outside_the_folder_or_behind_a_link_is_never_read(tmp_path, location):
    """Checked in a child with little memory: reading /dev/zero would never end."""
    folder = tmp_path / "model"
    (folder / "junk").mkdir(parents=True)
    weights_file(tmp_path / "secret.bin")
    (folder / "link").symlink_to(tmp_path)
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    os.link(tmp_path / "secret.bin", folder / "hard.bin")
    os.mkfifo(folder / "pipe")
    path = save(external(location.format(root=tmp_path)), folder / "m.onnx")
    code = """
        import sys
        from ftonnx.errors import ModelError
        from ftonnx.inject import load_model
        try:
            load_model(sys.argv[1])
        except ModelError as error:
            print(error)
    """
    message = in_child(code, path, gigabytes=4)
    assert message.count("\n") == 1
    assert str(path) in message
    assert "outside the model's folder" in message or "plain file beside the model" in message


def plain_session(path, x):
    """Return what ONNX Runtime makes of a file that it opens by its path."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


LINKED = {
    "the cache of Hugging Face": ("blobs/1", "m.data", "blobs/2"),
    "data in a folder of the cache": ("blobs/1", "onnx/m.data", "blobs/2"),
    "data below the model's real folder": ("blobs/1", "m.data", "blobs/more/2"),
    "data beside it": ("snapshot/real.onnx", "m.data", "snapshot/real.data"),
    "data in a folder beside it": ("snapshot/real.onnx", "onnx/m.data", "snapshot/sub/real.data"),
}
"""Where the model really lies, what its data is called, and where that really lies."""


@pytest.mark.parametrize(("model", "location", "data"), LINKED.values(), ids=LINKED)
@pytest.mark.parametrize("through", ["", "a link to the folder"])
def test_links_that_onnx_runtime_follows_are_followed(tmp_path, model, location, data, through):
    """Read, hashed as the same model without links, watched while in use, and run with the same bits."""
    real_model = save(external(location), tmp_path / model)
    real_data = weights_file(tmp_path / data)
    given = tmp_path / "snapshot" / "m.onnx"
    (given.parent / location).parent.mkdir(parents=True, exist_ok=True)
    given.symlink_to(os.path.relpath(real_model, given.parent))
    beside = given.parent / location
    beside.symlink_to(os.path.relpath(real_data, beside.parent))
    if through:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "folder").symlink_to(given.parent)
        given = tmp_path / "elsewhere" / "folder" / "m.onnx"
    loaded = load_model(given)
    x = random_floats(3, 4, seed=5)
    assert FaultySession(loaded).golden(x)[0].tobytes() == plain_session(given, x).tobytes()
    shutil.copytree(tmp_path / "snapshot", tmp_path / "copy")
    assert load_model(tmp_path / "copy" / "m.onnx").sha256 == loaded.sha256
    loaded.release()
    assert loaded.proto.graph.initializer[0].raw_data == real_data.read_bytes()
    with pytest.raises(UsageError, match="external data"):
        loaded.check_not_overwritten(real_data)
    loaded.check_unchanged()
    weights_file(real_data, count=17)
    with pytest.raises(ModelError, match="changed"):
        loaded.check_unchanged()


ELSEWHERE = {
    "the data is a link to a third place": ("blobs/1", "third/secret"),
    "the model is no link": ("snapshot/m.onnx", "blobs/2"),
    "the data lies beside the model's real file only": ("blobs/1", None),
    "the data's link leads to itself": ("blobs/1", "snapshot/m.data"),
    "the data's name is too long": ("blobs/1", "blobs/" + 300 * "x"),
}


@pytest.mark.parametrize(("model", "data"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_links_that_onnx_runtime_does_not_follow_are_refused(tmp_path, model, data):
    """Whatever a link leads to must lie below the model's folder, or that of the file the model's path leads to."""
    real_model = save(external("m.data"), tmp_path / model)
    for place in ("third/secret", "blobs/2", "blobs/m.data"):
        weights_file(tmp_path / place)
    given = tmp_path / "snapshot" / "m.onnx"
    given.parent.mkdir(exist_ok=True)
    if real_model != given:
        given.symlink_to(real_model)
    if data is not None:
        (given.parent / "m.data").symlink_to(tmp_path / data)
    message = refused(given)
    assert "outside the model's folder" in message or "plain file beside the model" in message
    with pytest.raises(Exception, match="xternal data"):
        plain_session(given, random_floats(3, 4))


def test_data_beside_the_file_that_a_link_leads_to_is_found_by_that_file(tmp_path):
    """ONNX Runtime does not look there, and the line says which path to give."""
    real = save(external("m.data"), tmp_path / "v3" / "m.onnx")
    weights_file(tmp_path / "v3" / "m.data")
    (tmp_path / "latest.onnx").symlink_to(real)
    message = refused(tmp_path / "latest.onnx")
    assert "plain file beside the model" in message
    assert message.endswith(f"give the path of the file itself, {real}")
    load_model(real)


def test_a_location_that_is_no_file_name_is_refused(tmp_path):
    """A NUL byte ends names in the system, and nothing else is looked for in its place."""
    weights_file(tmp_path / "w.bin")
    assert "outside" in refused(save(external("w.bin\0"), tmp_path / "m.onnx"))


def test_data_that_is_cut_short_while_it_is_read_is_refused(tmp_path, monkeypatch):
    """Between the look at its size and the read."""
    weights_file(tmp_path / "w.bin")
    path = save(external("w.bin"), tmp_path / "m.onnx")

    def cut(proto, *, path):
        validate(proto, path=path)
        weights_file(tmp_path / "w.bin", count=15)

    monkeypatch.setattr("ftonnx.inject.model_file.validate", cut)
    assert "shorter" in refused(path)


@pytest.mark.parametrize(
    "keys",
    [
        {"length": 2**50},
        {"length": -64},
        {"length": 63},
        {"length": "many"},
        {"offset": 4},
        {"offset": -4},
        {"offset": 2**63},
        {"offset": "0x10"},
        {"surprise": "1"},
        {"__class__": "x"},
    ],
)
def test_external_data_that_does_not_fit_its_file_is_refused(tmp_path, keys):
    """Lengths and offsets past the end, negative, not numbers, and unknown keys."""
    weights_file(tmp_path / "w.bin")
    message = refused(save(external("w.bin", **keys), tmp_path / "m.onnx"))
    assert "tensor 'w'" in message
    assert "cannot be read" not in message  # seen before onnx opens the file


def test_an_external_data_key_given_twice_is_refused(tmp_path):
    """A reader that takes the last location would escape a check of the first."""
    weights_file(tmp_path / "w.bin")
    weights_file(tmp_path / "v.bin")
    model = external("w.bin")
    model.graph.initializer[0].external_data.add(key="location", value="v.bin")
    assert "twice" in refused(save(model, tmp_path / "m.onnx"))


def test_external_text_is_refused(tmp_path):
    """A string tensor has no size by which a file could be checked."""
    model = external("/dev/zero")
    model.graph.initializer[0].data_type = TensorProto.STRING
    refused(save(model, tmp_path / "m.onnx"))


def test_external_data_without_a_folder_is_refused():
    """A model in memory has no folder; nothing is searched in the working directory."""
    assert "w" in refused(external("w.bin"))


@pytest.mark.parametrize("part", ["values", "indices"])
@pytest.mark.parametrize("place", ["initializer", "attribute"])
def test_sparse_tensors_cannot_read_outside_either(tmp_path, part, place):
    """The known detour around path checks: values or indices of a sparse tensor."""
    sparse = onnx.SparseTensorProto(dims=[4, 4])
    sparse.values.CopyFrom(helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0]))
    sparse.indices.CopyFrom(helper.make_tensor("i", TensorProto.INT64, [2], [1, 5]))
    tensor = getattr(sparse, part)
    tensor.ClearField("float_data")
    tensor.ClearField("int64_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret.bin")
    weights_file(tmp_path / "secret.bin")
    model = matmul()
    del model.graph.initializer[0]
    if place == "initializer":
        model.graph.sparse_initializer.append(sparse)
    else:
        model.graph.node.insert(0, helper.make_node("Constant", [], ["w"], sparse_value=sparse))
    assert "outside" in refused(save(model, tmp_path / "model" / "m.onnx"))


def broken_tensor(**changes):
    """Return the MatMul model with fields of its weight changed."""
    model = matmul()
    tensor = model.graph.initializer[0]
    for name, value in changes.items():
        if name == "dims":
            tensor.dims[:] = value
        else:
            setattr(tensor, name, value)
    return model


def edited(**changes):
    """Return the MatMul model with fields of the model changed."""
    model = matmul()
    for name, value in changes.items():
        setattr(model, name, value)
    return model


def with_opset(*pairs):
    """Return the MatMul model with these operator sets."""
    model = matmul()
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(*pair) for pair in pairs)
    return model


def with_twin():
    """Return a model that defines its weight twice."""
    model = matmul()
    model.graph.initializer.append(numpy_helper.from_array(random_floats(4, 4, seed=3), "w"))
    return model


def with_node(**changes):
    """Return the MatMul model with fields of its node changed."""
    model = matmul()
    for name, value in changes.items():
        setattr(model.graph.node[0], name, value)
    return model


def cyclic():
    """Return a model whose nodes wait for each other."""
    model = matmul()
    model.graph.node.extend([helper.make_node("Relu", ["q"], ["p"]), helper.make_node("Relu", ["p"], ["q"])])
    return model


def without_values(**changes):
    """Return a model whose weight carries no values at all."""
    model = broken_tensor(**changes)
    model.graph.initializer[0].ClearField("raw_data")
    return model


def stored_twice():
    """Return a model whose large weight has its values in two fields."""
    model = matmul(numpy_helper.from_array(random_floats(256, 256), "w"))
    model.graph.initializer[0].float_data.append(1)
    return model


BROKEN = {
    "short raw data": lambda: broken_tensor(raw_data=bytes(63)),
    "long raw data": lambda: broken_tensor(raw_data=bytes(65)),
    "no data": without_values,
    "dims overflow": lambda: broken_tensor(dims=[2**62, 2**62]),
    "huge dims": lambda: broken_tensor(dims=[2**40, 4]),
    "more axes than numpy has": lambda: broken_tensor(dims=[4, 4, *[1] * 63]),
    "a size beyond floats": lambda: without_values(dims=[2**62] * 40),
    "negative dim": lambda: broken_tensor(dims=[-4, -4]),
    "minus four": lambda: broken_tensor(dims=[-4]),
    "no type": lambda: broken_tensor(data_type=0),
    "type 99": lambda: broken_tensor(data_type=99),
    "no opset": with_opset,
    "opset 999": lambda: with_opset(("", 999)),
    "opset 999 by its other name": lambda: with_opset(("ai.onnx", 999)),
    "ir version 99": lambda: edited(ir_version=99),
    "unknown op": lambda: with_node(op_type="MatMull"),
    "domain not imported": lambda: with_node(domain="com.example"),
    "duplicate initializer": with_twin,
    "stored twice": stored_twice,
    "cycle": cyclic,
    "empty": onnx.ModelProto,
}


@pytest.mark.parametrize("make", BROKEN.values(), ids=BROKEN)
def test_a_broken_model_is_refused_as_file_and_in_memory(tmp_path, make):
    """Also what onnx's checker passes: opset 999, negative sizes, duplicate names."""
    refused(make())
    assert "m.onnx" in refused(save(make(), tmp_path / "m.onnx"))


def test_a_negative_size_is_named_as_such():
    """Two negative sizes multiply to a plausible number of bytes."""
    assert "negative size" in refused(broken_tensor(dims=[-4, -4]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_weights_that_are_not_finite_before_any_fault_are_refused(value, dtype):
    """The checker and ONNX Runtime pass them; a campaign would measure nothing."""
    weights = random_floats(4, 4).astype(dtype)
    weights[1, 2] = value
    model = matmul(numpy_helper.from_array(weights, "w"))
    message = refused(model, by=FaultSpace.of)
    assert "'w'" in message
    assert "--exclude" in message


def test_a_domain_that_is_imported_but_unknown_is_refused_by_the_session():
    """The checker knows nothing about other domains; ONNX Runtime does."""
    model = matmul()
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    model.graph.node.append(helper.make_node("Magic", ["y"], ["z"], domain="com.example"))
    model.graph.output[0].name = "z"
    assert "Magic" in refused(model, by=FaultySession)


GIGANTIC = 2**38


def gigantic(*, through_identity=False, shape_dims=(1,)):
    """Return a model that makes a constant of 2**38 floats, a tebibyte, from an 8-byte file."""
    shape = numpy_helper.from_array(np.full(shape_dims, GIGANTIC), "shape")
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["big"], name="bomb"),
        helper.make_node("ReduceSum", ["big"], ["one"], keepdims=0),
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Add", ["z", "one"], ["y"]),
    ]
    if through_identity:
        nodes.insert(0, helper.make_node("Identity", ["shape"], ["s"]))
    else:
        nodes[0].input[0] = "shape"
    weight = numpy_helper.from_array(random_floats(4, 4), "w")
    return model_of(nodes, [shape, weight], inputs={"x": ("batch", 4)}, outputs={"y": ("batch", 4)})


@pytest.mark.parametrize("shape_dims", [(1,), (1, 1)])
def test_a_constant_larger_than_memory_is_refused_before_it_is_made(shape_dims):
    """Seen in the file, also when the shape tensor itself is malformed."""
    assert "bomb" in refused(gigantic(shape_dims=shape_dims))


def test_a_gigantic_constant_in_a_subgraph_or_function_is_refused():
    """Wherever the node hides."""
    shape = helper.make_node("Constant", [], ["s"], value=numpy_helper.from_array(np.array([GIGANTIC]), "s"))
    body = [shape, helper.make_node("ConstantOfShape", ["s"], ["b"], name="bomb")]
    function = helper.make_function("local", "Bomb", ["a"], ["b"], body, [helper.make_opsetid("", 20)])
    model = matmul()
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("local", 1))
    assert "bomb" in refused(model)


def test_a_disguised_gigantic_constant_is_a_clean_error_under_a_memory_limit(tmp_path):
    """Where the size cannot be read off the file, ONNX Runtime's failure becomes a ModelError."""
    path = save(gigantic(through_identity=True), tmp_path / "m.onnx")
    code = """
        import sys
        from ftonnx.errors import ModelError
        from ftonnx.runtime import FaultySession
        try:
            FaultySession(sys.argv[1])
        except ModelError as error:
            print("refused", error)
    """
    message = in_child(code, path)
    assert message.startswith("refused")
    assert message.count("\n") == 1


def test_external_shape_constants_are_not_looked_up_in_the_working_directory(tmp_path, monkeypatch):
    """The tensor is read from the model's folder, or not at all."""
    model = gigantic()
    shape = model.graph.initializer[0]
    shape.ClearField("raw_data")
    shape.data_location = TensorProto.EXTERNAL
    shape.external_data.add(key="location", value="s.bin")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "s.bin").write_bytes(np.array([GIGANTIC]).tobytes())
    monkeypatch.chdir(elsewhere)
    assert "missing" in refused(save(model, tmp_path / "model" / "m.onnx"))


def test_functions_that_call_each_other_in_a_circle_are_refused():
    """Instead of a RecursionError."""
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("local", 1)]
    functions = [
        helper.make_function(
            "local", name, ["a"], ["b"], [helper.make_node(other, ["a"], ["b"], domain="local")], opsets
        )
        for name, other in (("Ping", "Pong"), ("Pong", "Ping"))
    ]
    model = matmul()
    model.functions.extend(functions)
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.graph.node.append(helper.make_node("Ping", ["y"], ["z"], domain="local"))
    model.graph.output[0].name = "z"
    refused(model, by=FaultySession)


def test_a_circle_of_views_inside_a_function_does_not_hang():
    """Identity nodes that feed each other, where the checker does not look."""
    body = [
        helper.make_node("Identity", ["q"], ["p"]),
        helper.make_node("Identity", ["p"], ["q"]),
        helper.make_node("MatMul", ["a", "p"], ["b"]),
    ]
    function = helper.make_function("local", "Loop", ["a"], ["b"], body, [helper.make_opsetid("", 20)])
    model = matmul()
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.graph.node.append(helper.make_node("Loop", ["y"], ["z"], domain="local"))
    model.graph.output[0].name = "z"
    refused(model, by=FaultySession)


def test_functions_that_multiply_do_not_take_forever():
    """Thirty levels that each call the next one twice are a billion calls."""
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("local", 1)]
    functions = []
    for level in range(30):
        inner = f"F{level + 1}" if level < 29 else "Relu"
        domain = "local" if level < 29 else ""
        body = [
            helper.make_node(inner, ["a"], ["t"], domain=domain),
            helper.make_node(inner, ["t"], ["b"], domain=domain),
        ]
        functions.append(helper.make_function("local", f"F{level}", ["a"], ["b"], body, opsets))
    model = matmul()
    model.functions.extend(functions)
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.graph.node.append(helper.make_node("F0", ["y"], ["z"], domain="local"))
    model.graph.output[0].name = "z"
    refused(model, by=FaultSpace.of)


def test_a_validated_model_is_a_value():
    """Frozen, and its repr does not print a network."""
    loaded = load_model(small_cnn())
    assert isinstance(loaded, OnnxModel)
    assert len(repr(loaded)) < 300
    with pytest.raises(AttributeError):
        loaded.name = "other"


def test_a_released_model_is_read_again_from_its_file(tmp_path):
    """Its name, hash and metadata stay; the tensors come back when they are asked for."""
    model = small_cnn()
    model.metadata_props.add(key="a", value="b")
    onnx.save(model, tmp_path / "m.onnx")
    loaded = load_model(tmp_path / "m.onnx")
    loaded.release()
    assert (loaded.name, loaded.metadata) == ("m", {"a": "b"})
    loaded.check_unchanged()
    assert loaded.proto == model
    assert loaded.proto is loaded.proto


def test_a_released_model_whose_file_changed_is_refused(tmp_path):
    """Another network under the same name must not be taken for the first one."""
    onnx.save(small_cnn(), tmp_path / "m.onnx")
    loaded = load_model(tmp_path / "m.onnx")
    loaded.release()
    onnx.save(small_cnn(seed=5), tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="changed or vanished"):
        _ = loaded.proto


def test_a_model_made_in_memory_is_never_released():
    """There is nothing to read it from again."""
    loaded = load_model(small_cnn())
    loaded.release()
    assert loaded.proto == small_cnn()


def test_a_pickled_model_carries_its_weights_only_where_it_has_no_file(tmp_path):
    """Another process reads the file, when it needs it at all."""
    onnx.save(small_cnn(), tmp_path / "m.onnx")
    from_file, in_memory = load_model(tmp_path / "m.onnx"), load_model(small_cnn())
    assert len(pickle.dumps(from_file)) < 1000 < len(pickle.dumps(in_memory))
    for model in (from_file, in_memory):
        again = pickle.loads(pickle.dumps(model))
        assert (again.name, again.path, again.sha256) == (model.name, model.path, model.sha256)
        assert again.proto == model.proto


def test_an_edited_model_is_another_one_in_memory(tmp_path):
    """It keeps the name, not the path and not the hash."""
    onnx.save(small_cnn(), tmp_path / "m.onnx")
    loaded = load_model(tmp_path / "m.onnx")
    edited = loaded.with_proto(small_cnn(seed=5))
    assert (edited.name, edited.path) == ("m", None)
    assert edited.sha256 == load_model(small_cnn(seed=5)).sha256 != loaded.sha256


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_refused_unread(tmp_path, device):
    """Reading it would never end, or give nothing; a link does not hide it."""
    (tmp_path / "m.onnx").symlink_to(device)
    for path in (device, tmp_path / "m.onnx"):
        with pytest.raises(ModelError, match="this is a device or a socket"):
            load_model(path)


def test_a_pipe_without_end_is_left_at_the_largest_size(tmp_path, monkeypatch):
    """Its size cannot be asked for."""
    monkeypatch.setattr("ftonnx.inject.model_file._MOST_BYTES", 2**22)
    os.mkfifo(tmp_path / "pipe")
    writer = subprocess.Popen(["sh", "-c", 'cat /dev/zero > "$0"', str(tmp_path / "pipe")])
    with pytest.raises(ModelError, match="an ONNX file holds 2 GiB at most"):
        load_model(tmp_path / "pipe")
    assert writer.wait(10)


def test_sparse_files_are_measured_before_they_are_read(tmp_path):
    """A terabyte of nothing takes no place on the disk."""
    with (tmp_path / "large.onnx").open("wb") as file:
        file.write(small_cnn().SerializeToString())
        file.truncate(2**40)
    with pytest.raises(ModelError, match="an ONNX file holds 2 GiB at most"):
        load_model(tmp_path / "large.onnx")
    weights_file(tmp_path / "w.bin")
    os.truncate(tmp_path / "w.bin", 2**40)
    path = save(external("w.bin"), tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="its external data have 1,099,511,627,776 bytes: the limit is 8,589,934,592"):
        load_model(path)


def test_one_file_may_not_be_told_as_many_large_tensors(tmp_path, monkeypatch):
    """Each of them would be read."""
    monkeypatch.setenv("FTONNX_LIMIT_MODEL_BYTES", "1000")
    weights_file(tmp_path / "w.bin")
    model = external("w.bin")
    for place in range(20):
        tensor = model.graph.initializer.add()
        tensor.CopyFrom(model.graph.initializer[0])
        tensor.name = f"w{place}"
    path = save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"its tensors have [0-9,]+ bytes: the limit is 1,000"):
        load_model(path)
