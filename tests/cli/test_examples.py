"""Every help text ends with examples, and sorts its options."""

import shlex

import pytest
import typer

from ftonnx.cli import app, main
from ftonnx.cli.examples import EXAMPLES
from ftonnx.cli.lazy import SUMMARIES

MOST = 3
WIDEST = 78
"""What a terminal of 80 columns shows of a line in a help text."""


def arguments(example):
    """Return the words after ``ftonnx``, without what a shell does with its output."""
    command, _, _ = example.replace("\\\n", "").partition(" >")
    first, *rest = shlex.split(command)
    assert first == "ftonnx"
    return rest


def test_every_command_has_a_few_examples():
    """And ``ftonnx`` itself."""
    assert list(EXAMPLES) == ["ftonnx", *SUMMARIES]
    assert all(1 <= len(examples) <= MOST for examples in EXAMPLES.values())


@pytest.mark.parametrize("example", [each for examples in EXAMPLES.values() for each in examples])
def test_an_example_can_be_called(example, tmp_path, monkeypatch):
    """Each of its words is taken by the command's own parser; nothing is run."""
    monkeypatch.chdir(tmp_path)
    group = typer.main.get_command(app)
    name, *rest = arguments(example)
    with group.get_command(None, name).make_context(name, rest) as context:
        assert context.args == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", EXAMPLES)
def test_help_prints_the_examples_as_they_stand(command, capsys, monkeypatch):
    """No line is broken where terminals are usually narrow."""
    monkeypatch.setenv("COLUMNS", "80")
    main(["--help"] if command == "ftonnx" else [command, "--help"])
    printed = [line.strip() for line in capsys.readouterr().out.split("Examples:")[-1].splitlines()]
    for example in EXAMPLES[command]:
        for line in example.splitlines():
            assert len(line) <= WIDEST
            assert line.strip() in printed
        is_own = arguments(example)[0] == command
        assert is_own or command == "ftonnx"


@pytest.mark.parametrize("command", SUMMARIES)
def test_every_option_stands_in_a_panel(command):
    """A reader finds options by what they are about; arguments have a panel of their own."""
    parameters = typer.main.get_command(app).get_command(None, command).params
    for each in parameters:
        is_option = each.param_type_name == "option"
        assert bool(each.rich_help_panel) is is_option, each.name
