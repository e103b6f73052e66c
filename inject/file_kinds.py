"""Files that people give in place of an ONNX model: recognized by their first bytes or their name, with the way on.

What is recognized is not read any further; a file that only its name tells is tried as an ONNX model first.
"""

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["FileKind", "folder_kind", "kind_by_content", "kind_by_name"]

_HEAD: Final = 4096  # bytes; all that is looked at
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_MOST_NAMED: Final = 3

_FETCH: Final = "fetch the file itself with git lfs pull"
_DOWNLOAD: Final = "download it again, and look at what comes"
_SOURCE: Final = "give the ONNX model that it was made from"
_UNPACK: Final = "unpack it, and give the .onnx file that it holds"
_FROM_TORCH: Final = "write an ONNX model with ftonnx export NAME --weights FILE -o model.onnx, or torch.onnx.export"
_FROM_SCRIPT: Final = "export the module that it was made from with torch.onnx.export"
_FROM_KERAS: Final = "convert it with python -m tf2onnx.convert --keras FILE --output model.onnx"
_FROM_LITE: Final = "convert it with python -m tf2onnx.convert --tflite FILE --output model.onnx"
_FROM_FROZEN: Final = (
    "convert it with python -m tf2onnx.convert --graphdef FILE --inputs X:0 --outputs Y:0 --output model.onnx"
)
_FROM_SAVED: Final = "convert it with python -m tf2onnx.convert --saved-model FOLDER --output model.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    """What a file or folder is, where it is no ONNX model.

    Attributes:
        what: its kind, with an article.
        way_on: what to do.
        begins: says whether a file with these first bytes is one.
        suffixes: endings of names that suggest it.
    """

    what: str
    way_on: str
    begins: Callable[[bytes], bool] | None = None
    suffixes: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """One line for an error, where the first bytes told."""
        return f"this is {self.what}, not an ONNX file; {self.way_on}"

    @property
    def guess(self) -> str:
        """One line for an error, where only the name told."""
        return f"this is not an ONNX file; by its name it is {self.what}: {self.way_on}"


def kind_by_content(path: Path) -> FileKind | None:
    """Return what a file is whose first bytes tell that it is no ONNX model, else None.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        return _EMPTY
    if head.startswith(_ZIP):
        return _kind_of_zip(path)
    for kind in _KINDS:
        if kind.begins is not None and kind.begins(head):
            return kind
    return None


def kind_by_name(path: Path) -> FileKind | None:
    """Return what a file is by its name, else None; only for files that could not be read as ONNX models."""
    name = path.name.lower()
    for kind in _KINDS:
        if name.endswith(kind.suffixes):
            return kind
    return None


def folder_kind(path: Path) -> FileKind:
    """Return what a folder is.

    Raises:
        OSError: it cannot be looked into.
    """
    names = sorted(each.name for each in path.iterdir())
    if "saved_model.pb" in names:
        return FileKind(what="the folder of a TensorFlow SavedModel", way_on=_FROM_SAVED)
    if path.suffix == ".mlpackage":
        return FileKind(what="a Core ML package", way_on=_SOURCE)
    models = [name for name in names if name.endswith(".onnx")]
    if models:
        return FileKind(what="a folder", way_on=f"give a file in it: {_first(models)}")
    if any(name.endswith(".safetensors") for name in names):
        return FileKind(
            what="the folder of a Hugging Face model",
            way_on="export it with optimum-cli export onnx --model FOLDER onnx/",
        )
    return FileKind(what="a folder", way_on="give the .onnx file itself")


def _kind_of_zip(path: Path) -> FileKind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError):
        return FileKind(what="a zip archive that is cut short", way_on="copy or download it again")
    models = [name for name in names if name.lower().endswith(".onnx")]
    if models:
        return FileKind(what=f"a zip archive that holds {_first(models)}", way_on="unpack it, and give that file")
    return _zip_without_model(names)


