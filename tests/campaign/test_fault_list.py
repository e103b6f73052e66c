"""Published fault lists: read from good and from hostile files, located, run, written, read back."""

import csv

import numpy as np
import onnx
import pytest
from campaign_kit import DIGITS, cli, counts, digits_batches, flipped, naive_outcomes, one_error_line, session
from inject_kit import space_of

import ftonnx
from ftonnx.errors import DataError, ModelError, UsageError
from ftonnx.inject import FaultList, FaultSpace, PublishedFaults
from ftonnx.models import build

HEADER = "Injection,Layer,TensorIndex,Bit\n"
FAST = {"batch_size": 20, "strategy": "live", "threads": 1}
WEIGHTS = ("--format", "ieee", "--roles", "weight", "--data", "digits", "--limit", 40, "--batch-size", 20)
SINGLE = ("inject", *WEIGHTS, "--strategy", "live", "--threads", 1)


def written(tmp_path, text, name="list.csv"):
    """Write a list and return its path."""
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return tmp_path / name


def read(tmp_path, text):
    """Write and read a list."""
    return PublishedFaults.read(written(tmp_path, text))


def table(path):
    """Rows of a CSV file as dicts."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_list_is_read_as_it_stands(tmp_path):
    """Numbers, modules, index tuples of several lengths, bits."""
    faults = read(tmp_path, HEADER + '4,conv,"(3, 0, 1, 2)",30\n2,linear,"(9, 63)",0\n7,conv,"(0,0,0,0)",31\n')
    assert faults.injection.tolist() == [4, 2, 7]
    assert faults.layers == ("conv", "linear")
    assert faults.layer.tolist() == [0, 1, 0]
    assert faults.index.tolist() == [[3, 0, 1, 2], [9, 63, -1, -1], [0, 0, 0, 0]]
    assert faults.bit.tolist() == [30, 0, 31]
    assert repr(faults) == "PublishedFaults(3 faults in 2 layers)"


@pytest.mark.parametrize(
    "text",
    [
        HEADER + '0,conv,"(3, 0, 1, 2)",30\n',
        HEADER + '0,conv,"(3, 0, 1, 2)",30',
        HEADER.replace("\n", "\r\n") + '0,conv,"(3, 0, 1, 2)",30\r\n\r\n',
        "\ufeff" + HEADER + '0,conv,"(3, 0, 1, 2)",30\n',
        "Bit,TensorIndex, Layer ,Injection,masked\n" + '30," ( 3,0,1 ,2 ) ", conv ,0,seven\n',
        '"Injection","Layer","TensorIndex","Bit"\n"0","conv","(3, 0, 1, 2,)","30"\n',
    ],
    ids=["plain", "no last line end", "CRLF", "BOM", "other columns and order", "quoted"],
)
def test_all_usual_spellings_mean_the_same(tmp_path, text):
    """Line ends, byte order mark, quotes, blanks, further columns."""
    faults = read(tmp_path, text)
    assert faults.sha256 == read(tmp_path, HEADER + '0,conv,"(3, 0, 1, 2)",30\n').sha256


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "Injection is there 0 times"),
        ("\n\n", "Injection is there 0 times"),
        ("Injection,Layer,TensorIndex\n", "Bit is there 0 times"),
        ("Injection;Layer;TensorIndex;Bit\n", "Injection is there 0 times in 'Injection;Layer"),
        ("Injection,Layer,TensorIndex,Bit,Bit\n", "Bit is there 2 times"),
        (HEADER, "lists no fault"),
        (HEADER + "0,conv\n", "line 2: 2 fields"),
        (HEADER + "0,conv,(3, 0, 1, 2),30\n", "line 2: TensorIndex"),
        (HEADER + '0,conv,"[3, 0, 1, 2]",30\n', r"TensorIndex: an index tuple such as \(3, 0, 1, 2\) was expected"),
        (HEADER + '0,conv,"()",30\n', "TensorIndex"),
        (HEADER + '0,conv,"(3, -1, 1, 2)",30\n', "TensorIndex"),
        (HEADER + '0,conv,"(3.0, 1)",30\n', "TensorIndex"),
        (HEADER + '0,conv,"(3, 1); import os",30\n', "TensorIndex"),
        (HEADER + f'0,conv,"({"1, " * 40}1)",30\n', "TensorIndex"),
        (HEADER + f'0,conv,"({"9" * 30})",30\n', "TensorIndex"),
        (HEADER + '0,conv,"(3,)",30.0\n', "Bit: a whole number from 0 to 63 was expected, got '30.0'"),
        (HEADER + '0,conv,"(3,)",64\n', "Bit"),
        (HEADER + '0,conv,"(3,)",-1\n', "Bit"),
        (HEADER + '0,conv,"(3,)",\n', "Bit"),
        (HEADER + '1e3,conv,"(3,)",3\n', "Injection"),
        (HEADER + '\u0663,conv,"(3,)",3\n', "Injection"),
        (HEADER + '5,conv,"(3,)",3\n\n5,conv,"(4,)",3\n', "line 4: injection 5 is on line 2 too"),
        (HEADER.encode() + b'0,con\xff,"(3,)",3\n', "no CSV file in UTF-8"),
        (HEADER + '0,"' + "x" * 200_000 + '","(3,)",3\n', "no CSV file"),
    ],
)
def test_a_hostile_list_is_one_clear_line(tmp_path, text, named):
    """What was expected, what came, and on which line."""
    with pytest.raises(DataError, match=named) as refused:
        read(tmp_path, text)
    assert "\n" not in str(refused.value)
    assert "list.csv" in str(refused.value)
    assert len(str(refused.value)) < 500


def test_a_missing_list_is_a_usage_error(tmp_path):
    """So is a folder."""
    for path in (tmp_path / "missing.csv", tmp_path):
        with pytest.raises(UsageError, match="cannot be read"):
            PublishedFaults.read(path)


@pytest.mark.parametrize(
    ("row", "named"),
    [
        (
            '0,nowhere,"(0,)",3',
            r"layer 'nowhere', but .* no tensor 'nowhere.weight'.*--keep-batchnorm",
        ),
        ('0,conv,"(0, 0, 1)",3', r"injection 0: bit 3 of element \(0, 0, 1\) is not there"),
        ('0,conv,"(0, 0, 1, 1, 0)",3', "is not there"),
        ('8,conv,"(16, 0, 1, 1)",3', r"injection 8.*'conv.weight' has shape \(16, 1, 3, 3\) and bits 0 to 31"),
        ('0,conv,"(0, 0, 3, 0)",3', "is not there"),
        ('0,conv,"(0, 0, 0, 999999999999999999)",3', "is not there"),
        ('0,conv,"(0, 0, 1, 1)",32', "cannot flip there"),
    ],
)
def test_a_fault_outside_the_model_is_refused(tmp_path, row, named):
    """Layer, axes, range and bit, against what the model has."""
    faults = read(tmp_path, HEADER + row + "\n")
    with pytest.raises(DataError, match=named):
        faults.located(FaultSpace.of(DIGITS, format="ieee"))


def test_places_are_those_of_numpy(tmp_path):
    """Random index tuples of every weight, against np.ravel_multi_index."""
    space = FaultSpace.of(DIGITS, format="ieee", roles=["weight"])
    rng = np.random.default_rng(0)
    lines, expected = [], []
    for number in range(200):
        place = int(rng.integers(len(space.targets)))
        shape = space.targets[place].shape
        index = tuple(int(rng.integers(size)) for size in shape)
        bit = int(rng.integers(32))
        lines.append(f'{number},{space.targets[place].tensor.removesuffix(".weight")},"{index}",{bit}\n')
        expected.append((place, int(np.ravel_multi_index(index, shape)), bit))
    faults = read(tmp_path, HEADER + "".join(lines))
    found = faults.located(space)
    assert list(zip(found.target.tolist(), found.element.tolist(), found.bit.tolist(), strict=True)) == expected
    assert FaultList(faults).patterns(space) == 200


def test_bits_left_out_cannot_be_listed(tmp_path):
    """With --bits, a list may only name these."""
    space = FaultSpace.of(DIGITS, format="ieee", bits=[30, 31])
    read(tmp_path, HEADER + '0,linear,"(0, 0)",30\n').located(space)
    with pytest.raises(DataError, match="bits 30 to 31"):
        read(tmp_path, HEADER + '0,linear,"(0, 0)",29\n').located(space)


@pytest.mark.slow
def test_a_million_rows_are_located_without_a_loop_per_row(tmp_path):
    """A long list is read whole, in order, and every fault is in its place."""
    rows = 10**6
    body = "".join(f'{n},t0,"({n % 4096},)",{n % 32}\n' for n in range(rows))
    faults = read(tmp_path, HEADER + body)
    space = space_of((4096, np.float32))
    renamed = FaultSpace((ftonnx.inject.Target(**(_fields(space.targets[0]) | {"tensor": "t0.weight"})),), (0,))
    found = faults.located(renamed)
    assert np.array_equal(found.element, np.arange(rows) % 4096)
    assert np.array_equal(found.bit, np.arange(rows) % 32)


def _fields(target):
    return {name: getattr(target, name) for name in ("tensor", "role", "node", "op_type", "shape", "format")}


def test_listed_faults_flip_ieee_bits_and_count_as_published(tmp_path):
    """Each line against a file flipped by hand and a fresh session: masked, non-critical and critical add up."""
    lines = ['5,conv,"(3, 0, 1, 2)",30\n', '6,block3.conv2,"(1, 2, 0, 0)",2\n', '9,linear,"(4, 7)",31\n']
    out = tmp_path / "out.csv"
    finished = cli(
        *SINGLE, "--fault-list", written(tmp_path, HEADER + "".join(lines)), "--fault-list-out", out,
        "--results", tmp_path / "r",
    )  # fmt: skip
    assert finished.code == 0, finished.err
    rows = table(out)
    assert out.read_text().startswith(
        "Injection,Layer,TensorIndex,Bit,n_injections,masked,non_critical,critical\n5,conv,"
    )
    ((images, labels),) = digits_batches(40, 40)
    golden = session(DIGITS, live=True).run(None, {"input": images})[0]
    for row, (tensor, index, bit) in zip(
        rows, [("conv", (3, 0, 1, 2), 30), ("block3.conv2", (1, 2, 0, 0), 2), ("linear", (4, 7), 31)], strict=True
    ):
        outputs = session(flipped(f"{tensor}.weight", index, bit), live=True).run(None, {"input": images})[0]
        expected = naive_outcomes(outputs, golden, labels)
        masked, critical = expected["masked"], expected["sdc1"] + expected["due"]
        assert row == {
            "Injection": row["Injection"], "Layer": tensor, "TensorIndex": str(index), "Bit": str(bit),
            "n_injections": "40", "masked": str(masked), "non_critical": str(40 - masked - critical),
            "critical": str(critical),
        }  # fmt: skip
    assert [row["Injection"] for row in rows] == ["5", "6", "9"]


def test_what_was_drawn_is_written_and_reading_it_back_gives_the_same(tmp_path):
    """Random single faults, published, replayed from the file: the same bytes come out, the same outcomes in."""
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    drawn = cli(
        *SINGLE, "--faults-per-run", 1, "--repeats", 50, "--fault-list-out", first, "--results", tmp_path / "drawn"
    )
    assert drawn.code == 0, drawn.err
    listed = cli(*SINGLE, "--fault-list", first, "--fault-list-out", second, "--results", tmp_path / "listed")
    assert listed.code == 0, listed.err
    assert first.read_bytes() == second.read_bytes()
    assert [row["Injection"] for row in table(first)] == [str(n) for n in range(50)]
    drawn_counts, listed_counts = (list(counts(tmp_path / name).values()) for name in ("drawn", "listed"))
    assert drawn_counts == listed_counts
    reports = [ftonnx.CampaignResult.open(tmp_path / name) for name in ("drawn", "listed")]
    assert reports[0].vulnerability == reports[1].vulnerability


def test_the_list_decides_the_format(tmp_path):
    """Ieee is implied, another one is refused; integers stay what they are."""
    path = written(tmp_path, HEADER + '0,linear,"(0, 0)",30\n')
    result = ftonnx.evaluate("digits", digits_batches(20, 40), faults=FaultList.read(path), **FAST)
    assert result.settings.format == "ieee"
    assert result.fault_space.formats == ("ieee",)
    with pytest.raises(UsageError, match=r"format ieee was expected, got q15\.16"):
        ftonnx.evaluate("digits", digits_batches(20, 40), faults=FaultList.read(path), format="q15.16", **FAST)


@pytest.mark.parametrize(
    ("options", "instead", "named"),
    [
        (("--faults-per-run", 2), {}, "holds single faults"),
        (("--rate", "1e-5"), {}, "holds single faults"),
        (("--faults-per-run", 1), {"weight": "weight,bias"}, "--roles weight"),
        (("--faults-per-run", 1), {"ieee": "q15.16"}, "add --format ieee"),
    ],
)
def test_what_the_form_cannot_express_is_refused_before_the_work(tmp_path, options, instead, named):
    """Nothing is run, nothing is written."""
    command = [instead.get(each, each) for each in SINGLE]
    line = one_error_line(cli(*command, *options, "--fault-list-out", tmp_path / "o.csv", "--results", tmp_path / "r"))
    assert named in line
    assert list(tmp_path.iterdir()) == []


def test_a_list_is_never_overwritten_by_its_outcomes(tmp_path):
    """Also by a link to it."""
    path = written(tmp_path, HEADER + '0,linear,"(0, 0)",30\n')
    (tmp_path / "link.csv").symlink_to(path)
    for name in ("list.csv", "link.csv"):
        line = one_error_line(cli(*SINGLE, "--fault-list", path, "--fault-list-out", tmp_path / name))
        assert "never written to" in line
    assert path.read_text() == HEADER + '0,linear,"(0, 0)",30\n'


def test_a_model_with_folded_normalization_is_refused(tmp_path):
    """Its weights have torch's names but other values; the message names the way out."""
    model = onnx.load(DIGITS)
    onnx.helper.set_model_props(model, {"ftonnx.batchnorm": "folded"})
    path = written(tmp_path, HEADER + '0,linear,"(0, 0)",30\n')
    with pytest.raises(ModelError, match=r"folded into the weights.*ftonnx export --keep-batchnorm"):
        ftonnx.evaluate(model, digits_batches(20, 40), faults=FaultList.read(path), **FAST)
    onnx.helper.set_model_props(model, {"ftonnx.batchnorm": "none"})
    ftonnx.evaluate(model, digits_batches(20, 40), faults=FaultList.read(path), **FAST)


