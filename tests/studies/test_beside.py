"""Published numbers beside the measured ones."""

import math

import polars as pl
import pytest
from report_kit import at_rate, campaign
from study_kit import changed

from ftonnx.errors import UsageError
from ftonnx.stats.proportions import clopper_pearson
from ftonnx.studies import Cell, PublishedNumber, Study
from ftonnx.studies.beside import beside, beside_frame
from ftonnx.studies.published import read_published
from ftonnx.studies.sheets import sheets_of_published

CELL = Cell("net", "actmax", "none", "d", "rates")
ROUNDING = 0.5e-4
HEADER = "model,protect,quantize,data,rate,figure,value,images,patterns"


def published(rate, value, *, figure="top1", images=360, patterns=20, **names):
    """Return a number that was published of the cell."""
    told = {"model": "net", "protect": "actmax", "quantize": "none", "data": "d"} | names
    return PublishedNumber(**told, rate=rate, figure=figure, value=value, images=images, patterns=patterns)


@pytest.fixture
def result():
    """Return a campaign on 360 images with 30 patterns at 1e-5: 80 %, 78 to 82."""
    return campaign("net", at_rate(1e-5, 0.8, width=0.02))


def test_what_both_leave_open_follows_from_their_patterns(result):
    """The published mean varies as the measured one, with as many patterns as it had."""
    rate = result.rates[0]
    (found,) = beside([CELL], {CELL: result}, [published(1e-5, 0.77, images=result.data.samples, patterns=5)])
    half = rate.top1.high - rate.top1.mean
    assert found.open == pytest.approx(math.hypot(half, half * math.sqrt(rate.units / 5), ROUNDING))
    assert found.difference == pytest.approx(0.03)
    assert found.is_within is True
    (far,) = beside([CELL], {CELL: result}, [published(1e-5, 0.1, images=result.data.samples, patterns=5)])
    assert far.is_within is False


def test_a_part_of_the_images_leaves_more_open(result):
    """By Clopper and Pearson, less what is certain of a finite number of images; without faults nothing else is."""
    images = result.data.samples
    whole, part = beside(
        [CELL],
        {CELL: result},
        [published(0, 0.9, images=images, patterns=0), published(0, 0.9, images=4 * images, patterns=0)],
    )
    assert whole.measured.mean == part.measured.mean == result.clean
    assert whole.open == pytest.approx(ROUNDING)
    limits = clopper_pearson(result.clean * images, images)
    half = max(limits.high - result.clean, result.clean - limits.low)
    known = math.sqrt(3 * images / (4 * images - 1))
    assert part.open == pytest.approx(math.hypot(half * known, ROUNDING))


def test_only_numbers_that_are_measured_stand_there(result):
    """Of the same model, variant, data, rate and figure; once, however many campaigns measure it."""
    other = Cell("net", "actmax", "none", "d", "more")
    numbers = [
        published(1e-5, 0.8),
        published(1e-4, 0.8),
        published(1e-5, 0.8, figure="class_accuracy"),
        published(0, 0.9, figure="class_accuracy", patterns=0),
        published(1e-5, 0.8, model="another"),
        published(1e-5, 0.8, quantize="ptq"),
    ]
    found = beside([CELL, other, Cell("net", "none", "none", "d", "rates")], {CELL: result, other: result}, numbers)
    assert [each.number for each in found] == numbers[:1]
    assert found[0].cell == CELL


def test_without_an_interval_nothing_is_judged(result):
    """Where the number of published patterns is not known."""
    (found,) = beside([CELL], {CELL: result}, [published(1e-5, 0.8, patterns=0)])
    assert found.open is None
    assert found.is_within is None
    (sheet,) = sheets_of_published([found])
    assert [cell.text for cell in sheet.rows[0].cells] == ["80.00", "80.00", "+0.00", "-"]


def test_sheets_and_frames_say_the_same(result):
    """A sheet for every data set, in per cent; a line for every number, in fractions."""
    found = beside([CELL], {CELL: result}, [published(1e-5, 0.5), published(0, 0.9, patterns=0)])
    (sheet,) = sheets_of_published(found)
    assert [row.names for row in sheet.rows] == [
        ("net", "actmax", "1e-5", "top1"),
        ("net", "actmax", "fault-free", "top1"),
    ]
    assert [cell.text for cell in sheet.rows[0].cells][:3] == ["50.00", "80.00", "+30.00"]
    frame = beside_frame(found)
    assert frame.columns[-1] == "within"
    assert frame["difference"].to_list() == [each.difference for each in found]
    assert frame["within"].dtype == pl.Boolean


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("net,actmax,none,d,1e-5,top1,1.5,360,20", r"numbers.csv:2: a published number was expected: .*value"),
        ("net,actmax,none,d,1e-5,top1,much,360,20", r"numbers.csv:2: a published number was expected: .*value"),
        ("net,actmax,none,d,1e-5,top1,0.5,0,20", r"numbers.csv:2: a published number was expected: .*images"),
        ("net,actmax,none,d,1e-5,top1,0.5", r"numbers.csv:2: a published number was expected: .*images"),
        ("net,actmax,none,d,1e-5,top1,0.5,360,20,more", r"numbers.csv:2: 9 values were expected, got more"),
        ('net,"actmax', r"numbers.csv: published numbers in CSV were expected: "),
    ],
)
def test_a_line_that_is_no_number_is_refused(tmp_path, line, message):
    """With the file and the line."""
    (tmp_path / "numbers.csv").write_text(f"{HEADER}\n{line}\n")
    with pytest.raises(UsageError, match=message):
        read_published(tmp_path / "numbers.csv")


def test_columns_of_other_names_are_refused(tmp_path):
    """With those that are expected."""
    (tmp_path / "numbers.csv").write_text("model,value\nnet,0.5\n")
    with pytest.raises(UsageError, match=r"numbers.csv: .*its first line has to name model, protect, quantize"):
        read_published(tmp_path / "numbers.csv")


def test_a_study_can_name_a_file_of_published_numbers(tmp_path):
    """And is refused where there is none."""
    file = tmp_path / "numbers.csv"
    file.write_text(f"{HEADER}\nnet,actmax,none,d,1e-5,top1,0.5,360,20\n")
    (number,) = Study.from_dict(changed(study={"published": str(file)})).published
    assert number == published(1e-5, 0.5)
    with pytest.raises(UsageError, match=r"study.published: .*absent.csv: published numbers in CSV were expected"):
        Study.from_dict(changed(study={"published": str(tmp_path / "absent.csv")}))
