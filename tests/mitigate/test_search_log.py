"""The log of a search: whole lines survive, a torn one is dropped, other searches are kept out."""

import json
import subprocess
import sys

import pytest

from ftonnx.errors import StoreError
from ftonnx.mitigate.clipact import Evaluation
from ftonnx.mitigate.search_log import SearchLog

IDENTITY = {"model": "0f", "rates": (1e-7, 3e-5), "resample": None, "seed": 3}


def evaluation(threshold, name="act", **more):
    """Return an evaluation with numbers that have no short decimal."""
    values = {"iteration": 1, "score": 0.1 + 0.2, "accuracy": (1 / 3, threshold / 7), "at_most": 0.1 + 0.2}
    return Evaluation(activation=name, threshold=threshold, **(values | more))


def filled(folder, count=3):
    """Write a log and return what it should hold."""
    known = {}
    with SearchLog(folder, IDENTITY) as log:
        for index in range(count):
            each = evaluation(1.1 * index, name=f"relu \N{GREEK SMALL LETTER ALPHA}{index}")
            log[each.activation, 0, each.threshold] = known[each.activation, 0, each.threshold] = each
    return known


def test_a_log_opened_again_holds_the_same_evaluations_in_the_same_order(tmp_path):
    """Floats come back exactly, tuples as tuples; the folder is made where missing."""
    known = filled(tmp_path / "a" / "b")
    with SearchLog(tmp_path / "a" / "b", IDENTITY) as log:
        assert list(log.items()) == list(known.items())
        assert len(log) == 3
        log["more", 2, 0.5] = evaluation(0.5, clean=0.25)
    with SearchLog(tmp_path / "a" / "b", IDENTITY) as log:
        assert log["more", 2, 0.5] == evaluation(0.5, clean=0.25)
        assert len(log) == 4


def test_a_later_line_on_a_threshold_takes_the_place_of_the_earlier_one(tmp_path):
    """What was measured in part, then to the end."""
    part = evaluation(1.5, score=None, accuracy=(None, 1 / 3), at_most=2 / 3)
    with SearchLog(tmp_path, IDENTITY) as log:
        for each in (part, evaluation(2.5), evaluation(1.5)):
            log[each.activation, 0, each.threshold] = each
            assert log[each.activation, 0, each.threshold] == each
    lines = (tmp_path / "search.jsonl").read_text().splitlines(keepends=True)
    with SearchLog(tmp_path, IDENTITY) as log:
        assert list(log.values()) == [evaluation(1.5), evaluation(2.5)]
    (tmp_path / "search.jsonl").write_text("".join(lines[:-1]))
    with SearchLog(tmp_path, IDENTITY) as log:
        assert list(log.values()) == [part, evaluation(2.5)]


def test_lines_from_before_there_were_bounds_are_complete(tmp_path):
    """Their scores are what they are worth."""
    known = filled(tmp_path)
    file = tmp_path / "search.jsonl"
    head, *entries = [json.loads(line) for line in file.read_text().splitlines()]
    for entry in entries:
        del entry["evaluation"]["at_most"]
    file.write_text("".join(json.dumps(line) + "\n" for line in (head, *entries)))
    with SearchLog(tmp_path, IDENTITY) as log:
        assert dict(log) == known


def test_whatever_a_kill_leaves_of_the_last_line_the_lines_before_stay(tmp_path):
    """The file cut at any byte: the whole lines are known, the rest is written anew."""
    known = filled(tmp_path, 2)
    file = tmp_path / "search.jsonl"
    content = file.read_bytes()
    keys = list(known)
    ends = [place for place, byte in enumerate(content) if byte == ord("\n")]
    for size in sorted({*range(0, len(content), 13), *ends, *(end + 1 for end in ends)} - {len(content)}):
        file.write_bytes(content[:size])
        whole = max(content[:size].count(b"\n") - 1, 0)
        with SearchLog(tmp_path, IDENTITY) as log:
            assert list(log) == keys[:whole], size
            for key in keys[whole:]:
                log[key] = known[key]
        assert file.read_bytes() == content, size


@pytest.mark.parametrize(
    "other", [{"seed": 4}, {"rates": [1e-7]}, {"model": "1f"}, {"resample": 8}, {"versions": {"ftonnx": "9"}}]
)
def test_another_search_in_the_same_folder_is_refused_and_the_log_left_alone(tmp_path, other):
    """Any part of the identity counts."""
    filled(tmp_path)
    before = (tmp_path / "search.jsonl").read_bytes()
    with pytest.raises(StoreError, match="belongs to another search; repeat its settings or choose another folder"):
        SearchLog(tmp_path, IDENTITY | other)
    assert (tmp_path / "search.jsonl").read_bytes() == before
    with SearchLog(tmp_path, IDENTITY | {"rates": [1e-7, 3e-5]}) as log:
        assert len(log) == 3, "tuples and lists are the same in JSON"


def test_a_second_process_is_refused_while_the_first_has_it_open(tmp_path):
    """And let in afterwards; in the same process the lock holds too."""
    lines = ["import sys", "from ftonnx.mitigate.search_log import SearchLog", f"SearchLog(sys.argv[1], {IDENTITY!r})"]

    def other_process():
        return subprocess.run(
            [sys.executable, "-c", "\n".join(lines), tmp_path], capture_output=True, text=True, check=False
        )

    with SearchLog(tmp_path, IDENTITY):
        refused = other_process()
        assert refused.returncode == 1
        assert "is in use by another process; wait for it to end" in refused.stderr
        with pytest.raises(StoreError, match="in use"):
            SearchLog(tmp_path, IDENTITY)
    assert other_process().returncode == 0


@pytest.mark.parametrize(
    "content",
    [
        b"not json\n", b"[]\n", b"3\n", b"{}\n", b"\x80\xff\n", b"[" * 100_000 + b"\n", b"\0" * 64 + b"\n",
        json.dumps({"identity": json.loads(json.dumps(IDENTITY))}).encode() + b"\n{}\n",
        json.dumps({"identity": json.loads(json.dumps(IDENTITY))}).encode() + b'\n{"key": [1, 2], "evaluation": {}}\n',
        json.dumps({"identity": json.loads(json.dumps(IDENTITY))}).encode() + b"\n[]\n",
    ],
)  # fmt: skip
def test_a_damaged_log_is_refused_and_left_alone(tmp_path, content):
    """It may still be worth something to its owner."""
    (tmp_path / "search.jsonl").write_bytes(content)
    with pytest.raises(StoreError, match=r"is damaged .*; move it away and start anew"):
        SearchLog(tmp_path, IDENTITY)
    assert (tmp_path / "search.jsonl").read_bytes() == content


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    """A file lies there."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        SearchLog(tmp_path / "file", IDENTITY)


def test_nothing_can_be_taken_out(tmp_path):
    """A log only grows."""
    known = filled(tmp_path)
    with SearchLog(tmp_path, IDENTITY) as log, pytest.raises(StoreError, match="only grows"):
        del log[next(iter(known))]
