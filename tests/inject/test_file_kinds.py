"""Files of other kinds: what they are, and what to do, in one line."""

import gzip
import io
import json
import os
import pickle
import tarfile
import threading
import zipfile

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx_zoo import small_cnn

from ftonnx.errors import ModelError
from ftonnx.inject import load_model
from ftonnx.inject.file_kinds import kind_by_content


def refused(path):
    """Return the message of the ModelError, one line that begins with the path."""
    with pytest.raises(ModelError) as caught:
        load_model(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 300 + len(str(path))
    return message.removeprefix(f"{path}: ")


def write_ort(path):
    """Let ONNX Runtime write its own format."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    ort.InferenceSession(small_cnn().SerializeToString(), options, providers=["CPUExecutionProvider"])


def write_torch(path, **how):
    """Let torch write a checkpoint."""
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(3, 2).state_dict(), path, **how)


def write_safetensors(path):
    """Let safetensors write a file."""
    save_file = pytest.importorskip("safetensors.numpy").save_file
    save_file({"w": np.zeros((3, 2), np.float32)}, path)


def write_zip(path, *names):
    """Write an archive."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, small_cnn().SerializeToString())


def write_tar(path, mode="w"):
    """Write a tar archive of a model."""
    content = small_cnn().SerializeToString()
    with tarfile.open(path, mode) as archive:
        entry = tarfile.TarInfo("model.onnx")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))


def raw(content):
    """Return a writer of these bytes."""
    return lambda path: path.write_bytes(content)


def graph_def():
    """Return a TensorFlow graph of one node: field 1 is a node, whose fields 1 and 2 are its name and operator."""
    inner = b"\x0a\x01x\x12\x0bPlaceholder"
    return b"\x0a" + bytes([len(inner)]) + inner


