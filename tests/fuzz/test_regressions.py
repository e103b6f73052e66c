"""What fuzzing has found once: small inputs made by code, each refused in one line, or read."""

import io
import json
import os
import pickle
import shutil
import struct
import zipfile

import numpy as np
import onnx
import pytest
import tifffile
from campaign_kit import edit, edit_header
from onnx_zoo import small_cnn
from PIL import Image
from published_kit import pixels, png, write_parquet

import ftonnx
from ftonnx.campaign.store.kept_maps import KeptMaps, MapPair
from ftonnx.errors import DataError, FtonnxError, ModelError, StoreError
from fuzz.inputs import Odd, write_input
from fuzz.registry import TARGETS

_NOBODYS = 65000
"""A tag that means nothing."""


def npy(header, content=b""):
    """Return an array with any header."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


def npz(**members):
    """Return an archive of arrays as they are."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return written.getvalue()


def tiff(shape, **changed):
    """Return an image whose tags, ``tag_256`` and so on, have other values; None takes one's name from it."""
    written = io.BytesIO()
    tifffile.imwrite(written, np.zeros(shape, np.uint8), photometric="rgb" if len(shape) == 3 else "minisblack")
    data = bytearray(written.getvalue())
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        number, kind = struct.unpack_from("<HH", data, place)
        value = changed.get(f"tag_{number}", 0)
        if value is None:
            struct.pack_into("<H", data, place, _NOBODYS)
        elif f"tag_{number}" in changed:
            struct.pack_into("<I" if kind == 4 else "<H", data, place + 8, value)
    return bytes(data)


def read(name, folder, files, monkeypatch):
    """Let a target read files."""
    write_input(files, folder)
    monkeypatch.chdir(folder)
    TARGETS[name].read(folder)


def refused(name, folder, files, monkeypatch, error=FtonnxError):
    """Let a target read files that it refuses; return the message."""
    with pytest.raises(error) as caught:
        read(name, folder, files, monkeypatch)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 2100
    return message


@pytest.fixture
def place(tmp_path):
    """A folder that is not there yet."""
    return tmp_path / "case"


def test_a_message_is_one_line_whatever_it_quotes():
    """Its begin and its end are kept."""
    message = str(DataError(f"x.npz: expected a name, got {'y' * 10**6}\nand more; rename it"))
    assert message.startswith("x.npz: expected a name, got yyy")
    assert message.endswith("yyy and more; rename it")
    assert len(message) < 2100


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("checkpoint", "c.pth"),
        ("checkpoint", "c.safetensors"),
        ("class-names", "list.txt"),
        ("fault-list", "f.csv"),
        ("feed", "c.npy"),
        ("search-log", "search.jsonl"),
        ("training-state", "net.pth.training"),
    ],
)
@pytest.mark.parametrize("odd", [Odd.PIPE, Odd.FOLDER, Odd.OWN_LINK], ids=lambda odd: odd.name)
def test_what_has_no_end_is_not_opened(place, monkeypatch, name, file, odd):
    """Pipes that nobody writes to, for one; what is missing for all is no error of the target's."""
    if (name, odd) == ("training-state", Odd.OWN_LINK):
        read(name, place, {file: odd}, monkeypatch)
    else:
        assert file in refused(name, place, {file: odd}, monkeypatch)


@pytest.mark.parametrize("name", ["fault-list", "search-log", "class-names", "feed"])
def test_a_file_that_is_too_large_is_not_read(place, monkeypatch, name):
    """A sparse one has no bytes on the disk, but all of them in memory."""
    file = {"fault-list": "f.csv", "search-log": "search.jsonl", "class-names": "n.txt", "feed": "c.npy"}[name]
    assert "3,221,225,472 bytes" in refused(name, place, {file: Odd.SPARSE}, monkeypatch)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_an_image_that_is_too_large_is_not_read(place, monkeypatch, suffix):
    """Whoever reads it."""
    files = {f"images/{name}/{number}.{suffix}": png(pixels(1)[0]) for number, name in enumerate("ab")}
    monkeypatch.setattr(TARGETS["data-folder"], "spec", "folder:images")
    files[f"images/a/0.{suffix}"] = Odd.SPARSE
    assert "expected an image" in refused("data-folder", place, files, monkeypatch, DataError)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } '",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '<U0', 'fortran_order': False, 'shape': (4611686018427387904, 4), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "(" * 500,
    ],
)
def test_an_array_is_no_larger_than_its_file(place, monkeypatch, header):
    """As a constant, and in an archive."""
    assert "c.npy" in refused("feed", place / "feed", {"c.npy": npy(header, bytes(24))}, monkeypatch, DataError)
    monkeypatch.setattr(TARGETS["data-npz"], "spec", "npz:d.npz")
    files = {"d.npz": npz(images=npy(header, bytes(24)), labels=npy(header))}
    assert "d.npz" in refused("data-npz", place / "npz", files, monkeypatch, DataError)


