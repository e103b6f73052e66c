"""What stands below commands on pages, and in the notebook, is what they print."""

import json
import math
import re
from importlib import import_module
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")


@pytest.fixture
def script(monkeypatch):
    """The script that runs them, in the width that it writes them in."""
    monkeypatch.syspath_prepend(DOCS)
    monkeypatch.setenv("COLUMNS", "120")
    return import_module("page_outputs")


def same(found, written):
    """Say whether texts have the same words, and numbers as close as another processor's may be."""
    if NUMBER.sub("0", found).split() != NUMBER.sub("0", written).split():
        return False
    numbers = [[float(each.replace(",", "")) for each in NUMBER.findall(text)] for text in (found, written)]
    return all(math.isclose(one, other, rel_tol=0.2, abs_tol=3) for one, other in zip(*numbers, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tutorial.md", "how-to/targets.md", "memory-protection.md", "advice.md"])
def test_the_commands_of_a_page_print_what_stands_below_them(script, name):
    """After a change run: python docs/page_outputs.py."""
    pytest.importorskip("torch")
    assert DOCS / name in script.PAGES
    written = (DOCS / name).read_text(encoding="utf-8")
    with script.empty_folder():
        assert same(script.with_outputs(written), written)


@pytest.mark.slow
def test_the_notebook_gives_what_it_shows(script):
    """Its cells are run one after the other, in a process that has no notebook."""
    written = script.NOTEBOOK.read_text(encoding="utf-8")
    with script.empty_folder():
        assert same(script.notebook_with_outputs(written), written)
    notebook = json.loads(written)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    for cell in notebook["cells"]:
        assert {"cell_type", "id", "metadata", "source"} <= cell.keys()


def test_another_output_and_a_command_that_fails_are_noticed(script, tmp_path, monkeypatch):
    """A word or a number that is another one; what is no command is refused too."""
    monkeypatch.chdir(tmp_path)
    commands = "ftonnx plan --population 1e6 > plan.txt\nftonnx rate --fit-per-mbit 700 --scrub 24h\n"
    page = f"```sh\n{commands}```\n\n```text\n```\n"
    written = script.with_outputs(page)
    assert "8.4e-12" in written
    assert "possible faults" in (tmp_path / "plan.txt").read_text()
    assert same(written, written)
    assert not same(written, written.replace("quantity", "amount"))
    assert not same(written, written.replace("700", "900"))
    for wrong in ("ftonnx rate --fit-per-mbit -1 --scrub 24h", "ls"):
        with pytest.raises(RuntimeError, match=re.escape(wrong)):
            script.with_outputs(f"```sh\n{wrong}\n```\n")
