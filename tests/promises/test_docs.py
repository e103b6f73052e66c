"""The pages say what the code does: commands, options, names, links, examples."""

import ast
import importlib.util
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import typer

import ftonnx
from ftonnx.cli import app, main
from ftonnx.cli.lazy import SUMMARIES
from ftonnx.models import resolve

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), ROOT / "benchmarks" / "README.md"])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^    .*\n)+", re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")


def page_id(path):
    """Return a page's name for the list of tests."""
    return str(path.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=page_id)


def blocks(page, *languages):
    """Return the fenced blocks of a page in one of the languages."""
    return [code for language, code in FENCE.findall(page.read_text(encoding="utf-8")) if language in languages]


def command_lines(text):
    """Return (command, rest of the line) for every ``ftonnx COMMAND`` that stands in code."""
    fenced = [code for language, code in FENCE.findall(text) if language != "python"]
    rest = FENCE.sub("", text)
    for code in [*fenced, *INDENTED.findall(rest), *INLINE.findall(rest)]:
        for line in code.splitlines():
            for part in re.split(r" \| | && | # |;", line):
                yield from re.findall(r"(?<![\w./-])ftonnx ([a-z]+)\b(.*)", part)


@cache
def options(command):
    """Return every spelling of a command's options, with those of all commands."""
    group = typer.main.get_command(app)
    found = [*group.params, *group.get_command(None, command).params]
    return {name for each in found for name in (*each.opts, *each.secondary_opts)} | {"-h", "--help"}