def test_an_array_of_python_2_is_read_without_a_word(place, monkeypatch):
    """Its header has numbers as that version wrote them."""
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }"
    read("feed", place, {"c.npy": npy(header, bytes(24))}, monkeypatch)


def test_a_pickle_makes_no_room_for_objects_that_it_does_not_have(place, monkeypatch):
    """A number behind one opcode would reserve gigabytes."""
    batch = pickle.dumps({"data": b"", "labels": [1]}, protocol=2)
    hostile = batch[:2] + b"N" + b"r" + struct.pack("<I", 2**31) + batch[2:]
    files = {f"here/cifar-10-batches-py/{name}": hostile for name in ("test_batch", "data_batch_1")}
    monkeypatch.setattr(TARGETS["data-cifar10"], "spec", "cifar10:here")
    assert "a place 2,147,483,648 for an object" in refused("data-cifar10", place, files, monkeypatch, DataError)


@pytest.mark.parametrize(
    "image",
    [
        tiff((6, 6, 3), tag_277=0),
        tiff((6, 6, 3), tag_256=60000, tag_257=60000),
        tiff((6, 6), tag_256=0),
        tiff((6, 6), tag_256=60000, tag_257=60000),
        tiff((6, 6), tag_273=None, tag_279=None),
        tiff((6, 6, 3), tag_273=None, tag_279=None),
    ],
    ids=["no channels", "large colours", "no width", "large", "no places", "no places of colours"],
)
def test_a_tiff_without_numbers_or_with_too_many_is_refused(place, monkeypatch, image):
    """As an image, as one that is resized, and as a label map."""
    for name, spec in {"data-folder": "folder:images", "data-rsicb256": "rsicb256:images"}.items():
        monkeypatch.setattr(TARGETS[name], "spec", spec)
        refused(name, place / name, {f"images/{each}/0.tif": image for each in ("airplane", "dam")}, monkeypatch)
    monkeypatch.setattr(TARGETS["data-masks"], "spec", "masks:images,maps")
    files = {"images/0.png": png(pixels(1)[0]), "maps/0.tif": image}
    refused("data-masks", place / "maps", files, monkeypatch)


def test_a_tiff_whose_codes_are_damaged_says_so_in_one_line(place, monkeypatch, capfd):
    """As an image, and as a label map of another name; libtiff would write a line of its own."""
    written = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(written, "TIFF", compression="tiff_lzw")
    image = written.getvalue().replace(b"\x80\x00", b"\x80\xff", 1)
    monkeypatch.setattr(TARGETS["data-folder"], "spec", "folder:images")
    refused("data-folder", place / "images", {f"images/{each}/0.tif": image for each in "ab"}, monkeypatch)
    monkeypatch.setattr(TARGETS["data-masks"], "spec", "masks:images,maps")
    refused("data-masks", place / "maps", {"images/0.png": png(pixels(1)[0]), "maps/0.png": image}, monkeypatch)
    assert capfd.readouterr().err == ""


def test_no_program_is_started_for_a_label_map(place, monkeypatch):
    """Pillow reads EPS by Ghostscript, whatever the file is called."""
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 6\n%%EndComments\n%%EOF\n"
    monkeypatch.setattr(TARGETS["data-masks"], "spec", "masks:images,maps")
    files = {"images/0.png": png(pixels(1)[0]), "maps/0.png": page}
    assert "cannot identify" in refused("data-masks", place, files, monkeypatch, DataError)


@pytest.mark.timeout(20)
def test_a_tiff_whose_second_page_has_no_end_is_no_hang(place, monkeypatch):
    """Its first page is read."""
    written = io.BytesIO()
    tifffile.imwrite(written, np.zeros((8, 8), np.uint16), photometric="minisblack")
    whole = written.getvalue()
    image = whole[:0x80] + b"\0\0\x80\0" * 50 + whole[0x80:]
    monkeypatch.setattr(TARGETS["data-folder"], "spec", "folder:images")
    read("data-folder", place, {f"images/{each}/0.tif": image for each in "ab"}, monkeypatch)


