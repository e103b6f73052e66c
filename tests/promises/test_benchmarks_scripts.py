"""The benchmark scripts: that they run and print what they promise. Times are never asserted."""

import doctest
import importlib
import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = (
    "throughput", "single_fault", "verdict", "workers", "cluster", "clipact", "peers", "memory", "startup", "sampling",
    "crelu", "images_per_pattern", "maps", "merging", "long_campaign", "activations",
)  # fmt: skip
HELPERS = ("chart", "lines", "nets", "pairing", "table", "run", "peer_worker")
KEYS = {"case", "ratio", "low", "high", "n", "reference", "goal"}
ONE_ROUND = ("--rounds", "1")


@pytest.fixture(autouse=True)
def scripts_import_each_other(monkeypatch):
    """As when Python runs one of them."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    for name in (*SCRIPTS, *HELPERS):
        sys.modules.pop(name, None)


def test_the_page_names_every_script():
    """With what it compares."""
    page = (FOLDER.parent / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| `")]
    assert {f"`{name}.py`" for name in SCRIPTS} <= set(rows)


def lines_of(name, *arguments):
    """Run a script and return its lines."""
    command = [sys.executable, str(FOLDER / f"{name}.py"), *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert finished.returncode == 0, finished.stderr
    return [json.loads(line) for line in finished.stdout.splitlines()]


def require_promised(lines):
    """Every line has the promised keys, its ratio within its interval, and a case of its own."""
    assert lines
    for line in lines:
        assert line.keys() >= KEYS
        assert line["low"] <= line["ratio"] <= line["high"]
        assert line["n"] >= 1
    assert len({line["case"] for line in lines}) == len(lines)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SCRIPTS, "run"])
def test_every_script_explains_itself(name):
    """``--help`` shows the docstring and the short form."""
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout
    assert "--quick" in shown
    assert f"python benchmarks/{name}.py" in shown


def test_run_knows_every_script():
    """In ``run.py``, with a title in ``table.py``; everything else in the folder is a helper."""
    run, table = importlib.import_module("run"), importlib.import_module("table")
    assert set(run.SCRIPTS) == set(SCRIPTS) == set(table.TITLES)
    assert {path.stem for path in FOLDER.glob("*.py")} == {*SCRIPTS, *HELPERS}


@pytest.mark.slow
def test_throughput_prints_the_promised_lines():
    """On the embedded model, which needs no torch: two rates, two references."""
    lines = lines_of("throughput", "--model", "digits", "--repeats", "2", *ONE_ROUND)
    require_promised(lines)
    assert len(lines) == 4
    assert [line["goal"] for line in lines] == [1.25, 1.25, None, None]
    assert {line["strategy"] for line in lines} == {"live"}


@pytest.mark.slow
def test_single_fault_prints_the_promised_line():
    """One line; every fault is counted."""
    lines = lines_of("single_fault", "--model", "digits", "--format", "fp32", "--faults", "3", *ONE_ROUND)
    require_promised(lines)
    assert (lines[0]["faults"], lines[0]["bits"]) == (3, 1790784)


@pytest.mark.slow
def test_verdict_asks_for_a_precision_and_two_verdicts():
    """Within the cap, and says which answers were not there by then."""
    lines = lines_of("verdict", "--network", "digits", "--cap", "1", *ONE_ROUND)
    require_promised(lines)
    assert [line["case"].split("-", 2)[2] for line in lines] == ["precision-1e-07", "gate-1e-07", "gate-1e-05"]
    assert lines[-1]["undecided"] == "0 before, 0 after"


@pytest.mark.slow
def test_clipact_finds_the_thresholds_of_the_straightforward_procedure():
    """The script ends with an error where they differ."""
    lines = lines_of("clipact", "--model", "digits", "--images", "16", "--activations", "2", *ONE_ROUND)
    require_promised(lines)
    assert [line["case"] for line in lines] == ["digits-clipact", "digits-clipact-balanced"]
    for line in lines:
        assert line["thresholds_equal"]
        assert line["faster"] == pytest.approx(1 / line["ratio"], rel=0.1)
        needed, _, tried = line["accuracies"].partition(" of ")
        assert 0 < int(needed) <= int(tried)


@pytest.mark.slow
def test_a_cluster_is_compared_and_its_costs_are_told():
    """On the embedded network, whose units are short."""
    pytest.importorskip("distributed")
    lines = lines_of("cluster", "--quick", "--models", "digits", "--units", "80")
    require_promised(lines)
    (line,) = lines
    assert line["case"] == "digits-2-dask-workers"
    assert line["units"] == 80
    assert 1 <= line["tasks"] <= 80
    assert line["batch_mb"] > 0


@pytest.mark.slow
def test_merging_prints_time_and_memory():
    """Of a few shards here."""
    lines = lines_of("merging", "--quick", "--shards", "4", "--units", "80")
    require_promised(lines)
    assert [line["case"] for line in lines] == ["merging-seconds", "merging-memory"]


@pytest.mark.slow
def test_a_long_campaign_is_watched():
    """A short one here."""
    lines = lines_of("long_campaign", "--units", "8000")
    require_promised(lines)
    assert [line["case"] for line in lines] == ["long-memory", "long-bytes", "long-seconds"]
    assert 0 < lines[0]["units"] <= 8010


def test_sampling_prints_both_series_and_their_slopes():
    """Seven numbers of faults, six spaces."""
    lines = lines_of("sampling", *ONE_ROUND)
    require_promised(lines)
    assert [line["case"].rsplit("-", 1)[0] for line in lines] == ["sampling-faults"] * 8 + ["sampling-bits"] * 7
    assert [line["case"] for line in lines if line["case"].endswith("slope")] == [
        "sampling-faults-slope",
        "sampling-bits-slope",
    ]


@pytest.mark.slow
def test_images_per_pattern_prints_a_line_for_each_number():
    """Of the embedded model at two rates, relative to the paper's number."""
    lines = lines_of("images_per_pattern", "--case", "digits-fp32", "--patterns", "8", "--seconds", "0", *ONE_ROUND)
    require_promised(lines)
    assert len(lines) == 2 * 7
    assert [line["ratio"] for line in lines if line["case"].endswith("-128-images")] == [1, 1]


