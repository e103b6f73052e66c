"""Commands are imported when they are called: help and version are quick, and complete all the same."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import ftonnx.cli.commands
from ftonnx.cli import main
from ftonnx.cli.lazy import SUMMARIES, LazyGroup


@pytest.mark.parametrize("name", SUMMARIES)
def test_the_list_of_commands_says_what_each_command_says_of_itself(name):
    """The summary is the first line of the docstring."""
    command = getattr(importlib.import_module(f"ftonnx.cli.commands.{name}"), name)
    assert inspect.getdoc(command).splitlines()[0] == SUMMARIES[name]


@pytest.mark.parametrize("name", SUMMARIES)
def test_help_fits_into_80_columns(name):
    """A terminal alone breaks paragraphs, values leave room for the text, brackets come from what may be left out."""
    function = getattr(importlib.import_module(f"ftonnx.cli.commands.{name}"), name)
    command = LazyGroup(name="ftonnx").commands[name]
    paragraphs = [" ".join(each.split()) for each in inspect.getdoc(function).split("\n\n")]
    assert command.help.split("\n\n") == paragraphs
    values = [each.metavar or "" for each in command.params]
    assert max(map(len, values)) <= len("PATTERN[=ROLE]")
    assert not any(each.startswith("[") for each in values)


def test_every_module_of_a_command_is_in_the_list():
    """A command that is not listed could not be called."""
    folder = Path(ftonnx.cli.commands.__file__).parent
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} == set(SUMMARIES)


def test_help_lists_every_command(capsys):
    """With its summary, whose words may be wrapped."""
    assert main(["--help"]) == 0
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name, summary in SUMMARIES.items():
        assert f"{name} {summary}" in printed


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["no-such-command"]])
def test_what_runs_no_command_loads_no_numerical_library(arguments):
    """In a fresh process, as a shell starts it."""
    code = (
        "import sys; from ftonnx.cli import main; main(sys.argv[1:]);"
        "print(sorted({'numpy', 'onnx', 'onnxruntime', 'scipy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_dry_run_loads_nothing_that_only_editing_and_reports_need():
    """They take longer to import than everything else together."""
    heavy = "{'onnx_ir', 'sympy', 'scipy.stats', 'altair', 'polars', 'jinja2', 'torch', 'onnxruntime.quantization'}"
    code = (
        "import sys; from ftonnx.cli import main;"
        "main(['inject', '--dry-run', '--threads', '1', '--limit', '40', '--json']);"
        f"print(sorted({heavy} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
