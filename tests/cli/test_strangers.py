"""Names from strangers: what terminals obey, spreadsheets compute and renderers die of is not handed on."""

import csv

import onnx
import pytest
from campaign_kit import DIGITS, cli, finish, process

from ftonnx.inject import PublishedFaults
from ftonnx.models import build

BEEP = "a\x1b]0;title\x07b"
FORMULA = "=HYPERLINK(1)"


def renamed(folder, name):
    """Write the embedded model with another name for its largest weight; return the file's name."""
    model = onnx.load(DIGITS)
    tensor = max(model.graph.initializer, key=lambda each: len(each.raw_data))
    for node in model.graph.node:
        for place, each in enumerate(node.input):
            if each == tensor.name:
                node.input[place] = name
    tensor.name = name
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


@pytest.fixture
def single_faults(tmp_path):
    """Return what runs a few single faults of a model with such a name, and the results folder."""

    def run(name, *more):
        model = renamed(tmp_path, name)
        asked = ("--data", "digits", "--limit", 8, "--per-layer", 1, "--threads", 1, "--strategy", "live")
        done = cli("inject", model, *asked, "--results", tmp_path / "r", *more)
        assert done.code == 0, done.err
        return tmp_path / "r"

    return run


@pytest.mark.slow
def test_charts_are_drawn_whatever_the_names(single_faults, tmp_path):
    """In a process of its own, which the renderer would abort."""
    results = single_faults(BEEP)
    drawn = finish(process("report", results, "-o", "x.html", "--charts", "charts", folder=tmp_path))
    assert drawn.code == 0, drawn.err
    pictures = list((tmp_path / "charts").glob("*.svg"))
    assert pictures
    assert not any("\x1b" in picture.read_text() for picture in pictures)


def test_tables_and_fault_lists_hold_no_formula(single_faults, tmp_path):
    """Which a fault list still reads as the name that it is."""
    listed = tmp_path / "list.csv"
    results = single_faults(
        f"{FORMULA}.weight", "--format", "ieee", "--include", "*.weight", "--fault-list-out", listed
    )
    done = cli("report", results, "-o", tmp_path / "x.html", "--tables", tmp_path / "tables")
    assert done.code == 0, done.err
    for table in [listed, *(tmp_path / "tables").glob("*.csv")]:
        with table.open(newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not any(cell.startswith(("=", "@")) for cell in cells)
        assert any(FORMULA in cell for cell in cells) or table.stem not in ("list", "fault_space")
    assert FORMULA in PublishedFaults.read(listed).layers


@pytest.mark.slow
def test_log_lines_hold_no_control_characters(tmp_path):
    """Here of a checkpoint's parameter."""
    torch = pytest.importorskip("torch")
    weights = build("digits").state_dict() | {f"projector.{BEEP}": torch.zeros(1)}
    torch.save(weights, tmp_path / "c.pth")
    done = finish(process("-v", "export", "digits", "--weights", "c.pth", "-o", "o.onnx", folder=tmp_path))
    assert done.code == 0, done.err
    assert "left out projector.a?]0;title?b" in done.err
    assert "\x1b" not in done.err