def _zip_without_model(names: Sequence[str]) -> FileKind:
    # what the writers of these archives name their parts
    parts = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in parts:
        return FileKind(what="a TorchScript archive", way_on=_FROM_SCRIPT)
    if "archive_format" in parts or "serialized_exported_program.json" in parts:
        return FileKind(what="a program of torch.export", way_on="write it with torch.onnx.export")
    if "data.pkl" in parts:
        return FileKind(what="a torch checkpoint", way_on=_FROM_TORCH)
    if "model.weights.h5" in parts:
        return FileKind(what="a Keras model", way_on="write it with model.export('model.onnx', format='onnx')")
    if parts and all(name.endswith(".npy") for name in parts):
        return FileKind(what="a NumPy archive (npz)", way_on="give the model here, and data as data")
    return FileKind(what=f"a zip archive of {_first(names)}", way_on=_UNPACK)


def _first(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are.

    >>> _first(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    named = ", ".join(names[:_MOST_NAMED])
    left = len(names) - _MOST_NAMED
    return f"{named} and {left} more" if left > 0 else named or "nothing"


# ------------------------------------------------------------------ first bytes


def _starts(*beginnings: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(beginnings)


def _has(magic: bytes, *, at: int) -> Callable[[bytes], bool]:
    return lambda head: head[at : at + len(magic)] == magic


def _is_markup(*tags: bytes) -> Callable[[bytes], bool]:
    """Tell texts that begin with a tag in which one of some words stands."""
    return lambda head: _text(head).startswith(b"<") and any(tag in _text(head) for tag in tags)


def _text(head: bytes) -> bytes:
    """Return the beginning of a text without white space in front or a byte order mark, in lower case."""
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()


def _is_json(head: bytes) -> bool:
    return _text(head)[:1] in (b"{", b"[") and _text(head)[1:].lstrip()[:1] in (b'"', b"{", b"[", b"}", b"]")


def _is_safetensors(head: bytes) -> bool:
    """Tell by the length of the header, eight bytes, which is JSON."""
    length = int.from_bytes(head[:8], "little")
    return 0 < length < 1 << 32 and head[8:9] == b"{"


def _is_pickle(head: bytes) -> bool:
    """Tell the protocols 2 to 5, the only ones that say so."""
    return head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")


def _is_all_zero(head: bytes) -> bool:
    return not any(head)


_EMPTY: Final = FileKind(what="an empty file", way_on="export, copy or download the model again")

_KINDS: Final = (
    FileKind(
        what="a Git LFS pointer, which stands for the file",
        way_on=_FETCH,
        begins=_starts(b"version https://git-lfs", b"version https://hawser"),
    ),
    FileKind(
        what="a model in ONNX Runtime's own ORT format",
        way_on=_SOURCE,
        begins=_has(b"ORTM", at=4),
        suffixes=(".ort",),
    ),
    FileKind(
        what="nothing but zero bytes, as a download leaves that did not finish",
        way_on=_DOWNLOAD,
        begins=_is_all_zero,
    ),
    FileKind(
        what="a TensorFlow Lite model",
        way_on=_FROM_LITE,
        begins=_has(b"TFL3", at=4),
        suffixes=(".tflite", ".lite"),
    ),
    FileKind(
        what="an ExecuTorch program",
        way_on="export the torch module that it was made from with torch.onnx.export",
        begins=_has(b"ET12", at=4),
        suffixes=(".pte",),
    ),
    FileKind(
        what="a safetensors file, which holds weights and no network",
        way_on=_FROM_TORCH,
        begins=_is_safetensors,
        suffixes=(".safetensors",),
    ),
    FileKind(
        what="a pickle, as torch and scikit-learn write them",
        way_on=f"from torch: {_FROM_TORCH}; from scikit-learn: skl2onnx",
        begins=_is_pickle,
        suffixes=(".pkl", ".pickle", ".joblib"),
    ),
    FileKind(
        what="a torch checkpoint",
        way_on=_FROM_TORCH,
        suffixes=(".pth", ".pt", ".ckpt", ".pth.tar", ".bin"),
    ),
    FileKind(
        what="an HDF5 file, as Keras writes it",
        way_on=_FROM_KERAS,
        begins=_starts(b"\x89HDF\r\n\x1a\n"),
        suffixes=(".h5", ".hdf5", ".keras"),
    ),
    FileKind(
        what="a TensorFlow SavedModel without its folder",
        way_on=_FROM_SAVED,
        suffixes=("saved_model.pb",),
    ),
    FileKind(what="a TensorFlow graph", way_on=_FROM_FROZEN, suffixes=(".pb",)),
    FileKind(what="a Core ML model", way_on=_SOURCE, suffixes=(".mlmodel",)),
    FileKind(
        what="a TensorRT engine",
        way_on=_SOURCE,
        begins=_starts(b"ftrt", b"ptrt"),
        suffixes=(".engine", ".plan", ".trt"),
    ),
    FileKind(
        what="an ncnn parameter file",
        way_on=_SOURCE,
        begins=_starts(b"7767517"),
        suffixes=(".param",),
    ),
    FileKind(what="a GGUF file", way_on=_SOURCE, begins=_starts(b"GGUF"), suffixes=(".gguf",)),
    FileKind(what="an RKNN model", way_on=_SOURCE, begins=_starts(b"RKNN"), suffixes=(".rknn",)),
    FileKind(what="a Caffe model", way_on="convert it with caffe2onnx", suffixes=(".caffemodel", ".prototxt")),
    FileKind(what="a PaddlePaddle model", way_on="convert it with paddle2onnx", suffixes=(".pdmodel", ".pdiparams")),
    FileKind(
        what="a web page: the download gave an error or asked for a login",
        way_on=_DOWNLOAD,
        begins=_is_markup(b"<html", b"<!doctype html"),
        suffixes=(".html", ".htm"),
    ),
    FileKind(
        what="an OpenVINO model (.xml)",
        way_on=_SOURCE,
        begins=_is_markup(b"<net "),
    ),
    FileKind(
        what="an XML file",
        way_on="give the .onnx file; a server may have sent this in its place",
        begins=_starts(b"<?xml", b"\xef\xbb\xbf<?xml"),
        suffixes=(".xml",),
    ),
    FileKind(
        what="an ONNX model in text form",
        way_on="write it with onnx.save(onnx.load(FILE, format='onnxtxt'), 'model.onnx')",
        begins=_is_markup(b"ir_version"),
        suffixes=(".onnxtxt",),
    ),
    FileKind(
        what="an ONNX model as text of protobuf",
        way_on="write it with onnx.save(onnx.load(FILE, format='textproto'), 'model.onnx')",
        begins=_starts(b"ir_version:"),
        suffixes=(".pbtxt", ".textproto"),
    ),
    FileKind(
        what="a JSON file, such as a configuration or a server's error message",
        way_on="give the .onnx file",
        begins=_is_json,
        suffixes=(".json",),
    ),
    FileKind(
        what="a NumPy array",
        way_on="give the model here, and data as data",
        begins=_starts(b"\x93NUMPY"),
        suffixes=(".npy", ".npz"),
    ),
    FileKind(
        what="a gzip archive",
        way_on=_UNPACK,
        begins=_starts(b"\x1f\x8b"),
        suffixes=(".gz", ".tgz"),
    ),
    FileKind(
        what="an archive",
        way_on=_UNPACK,
        begins=_starts(b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07"),
        suffixes=(".bz2", ".xz", ".zst", ".7z", ".rar", ".zip"),
    ),
    FileKind(what="a tar archive", way_on=_UNPACK, begins=_has(b"ustar", at=257), suffixes=(".tar",)),
    FileKind(
        what="a program text",
        way_on="give the .onnx file",
        begins=_starts(b"#!"),
        suffixes=(".py",),
    ),
)
"""Every kind that is recognized; of several that fit, the first."""