@cache
def cli_reference():
    """Return the script that writes the page of options."""
    spec = importlib.util.spec_from_file_location("cli_reference", DOCS / "cli_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def section(text, heading):
    """Return what stands between a heading of the second level and the next one."""
    return re.split(rf"^## {re.escape(heading)}$", text, flags=re.MULTILINE)[1].split("\n## ")[0]


def anchors(page):
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_the_page_of_options_is_what_the_help_texts_say():
    """It is generated; after a change run: python docs/cli_reference.py."""
    module = cli_reference()
    assert module.PAGE.read_text(encoding="utf-8") == module.page()


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the tables are those of x86-64")
def test_the_tables_of_kinds_of_models_are_what_these_do(monkeypatch):
    """They are generated, and every entry that runs is compared with plain ONNX Runtime on the way."""
    monkeypatch.syspath_prepend(DOCS)
    module = import_module("model_kinds")
    written = module.PAGE.read_text(encoding="utf-8")
    assert module.page() == written, "run python docs/model_kinds.py"


def test_the_table_of_repeats_is_what_the_statistics_say(monkeypatch):
    """It is generated, here for the fewest images; after a change run: python docs/repeats_table.py."""
    monkeypatch.syspath_prepend(DOCS)
    module = import_module("repeats_table")
    written = module.PAGE.read_text(encoding="utf-8").splitlines()
    for accuracy in module.ACCURACIES:
        assert module.row(accuracy, min(module.IMAGES)) in written


@pytest.mark.parametrize("command", SUMMARIES)
def test_every_option_that_help_prints_stands_on_the_page_of_options(command, capsys, monkeypatch):
    """The terminal's help is the oracle, in both directions."""
    monkeypatch.setenv("COLUMNS", "300")
    main([command, "--help"])
    help_text = capsys.readouterr().out
    printed = set(re.findall(r"^│\s+(?:\*\s+)?(?:-\w,\s*)?(--[a-z0-9-]+)", help_text, re.MULTILINE))
    text = section(cli_reference().PAGE.read_text(encoding="utf-8"), f"ftonnx {command}")
    shown = set(re.findall(r"^\| (?:`-\w`, )?`(--[a-z0-9-]+)", text, re.MULTILINE))
    assert shown == printed - {"--help"}
    assert shown or command == "inspect"


@pytest.mark.parametrize("command", SUMMARIES)
def test_every_command_has_a_section_of_its_own(command):
    """On the page of commands, which people read first."""
    headings = re.findall(r"^## .*$", (DOCS / "commands.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert any(re.search(rf"\bftonnx {command}\b", heading) for heading in headings)


@every_page
def test_commands_and_options_on_a_page_exist(page):
    """Examples grow old unless something looks."""
    for command, rest in command_lines(page.read_text(encoding="utf-8")):
        assert command in SUMMARIES, f"ftonnx {command}"
        for option in re.findall(r"(?<![\w=:/.,-])--?[a-zA-Z][\w-]*", rest):
            assert option in options(command), f"ftonnx {command} {option}"


@every_page
def test_relative_links_lead_somewhere(page):
    """To a file that exists, and to a heading in it."""
    text = INLINE.sub("", FENCE.sub("", page.read_text(encoding="utf-8")))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        found = page if not file else (page.parent / file).resolve()
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


@every_page
def test_python_shell_and_toml_blocks_can_be_read(page):
    """By the parser of the language that the block is marked with."""
    for code in blocks(page, "python"):
        ast.parse(code)
    for code in blocks(page, "toml"):
        tomllib.loads(code)
    for code in blocks(page, "sh", "bash"):
        subprocess.run(["bash", "-n"], input=code, text=True, check=True)


def test_every_public_name_is_in_the_reference():
    """And everything in the reference can be imported; where a module has a function's name, its own path is given."""
    page = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    listed = re.findall(r"^::: (\S+)$(?:\n    options:\n      heading: (\S+)$)?", page, re.MULTILINE)
    named = [heading or path for path, heading in listed]
    assert {f"ftonnx.{name}" for name in ftonnx.__all__} <= set(named)
    assert len(named) == len(set(named))
    for path, _ in listed:
        module, _, attribute = path.rpartition(".")
        assert getattr(import_module(module), attribute).__doc__


def test_every_page_is_in_the_navigation():
    """Once; what is measured is added by the build."""
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"(\S+\.md)$", config[config.index("\nnav:") :], re.MULTILINE)
    assert sorted(listed) == sorted([*(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")), "measurements.md"])


def test_the_readme_stays_short():
    """What it is, two commands, a picture, links."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 100
    assert any("docs/img/report.png" in line for line in lines)


def test_the_citation_is_of_this_version_and_of_the_paper():
    """With the names that the format asks for."""
    yaml = pytest.importorskip("yaml")
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    assert (cited["version"], cited["license"], cited["title"]) == (project["version"], project["license"], "ftonnx")
    (paper,) = cited["references"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for fact in (paper["title"], paper["doi"], f"{paper['journal']} {paper['volume']} ({paper['year']})"):
        assert fact in readme
    assert all(author["family-names"] in readme for author in paper["authors"])
    assert project["urls"]["Paper"].endswith(paper["doi"])


def test_rates_measured_apart_are_the_rates_measured_together(tmp_path):
    """What the page on many machines promises."""
    data, rates = ftonnx.load_dataset("digits", limit=40), (1e-5, 1e-4)
    settings = {"repeats": 3, "batch_size": 20, "threads": 1, "strategy": "live"}
    together = ftonnx.evaluate("digits", data, rates=rates, **settings)
    parts = [ftonnx.evaluate("digits", data, rates=[rate], results=tmp_path / f"{rate}", **settings) for rate in rates]
    joined = replace(parts[0], rates=tuple(rate for part in parts for rate in part.rates))
    assert joined.rates == together.rates


@pytest.mark.slow
def test_the_clipping_study_prints_its_table(tmp_path):
    """One row per variant, in small."""
    study = [sys.executable, DOCS / "clipping_study.py", "digits"]
    small = ["--repeats", "1", "--images", "32", "--iterations", "1"]
    done = subprocess.run([*study, *small], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    _, _, *rows = done.stdout.splitlines()
    assert [row.split("|")[1].strip() for row in rows] == [
        "unprotected", "ReLU6", "ActMax", "ClipAct", "int8", "ClipAct + int8",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_example_of_the_pytest_page_runs_as_it_stands(pytester):
    """On files of the names that it uses."""
    digits = ftonnx.load_dataset("digits", split="test")
    images, labels = zip(*digits.batches(500), strict=True)
    pixels = (16 * np.concatenate(images)).astype(np.uint8)  # as they were stored: the model says how they are scaled
    np.savez("test.npz", images=pixels, labels=np.concatenate(labels))
    shutil.copy(resolve("digits"), "model.onnx")
    protect = ["protect", "model.onnx", "--method", "actmax", "--data", "digits", "-o", "clipped.onnx"]
    assert main(["-q", *protect]) == 0
    (example,) = blocks(DOCS / "how-to" / "pytest.md", "python")
    assert len(example.splitlines()) <= 20
    pytester.makepyfile(example)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)