@pytest.mark.slow
def test_maps_prints_what_judging_costs_and_what_grows():
    """Of the small network, and a campaign over a few images."""
    lines = lines_of("maps", "--model", "cloud_net", "--images", "66", *ONE_ROUND)
    require_promised(lines)
    assert [line["case"] for line in lines] == ["judging-cloud_net", "memory-maps"]
    assert (lines[0]["pixels"], lines[0]["classes"], lines[0]["goal"]) == (96 * 96, 2, 0.1)


def test_run_writes_json_chart_and_tables(tmp_path, monkeypatch):
    """All from the lines of the scripts; one that fails is said to have failed and does not stop the others."""
    run, table = importlib.import_module("run"), importlib.import_module("table")
    (tmp_path / "README.md").write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    line = {"case": "a", "ratio": 1.02, "low": 1.0, "high": 1.04, "n": 9, "reference": "b", "goal": 1.03, "batch": 32}
    missed = line | {"case": "c", "ratio": 1.04}
    (tmp_path / "sampling.py").write_text(f"print({json.dumps(line)!r})\nprint({json.dumps(missed)!r})\n")
    (tmp_path / "crelu.py").write_text("raise SystemExit(3)\n")
    monkeypatch.setattr(run, "HERE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["run.py", "--only", "sampling", "--only", "crelu", "--results", str(tmp_path)])
    assert run.main() == 1
    (results,) = tmp_path.glob("*.json")
    content = json.loads(results.read_text())
    assert [script["exit_code"] for script in content["scripts"]] == [0, 3]
    assert content["scripts"][0]["lines"] == [line, missed]
    assert content["versions"]["numpy"] == np.__version__
    readme = (tmp_path / "README.md").read_text()
    assert readme.startswith("before\n")
    assert readme.endswith("<!-- end of tables -->\nafter\n")
    assert "old" not in readme
    assert "| a | **1.02** | 1 | 1.04 | 1.03 reached | 9 | b | batch 32 |" in readme
    assert "| c | **1.04** | 1 | 1.04 | 1.03 **missed** | 9 | b | batch 32 |" in readme
    assert "exit code 3" in readme
    assert results.with_suffix(".svg").read_text().startswith("<svg")
    assert results.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_the_short_table_begins_with_int8_one_image_at_a_time():
    """Then come the others, in the order of the script's list; what was not measured is left out."""
    table = importlib.import_module("table")
    cases = [case for group in table.SHORT.values() for case in group]
    line = {"ratio": 1.2, "goal": 1.3, "batch": 1}
    content = {"scripts": [{"lines": [line | {"case": case} for case in reversed(cases[:-1])]}]}
    _, _, *rows = table.short_table(content)
    assert len(rows) == len(cases) - 1
    assert rows[0] == "| int8, batch 1 | resnet18, batch 1 | **1.2** | 1.3 reached |"


def test_the_readme_has_room_for_the_tables():
    """Both marks, once, in order."""
    table, text = importlib.import_module("table"), (FOLDER / "README.md").read_text()
    assert text.count(table.BEGIN) == text.count(table.END) == 1
    assert text.index(table.BEGIN) < text.index(table.END)


@pytest.mark.slow
def test_a_peer_runs_one_batch_when_asked():
    """In a process of its own, which ends with the block."""
    pytest.importorskip("torchvision")
    peers = importlib.import_module("peers")
    options = Namespace(model="resnet18", batch=1, threads=1)
    with peers.peer(Path(sys.executable), "torch", options) as run_batch:
        assert run_batch is not None
        run_batch()
        run_batch()


@pytest.mark.slow
def test_a_peer_that_does_not_run_is_left_out(capfd):
    """With a word on stderr; the others go on."""
    peers = importlib.import_module("peers")
    options = Namespace(model="resnet18", batch=1, threads=1)
    with peers.peer(Path(sys.executable), "nobody", options) as run_batch:
        assert run_batch is None
    assert "nobody does not run here" in capfd.readouterr().err


@pytest.mark.parametrize("n", [6, 7, 15, 21, 51, 100])
def test_the_interval_of_a_median_keeps_its_confidence_and_is_the_narrowest(n):
    """Against scipy's binomial distribution."""
    low, _ = importlib.import_module("pairing").median_interval(list(range(1, n + 1)))
    assert 1 - 2 * stats.binom.cdf(low - 1, n, 0.5) >= 0.95
    assert 1 - 2 * stats.binom.cdf(low, n, 0.5) < 0.95


def test_works_are_run_equally_often_and_in_changing_order():
    """Each once per round, warm-up included; every one is first at times."""
    pairing, called = importlib.import_module("pairing"), []
    works = {name: lambda name=name: called.append(name) for name in "abc"}
    seconds = pairing.interleaved(works, 12, warm_up=2)
    assert {name: len(each) for name, each in seconds.items()} == {"a": 12, "b": 12, "c": 12}
    rounds = [tuple(called[i : i + 3]) for i in range(0, len(called), 3)]
    assert len(rounds) == 14
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert {each[0] for each in rounds} == {"a", "b", "c"}
    assert len(set(rounds)) == 6


@pytest.mark.parametrize("name", ["pairing", "table"])
def test_examples_in_the_docstrings_of_helpers_run(name):
    """As in the rooms."""
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0