TOLD_BY_CONTENT = {
    "LFS pointer": (
        raw(b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 98765\n"),
        "Git LFS pointer", "git lfs pull",
    ),
    "ort": (write_ort, "own ORT format", "the ONNX model"),
    "torch": (write_torch, "torch checkpoint", "ftonnx export"),
    "torch, old": (lambda path: write_torch(path, _use_new_zipfile_serialization=False), "pickle", "ftonnx export"),
    "TorchScript": (
        lambda path: write_zip(path, "net/data.pkl", "net/code/__torch__.py", "net/constants.pkl"),
        "TorchScript", "torch.onnx.export",
    ),
    "torch.export": (
        lambda path: write_zip(path, "net/archive_format", "net/models/model.json", "net/byteorder"),
        "torch.export", "torch.onnx.export",
    ),
    "pickle": (raw(pickle.dumps({"w": np.zeros(3)})), "pickle", "skl2onnx"),
    "safetensors": (write_safetensors, "safetensors", "ftonnx export"),
    "TensorFlow Lite": (raw(b"\x1c\x00\x00\x00TFL3" + bytes(100)), "TensorFlow Lite", "--tflite"),
    "ExecuTorch": (raw(b"\x1c\x00\x00\x00ET12" + bytes(100)), "ExecuTorch", "torch.onnx.export"),
    "HDF5": (raw(b"\x89HDF\r\n\x1a\n" + bytes(100)), "Keras", "--keras"),
    "Keras": (
        lambda path: write_zip(path, "metadata.json", "config.json", "model.weights.h5"), "Keras", "format='onnx'",
    ),
    "TensorRT": (raw(b"ftrt\x00\x01" + os.urandom(100)), "TensorRT", "the ONNX model"),
    "ncnn": (raw(b"7767517\n75 83\nInput data 0 1 data\n"), "ncnn", "the ONNX model"),
    "GGUF": (raw(b"GGUF\x03\x00\x00\x00"), "GGUF", "the ONNX model"),
    "OpenVINO": (raw(b'<?xml version="1.0"?>\n<net name="n" version="11">'), "OpenVINO", "the ONNX model"),
    "XML": (raw(b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>"), "XML", "server"),
    "web page": (raw(b"\n<!DOCTYPE html>\n<html><head>"), "web page", "download it again"),
    "web page without its type": (raw(b"<HTML><BODY>404 Not Found"), "web page", "download it again"),
    "JSON": (raw(json.dumps({"error": "Not Found"}).encode()), "JSON", ".onnx"),
    "text form": (lambda path: onnx.save(small_cnn(), path, format="onnxtxt"), "text form", "onnxtxt"),
    "protobuf's text": (lambda path: onnx.save(small_cnn(), path, format="textproto"), "text of protobuf", "textproto"),
    "JSON form": (lambda path: onnx.save(small_cnn(), path, format="json"), "JSON", ".onnx"),
    "npy": (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00" + bytes(100)), "NumPy array", "data as data"),
    "npz": (lambda path: write_zip(path, "images.npy", "labels.npy"), "npz", "data as data"),
    "zip with a model": (lambda path: write_zip(path, "a/b.onnx", "a/README"), "holds a/b.onnx", "unpack"),
    "zip with many": (
        lambda path: write_zip(path, *(f"{n}.onnx" for n in range(9))), "0.onnx, 1.onnx, 2.onnx and 6 more", "unpack",
    ),
    "zip without": (lambda path: write_zip(path, "README"), "archive of README", "unpack"),
    "empty zip": (write_zip, "archive of nothing", "unpack"),
    "gzip": (raw(gzip.compress(b"model")), "gzip", "unpack"),
    "tar": (write_tar, "tar archive", "unpack"),
    "tar.gz": (lambda path: write_tar(path, "w:gz"), "gzip", "unpack"),
    "tar.xz": (lambda path: write_tar(path, "w:xz"), "archive", "unpack"),
    "program": (raw(b"#!/bin/sh\necho hello\n"), "program", ".onnx"),
    "empty": (raw(b""), "empty file", "again"),
    "zeros": (raw(bytes(100_000)), "zero bytes", "download it again"),
}  # fmt: skip


@pytest.mark.parametrize(("write", "what", "way_on"), TOLD_BY_CONTENT.values(), ids=TOLD_BY_CONTENT)
def test_a_file_of_another_kind_is_named_whatever_it_is_called(tmp_path, write, what, way_on):
    """With the ending of an ONNX file, and without one."""
    for name in ("model.onnx", "model"):
        path = tmp_path / name
        write(path)
        message = refused(path)
        assert what in message.partition(";")[0]
        assert way_on in message.partition(";")[2]


TOLD_BY_NAME = {
    "frozen.pb": (graph_def(), "TensorFlow graph", "--graphdef"),
    "saved_model.pb": (b"\x08\x01\x12\x03\x0a\x01\x01", "TensorFlow SavedModel", "--saved-model"),
    "net.mlmodel": (b"\x08\x04\x12\x02\x0a\x00", "Core ML", "the ONNX model"),
    "net.caffemodel": (b"\x0a\x03net\x12\x01d", "Caffe", "caffe2onnx"),
    "net.pdmodel": (b"\x0a\x02\x08\x00", "PaddlePaddle", "paddle2onnx"),
    "net.engine": (b"\x01\x02engine", "TensorRT", "the ONNX model"),
    "weights.pth": (b"\x01\x02\x03", "torch checkpoint", "ftonnx export"),
    "net.TFLITE": (b"\xff\xff", "TensorFlow Lite", "--tflite"),
}


@pytest.mark.parametrize(("name", "content", "what", "way_on"), [(name, *row) for name, row in TOLD_BY_NAME.items()])
def test_what_cannot_be_read_is_guessed_by_its_name(tmp_path, name, content, what, way_on):
    """Also where the bytes happen to be a message of protobuf; under the name of an ONNX file nothing is guessed."""
    (tmp_path / name).write_bytes(content)
    message = refused(tmp_path / name)
    assert f"by its name it is {'an' if what[0] in 'AEIOU' else 'a'} {what}" in message
    assert way_on in message
    (tmp_path / "model.onnx").write_bytes(content)
    assert "by its name" not in refused(tmp_path / "model.onnx")


@pytest.mark.parametrize("name", TOLD_BY_NAME)
def test_an_onnx_file_of_any_name_is_read(tmp_path, name):
    """A name decides nothing where the content is a model."""
    (tmp_path / name).write_bytes(small_cnn().SerializeToString())
    assert load_model(tmp_path / name).proto == small_cnn()


FOLDERS = {
    "SavedModel": (("saved_model.pb", "variables"), "SavedModel", "--saved-model"),
    "with models": (("a.onnx", "b.onnx", "config.json"), "folder", "a.onnx, b.onnx"),
    "Hugging Face": (("config.json", "model.safetensors"), "Hugging Face", "optimum-cli"),
    "empty": ((), "folder", ".onnx file"),
}


@pytest.mark.parametrize(("names", "what", "way_on"), FOLDERS.values(), ids=FOLDERS)
def test_a_folder_is_named(tmp_path, names, what, way_on):
    """By what lies in it."""
    for name in names:
        (tmp_path / name).write_bytes(b"")
    message = refused(tmp_path)
    assert what in message
    assert way_on in message
    (tmp_path / "m.mlpackage").mkdir()
    assert "Core ML package" in refused(tmp_path / "m.mlpackage")


def test_no_model_of_any_zoo_is_taken_for_another_kind(tmp_path):
    """A model may begin with any of its fields, in any order."""
    model = small_cnn()
    fields = [model.SerializeToString()]
    for name in ("ir_version", "graph", "opset_import", "producer_name"):
        part = onnx.ModelProto(producer_name="pytorch")
        if name == "graph":
            part = onnx.ModelProto(graph=model.graph)
        elif name == "opset_import":
            part = onnx.ModelProto(opset_import=model.opset_import)
        elif name == "ir_version":
            part = onnx.ModelProto(ir_version=model.ir_version)
        # a message of protobuf may come in pieces
        fields.append(part.SerializeToString() + model.SerializeToString())
    path = tmp_path / "m.onnx"
    for content in fields:
        path.write_bytes(content)
        assert kind_by_content(path) is None


def test_a_truncated_archive_is_named(tmp_path):
    """At whatever byte a download stopped."""
    path = tmp_path / "m.onnx"
    write_zip(path, "m.onnx")
    content = path.read_bytes()
    for length in range(4, len(content), 97):
        path.write_bytes(content[:length])
        assert "cut short" in refused(path)


def test_a_model_that_comes_through_a_pipe_is_read_whole(tmp_path):
    """Its first bytes cannot be looked at twice."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(small_cnn().SerializeToString(),))
    writer.start()
    assert load_model(pipe).proto == small_cnn()
    writer.join()


def test_a_pointer_in_place_of_the_external_data_is_named(tmp_path):
    """Where a repository was cloned without its large files, this is the usual one."""
    onnx.save(small_cnn(), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    (tmp_path / "m.data").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    message = refused(tmp_path / "m.onnx")
    assert message.startswith("external data 'm.data' is a Git LFS pointer")
    assert message.endswith("git lfs pull")