def test_a_tiff_whose_tag_has_thousands_of_values_is_no_warning(place, monkeypatch):
    """Tifffile subtracts them from each other, as numbers of 16 bits without a sign."""
    written = io.BytesIO()
    noise = np.random.default_rng(1).normal(size=(2, 256, 256)).astype(np.float32)
    tifffile.imwrite(written, noise, photometric="minisblack", planarconfig="separate")
    whole = bytearray(written.getvalue())
    sample_format = whole.index(struct.pack("<HHI", 339, 3, 2))
    struct.pack_into("<HHII", whole, sample_format, 339, 3, 2**17, 2**16)
    struct.pack_into("<HH", whole, 2**16, 5, 1)
    monkeypatch.setattr(TARGETS["data-folder"], "spec", "folder:images")
    files = {f"images/{each}/0.tif": bytes(whole) for each in "ab"}
    message = refused("data-folder", place, files, monkeypatch, DataError)
    assert "expected a TIFF of bands" in message
    assert "overflow" not in message


def test_a_panic_of_polars_is_a_data_error(place, monkeypatch, capfd):
    """It is no Exception, and comes of columns that lie behind the end of their file."""
    write_parquet(place.parent / "whole.parquet", np.arange(12) % 3)
    whole = (place.parent / "whole.parquet").read_bytes()
    foot = int.from_bytes(whole[-8:-4], "little") + 8
    monkeypatch.setattr(TARGETS["data-huggingface"], "spec", "hf:tables")
    files = {"tables/test.parquet": whole[:4] + whole[-foot:]}
    assert "expected a table" in refused("data-huggingface", place, files, monkeypatch, DataError)
    capfd.readouterr()


@pytest.mark.parametrize(
    ("text", "field"),
    [("w1", "name of a TensorProto"), ("conv1", "name of a NodeProto"), ("batch", "dim_param of a Dimension"),
     ("Relu", "op_type of a NodeProto"), ("pads", "name of a AttributeProto")],
)  # fmt: skip
def test_a_text_that_is_not_utf_8_is_refused_by_its_field(place, monkeypatch, text, field):
    """Protobuf takes it, and gives it back as bytes."""
    content = small_cnn().SerializeToString().replace(text.encode(), text[:-1].encode() + b"\xff")
    assert field in refused("inspect", place, {"m.onnx": content}, monkeypatch, ModelError)


def test_a_key_of_external_data_may_be_no_text(place, monkeypatch):
    """Keys are compared with each other."""
    model = small_cnn()
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    model.graph.initializer[0].external_data.add(key="location", value="w")
    model.graph.initializer[0].external_data.add(key="xxxxxx", value="w")
    content = model.SerializeToString().replace(b"xxxxxx", b"xxxxx\xff")
    assert "key of a StringStringEntryProto" in refused("inspect", place, {"m.onnx": content}, monkeypatch, ModelError)


ROW = {
    "activation": "r", "rate": 0, "count": 1, "not_finite": 0, "minimum": 0, "quartile1": 0, "median": 0,
    "quartile3": 0, "maximum": 1, "mean": 0, "sparsity": 0, "above": None, "edges": [0, 1], "histogram": [1],
}  # fmt: skip


def test_columns_of_no_labels_are_refused(tmp_path):
    """A table without rows."""
    np.savez(tmp_path / "t.npz", images=np.zeros((2, 1, 4, 4), np.uint8), labels=np.zeros((0, 1), np.int64))
    with pytest.raises(DataError, match="0 labels for 2 images"):
        ftonnx.load_dataset(f"npz:{tmp_path / 't.npz'}")


def test_numbers_beyond_pythons_are_none_in_a_table_of_activations(place, monkeypatch):
    """JSON has them as 1e999; a rate must be a number."""
    rows = [ROW, ROW | {"rate": 1e-6, "maximum": "HUGE"}]
    content = json.dumps({"model": "m", "activations": rows}).replace('"HUGE"', "1e999")
    read("activations", place, {"a.json": content.encode()}, monkeypatch)
    content = json.dumps({"model": "m", "activations": [ROW | {"rate": "NaN"}]})
    assert "a rate was expected" in refused("activations", place / "again", {"a.json": content.encode()}, monkeypatch)


