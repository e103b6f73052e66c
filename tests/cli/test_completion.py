"""Shells complete commands and options, and can be told how."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ftonnx
from ftonnx.cli import main
from ftonnx.cli.flags import with_flags
from ftonnx.cli.lazy import SUMMARIES
from ftonnx.errors import ModelError

PARENT = os.path.dirname(os.path.dirname(ftonnx.__file__))


@pytest.fixture
def shell(tmp_path):
    """Run a line in a bash of its own, which has nothing but ftonnx."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    command = tmp_path / "bin" / "ftonnx"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m ftonnx "$@"\n')
    command.chmod(0o755)
    environment = {"HOME": str(tmp_path), "PATH": f"{command.parent}:{os.environ['PATH']}", "PYTHONPATH": PARENT}

    def run(line):
        return subprocess.run(
            ["bash", "-c", line], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    return run


def test_bash_completes_after_installing_the_completion(shell, tmp_path):
    """Commands and options, by the function that bash itself would call; the second command keeps bash a parent."""
    done = shell("ftonnx --install-completion; code=$?; exit $code")
    assert done.returncode == 0, done.stderr
    assert "ftonnx.sh" in (tmp_path / ".bashrc").read_text()
    complete = "source ~/.bashrc; COMP_WORDS=({}); COMP_CWORD={}; _ftonnx_completion ftonnx; echo ${{COMPREPLY[@]}}"
    assert shell(complete.format("ftonnx insp", 1)).stdout == "inspect\n"
    assert shell(complete.format("ftonnx inspect --inc", 2)).stdout == "--include\n"
    assert shell(complete.format("ftonnx data --save", 2)).stdout == "--save-config\n"


def completed(monkeypatch, capsys, line):
    """Return what bash is offered at the end of a line."""
    words = line.split(" ")
    monkeypatch.setenv("_FTONNX_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    assert main([]) == 0
    return capsys.readouterr().out.split()


def test_every_command_is_offered(monkeypatch, capsys):
    """All of them, or those that begin with what is there."""
    assert completed(monkeypatch, capsys, "ftonnx ") == list(SUMMARIES)
    assert completed(monkeypatch, capsys, "ftonnx re") == [name for name in SUMMARIES if name.startswith("re")]


@pytest.mark.parametrize("command", SUMMARIES)
def test_every_option_of_a_command_is_offered(command, monkeypatch, capsys):
    """The page of options is the oracle."""
    page = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
    text = page.read_text(encoding="utf-8").split(f"\n## ftonnx {command}\n")[1].split("\n## ")[0]
    options = re.findall(r"^\| (?:`-\w`, )?`(--[a-z0-9-]+)", text, re.MULTILINE)
    offered = completed(monkeypatch, capsys, f"ftonnx {command} --")
    assert set(options) <= set(offered)
    assert completed(monkeypatch, capsys, f"ftonnx {command} {options[0]}")[0] == options[0]


def test_offering_commands_is_quick():
    """No command's module is imported for it, and no numerical library."""
    code = (
        "import sys; from ftonnx.cli import main; main([]);"
        "print(sorted({'numpy', 'onnx', 'onnxruntime', 'scipy'} & sys.modules.keys()))"
    )
    asked = {"_FTONNX_COMPLETE": "complete_bash", "COMP_WORDS": "ftonnx ins", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["inspect", "[]"]


def test_the_script_can_be_shown_in_place_of_installing_it(shell):
    """For people who keep their shell's files themselves."""
    done = shell("ftonnx --show-completion; code=$?; exit $code")
    assert done.returncode == 0
    assert done.stdout.startswith("_ftonnx_completion() {")
    assert done.stderr == ""


def test_a_shell_that_is_not_known_is_one_line(monkeypatch, capsys):
    """Exit code 1 is the gate's alone."""
    monkeypatch.setattr("typer._completion_shared._get_shell_name", lambda: None)
    assert main(["--install-completion"]) == 2
    assert capsys.readouterr().err == "error: the shell is not known: call this from bash, zsh or fish itself\n"


def test_an_error_of_the_library_names_flags_on_the_command_line(monkeypatch, capsys):
    """And parameters everywhere else."""

    def refuse(*_):
        raise ModelError("lower `batch_size=7`, or `jobs`")

    monkeypatch.setattr("ftonnx.cli.options.open_model", refuse)
    assert main(["inspect", "digits"]) == 4
    assert capsys.readouterr().err == "error: lower --batch-size 7, or --jobs\n"


def test_text_between_other_backquotes_is_left_alone():
    """Only names and values of parameters are rewritten."""
    assert with_flags("`Conv_1` and ``x``: `a b`") == "`Conv_1` and ``x``: `a b`"
