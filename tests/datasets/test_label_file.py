"""Text files that give every image its label."""

import pytest

from ftonnx.datasets.label_file import read_label_file
from ftonnx.errors import DataError


def rows(tmp_path, text, name="list.csv"):
    """Return the rows of a text as tuples of file and label."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    return [(row.file, row.label) for row in read_label_file(path).rows]


PLAIN = [("a.png", "cat"), ("b/c d.JPEG", "0")]


@pytest.mark.parametrize(
    "text",
    [
        "a.png,cat\nb/c d.JPEG,0\n",
        "a.png\tcat\t0\t0\t62\nb/c d.JPEG\t0\t1\t1\t2\n",
        "a.png;cat\r\nb/c d.JPEG;0\r\n",
        "a.png cat\n\nb/c d.JPEG 0",
        "\ufeffa.png, cat\n\n b/c d.JPEG ,0",
        "cat,a.png\n0,b/c d.JPEG\n",
        "file,label\na.png,cat\nb/c d.JPEG,0\n",
        'image_id;x;"class"\n"a.png";1;cat\n"b/c d.JPEG";2;0\n',
        "Label,File Name\ncat,a.png\n0,b/c d.JPEG\n",
        "id,breed\na.png,cat\nb/c d.JPEG,0\n",
        "species,filename\ncat,a.png\n0,b/c d.JPEG\n",
        "file label\na.png cat\nb/c d.JPEG 0\n",
        "filename,class,label\na.png,felis,cat\nb/c d.JPEG,canis,0\n",
    ],
    ids=[
        "commas", "tabs and boxes", "semicolons", "spaces", "mark and blanks", "label first", "header", "quoted header",
        "header in another order", "label by elimination", "label by elimination, first", "spaces and header",
        "numbers before names",
    ],
)  # fmt: skip
def test_file_and_label_are_found_by_name_or_by_place(tmp_path, text):
    """Whatever separates them."""
    assert rows(tmp_path, text) == PLAIN


def test_names_without_a_suffix_are_taken_by_place(tmp_path):
    """Two columns without a header."""
    assert rows(tmp_path, "000bec,beagle\n001513,pug\n") == [("000bec", "beagle"), ("001513", "pug")]


def test_a_column_can_name_the_split(tmp_path):
    """Every row belongs to one."""
    path = tmp_path / "all.csv"
    path.write_text("file,label,split\na.png,0,val\nb.png,1,train\nc.png,1,val\n")
    listed = read_label_file(path)
    assert (listed.has_splits, listed.splits) == (True, ["train", "val"])
    assert [(row.line, row.split) for row in listed.rows] == [(2, "val"), (3, "train"), (4, "val")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected lines of an image file and its label, got an empty file"),
        ("\n \n", "got an empty file"),
        ("file,label\n", "got a header only"),
        ("a.png\nb.png\n", "expected an image file and its label on every line, got 'a.png'"),
        ("image,MEL,NV,BCC\nISIC_1,1,0,0\n", "expected columns named file and label, got image, MEL, NV, BCC; rename"),
        ("label,x,y2\n0,1,2\n", "expected columns named file and label, got label, x, y2"),
        ("1,2,3\n4,5,6\n", "or an image file first, got 1, 2, 3; name them"),
        ("a.png,0\nb.png\n", "line 2: expected a label, got none; complete or remove the line"),
        ("a.png,0\nb.png,\n", "line 2: expected a label, got none"),
        ("file,label\n,0\n", "line 2: expected a file, got none"),
        ("file,label,split\na.png,0,\n", "line 2: expected a split, got none"),
        ('a.png,"cat\nb.png,dog\n', "line 2: expected cells of one line, got more; close the quotes"),
        ('a.png,"' + "x" * 200_000 + '"\n', "line 1: expected cells of text, got Error: field larger"),
    ],
)
def test_a_list_that_lacks_something_is_refused_in_one_line(tmp_path, text, message):
    """The file and the line are named."""
    with pytest.raises(DataError, match=message) as caught:
        rows(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "list.csv"))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    """Bytes, a folder, nothing."""
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="expected image names and labels in UTF-8, got UnicodeDecodeError"):
        read_label_file(tmp_path / "x.csv")
    for path in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(DataError, match="expected a file of image names and labels, got none; check the path"):
            read_label_file(path)