def test_without_a_clean_golden_run_nothing_is_published(tmp_path):
    """NaN without a fault is neither masked nor critical."""
    images = digits_batches(40, 40)[0][0].copy()
    images[3] = 3e38  # overflows in the first layer
    np.savez(tmp_path / "d.npz", images=images, labels=np.zeros(40, np.int64))
    finished = cli(
        "inject", "digits", "--data", f"npz:{tmp_path}/d.npz", "--scale", "1", "--faults-per-run", 1, "--repeats", 2,
        "--format", "ieee", "--roles", "weight", "--strategy", "live", "--threads", 1,
        "--fault-list-out", tmp_path / "o.csv", "--results", tmp_path / "r",
    )  # fmt: skip
    assert finished.code == 4
    assert "has NaN or Inf" in finished.err
    assert not (tmp_path / "o.csv").exists()


def test_a_list_does_on_the_exported_network_what_it_does_in_torch(tmp_path):
    """Bits of torch's own tensors flipped by torch, against the exported file: the same answers, fault by fault."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    network = build("digits")
    images = digits_batches(60, 60)[0][0]
    faults = [("conv", (5, 0, 1, 1), 30), ("block2.shortcut.1", (7,), 29), ("block3.conv1", (2, 3, 0, 0), 22)]
    faults += [("linear", (4, 7), 31), ("block1.bn2", (3,), 30), ("block2.conv1", (30, 2, 1, 2), 28)]
    text = HEADER + "".join(f'{n},{layer},"{index}",{bit}\n' for n, (layer, index, bit) in enumerate(faults))
    assert cli("export", "digits", "--keep-batchnorm", "-o", tmp_path / "kept.onnx").code == 0
    finished = cli(
        "inject", tmp_path / "kept.onnx", "--data", "digits", "--limit", 60, "--fault-list", written(tmp_path, text),
        "--fault-list-out", tmp_path / "out.csv", "--threads", 1, "--batch-size", 60,
    )  # fmt: skip
    assert finished.code == 0, finished.err

    def answers():
        with torch.no_grad():
            return network(torch.from_numpy(images)).numpy()

    golden = answers()
    for row, (layer, index, bit) in zip(table(tmp_path / "out.csv"), faults, strict=True):
        weight = network.get_submodule(layer).weight.detach().numpy().view(np.int32)
        weight[index] ^= np.int32(1 << bit) if bit < 31 else np.int32(-(2**31))
        outputs = answers()
        weight[index] ^= np.int32(1 << bit) if bit < 31 else np.int32(-(2**31))
        broken = ~np.isfinite(outputs).all(axis=1)
        assert int(row["critical"]) == int((broken | (outputs.argmax(axis=1) != golden.argmax(axis=1))).sum()), row
        assert row["n_injections"] == "60"
    assert np.array_equal(answers(), golden)