def test_the_bins_of_a_histogram_hold_whole_numbers(place, monkeypatch):
    """JSON has an infinity as 1e999."""
    content = json.dumps({"model": "m", "activations": [ROW | {"histogram": ["MANY"]}]}).replace('"MANY"', "1e999")
    message = refused("activations", place, {"a.json": content.encode()}, monkeypatch)
    assert "a number of values was expected, got inf" in message


def test_logs_are_read_by_the_types_of_their_fields(place, monkeypatch):
    """What is another type is named."""
    epoch = {
        "epoch": 1,
        "loss": 0.5,
        "accuracy": 0.8,
        "val_loss": None,
        "val_accuracy": 1,
        "learning_rate": 1,
        "seconds": 1,
    }
    message = refused("training-log", place, {"tuned.jsonl": json.dumps(epoch).encode()}, monkeypatch, DataError)
    assert "`$.val_loss`" in message
    skipped = json.dumps(epoch | {"val_loss": 0.5, "epoch": 7}).encode()
    message = refused("training-log", place / "skipped", {"tuned.jsonl": skipped}, monkeypatch, DataError)
    assert "epoch 1 was expected, got 7" in message
    identity = {"identity": {"model": "ab" * 32, "seed": 3}}
    values = {"activation": "r", "iteration": 0, "threshold": 1.5, "score": None, "accuracy": [0.5], "at_most": "x"}
    lines = [identity, {"key": ["r", 0, 1.5], "evaluation": values}]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    message = refused("search-log", place / "log", {"search.jsonl": content}, monkeypatch, StoreError)
    assert "`$.at_most`" in message


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("gate", "[[min_accuracy]]\nrate = 1e-6"),
        ("gate", "[[max_sdc]]"),
        ("gate", "goals = [{}]"),
        ("inject", "[[feed]]"),
    ],
)
def test_a_table_is_no_option_but_a_goal(place, monkeypatch, command, text):
    """Options that are given several times have parsers, which read texts."""
    content = f'model = "digits"\ndata = "digits"\n{text}\n'
    refused("config", place, {f"{command}.toml": content.encode()}, monkeypatch)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A finished campaign, with label maps beside it."""
    folder = tmp_path_factory.mktemp("results") / "r"
    data = ftonnx.load_dataset("digits", limit=8)
    ftonnx.evaluate("digits", data, rates=[1e-5], repeats=2, batch_size=4, threads=1, strategy="live", results=folder)
    maps = np.zeros((2, 2), np.uint8)
    KeptMaps(pairs=(MapPair.of(maps, maps, rate=1e-5, repeat=0, batch=0, image=0),), classes=2).write(folder)
    return folder


@pytest.fixture
def copied(results, tmp_path, monkeypatch):
    """A copy of it, in the current folder."""
    shutil.copytree(results, tmp_path / "r")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "r"


def enlarge(space, elements):
    """Give the first tensor of a fault space other elements, and leave the sum right."""
    bits = 32 * elements
    space["bits"] += bits - space["tensors"][0]["bits"]
    space["tensors"][0].update(shape=[elements], bits=bits)
    more = elements - 144
    space["elements"] += more
    space["coverage"]["elements"] += more


HEADERS = {
    "samples": lambda content: content["data"].update(samples="8"),
    "samples below 0": lambda content: content["data"].update(samples=-8),
    "classes": lambda content: content["data"].update(classes="10"),
    "bits": lambda content: content["fault_space"]["tensors"][0].update(bits=[32]),
    "shape": lambda content: content["fault_space"]["tensors"][0].update(shape=3),
    "other shape": lambda content: content["fault_space"]["tensors"][0].update(shape=[16, 1, 3, 5]),
    "no bits": lambda content: content["fault_space"]["tensors"][0].update(bits=0),
    "more bits": lambda content: content["fault_space"]["tensors"][0].update(bits=2**70),
    "a petabyte": lambda content: enlarge(content["fault_space"], 2**48),
    "nothing stored": lambda content: content["fault_space"]["coverage"].update(elements=0),
    "nothing left": lambda content: content["fault_space"]["coverage"]["left_out"][0].update(elements=2**40),
    "bits in all": lambda content: content["fault_space"].update(bits=32),
    "more images": lambda content: content["data"].update(samples=2**63),
    "no tensors": lambda content: content["fault_space"].update(tensors=[]),
    "levels": lambda content: content.update(levels=["x"]),
    "coverage": lambda content: content["fault_space"]["coverage"]["left_out"].append({}),
    "machine": lambda content: content.update(machine=[]),
    "threads": lambda content: content["engine"].update(threads=0.5),
    "pilot": lambda content: content.update(pilot={"sizes": 3}),
    "stopping": lambda content: content.update(stopping={"precision": "x"}),
    "parts": lambda content: content.update(parts=[{"folder": 3}]),
    "source": lambda content: content["data"]["source"].update(preprocess="x"),
    "pooled": lambda content: content["identity"].update(pooled={"seeds": [3]}),
}


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS)
def test_settings_of_other_types_are_refused_whatever_their_check_value(copied, change):
    """As another program could write them."""
    edit_header(copied, change)
    with pytest.raises(StoreError) as caught:
        TARGETS["campaign.json"].read(copied)
    assert "\n" not in str(caught.value)


def test_a_golden_run_of_no_images_is_damaged(copied):
    """Whatever its check value: only units can have been left out."""
    edit(copied, "UPDATE golden SET n = NULL, correct1 = NULL WHERE batch = 0")
    with pytest.raises(StoreError, match="damaged"):
        TARGETS["units.sqlite"].read(copied)


@pytest.mark.parametrize("place", ["target = 1000", "target = -1", "element = 1 << 40", "bit = 64"])
def test_a_fault_that_hits_nothing_is_damaged(tmp_path, monkeypatch, place):
    """Whatever its check value."""
    monkeypatch.chdir(tmp_path)
    data = ftonnx.load_dataset("digits", limit=4)
    folder = tmp_path / "r"
    ftonnx.evaluate("digits", data, ftonnx.FaultCount(1), repeats=2, threads=1, strategy="live", results=folder)
    edit(folder, f"UPDATE faults SET {place} WHERE injection = 0")
    with pytest.raises(StoreError, match="damaged"):
        TARGETS["units.sqlite"].read(folder)


def test_settings_of_more_patterns_than_tensors_have_are_refused(tmp_path, monkeypatch):
    """The counts would be told of tensors that are not there."""
    monkeypatch.chdir(tmp_path)
    data = ftonnx.load_dataset("digits", limit=4)
    ftonnx.evaluate("digits", data, ftonnx.PerLayer(2), threads=1, strategy="live", results=tmp_path / "r")

    def without_last(content):
        space = content["fault_space"]
        gone = space["tensors"].pop()
        space["bits"] -= gone["bits"]
        space["elements"] -= gone["shape"][0]
        space["coverage"]["elements"] -= gone["shape"][0]

    edit_header(tmp_path / "r", without_last)
    with pytest.raises(StoreError, match="tensor by tensor"):
        TARGETS["campaign.json"].read(tmp_path / "r")


def test_settings_may_claim_any_number_of_images(copied):
    """They cost no memory."""
    edit_header(copied, lambda content: content["data"].update(samples=2**60))
    TARGETS["campaign.json"].read(copied)


def test_a_database_that_is_a_pipe_is_not_opened(copied):
    """SQLite would wait for somebody to write into it."""
    (copied / "units.sqlite").unlink()
    os.mkfifo(copied / "units.sqlite")
    with pytest.raises(StoreError, match="no plain file"):
        TARGETS["units.sqlite"].read(copied)


def test_what_is_said_of_label_maps_has_types(copied):
    """A map without them is as good as damaged, and the report says so."""
    with np.load(copied / "maps.npz") as archive:
        arrays = dict(archive)
    about = json.loads(arrays["about"].item())
    about["pairs"][0]["rate"] = "much"
    np.savez(copied / "maps.npz", **(arrays | {"about": np.array(json.dumps(about))}))
    with pytest.raises(StoreError, match=r"\$\.rate"):
        KeptMaps.read(copied)
    TARGETS["maps.npz"].read(copied)


@pytest.mark.parametrize("bits", ["9" * 5000, "0-" + "9" * 5000, "\u0663"], ids=["one", "to", "arabic"])
def test_a_bit_of_a_plan_may_have_any_number_of_digits(place, monkeypatch, bits):
    """Python reads no number of more than 4,300 of them."""
    plan = f'format = 1\n[[guard]]\ntensors = ["*"]\nby = "tmr"\nbits = "{bits}"\n'
    assert "positions from 0 to 63" in refused("protection-plan", place, {"plan.toml": plan.encode()}, monkeypatch)
