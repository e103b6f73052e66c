"""Options come from a file and go into one, for every command, by the names they have on the command line."""

import functools
import importlib
import inspect
import json
import tomllib
from typing import Annotated

import pytest
import typer

from ftonnx.cli import main
from ftonnx.cli.expand import option_key
from ftonnx.cli.lazy import SUMMARIES, LazyGroup
from ftonnx.cli.overwriting import WRITTEN

SAMPLES = {
    "--activation": "crelu",
    "--budget": "10min,500units",
    "--bits": "0,23-30",
    "--burst-sizes": "1:361,2:38",
    "--cache-memory": "512M",
    "--crop": "28",
    "--format": "ieee",
    "--goal": "1e-6:0.25",
    "--guards": "range, tmr",
    "--images-per-pattern": "paper",
    "--input-shape": "3,32,32",
    "--jobs": "2",
    "--max-drop": "1e-6:0.25",
    "--max-sdc": "1e-7:0.5",
    "--mean": "0.485,0.456,0.406",
    "--min-accuracy": "env:0.9",
    "--over": "6h",
    "--providers": "cuda,cpu",
    "--rates": "1e-7,3e-06",
    "--scale": "1/255",
    "--scrub": "90min",
    "--std": "0.5",
    "--stratum": "a:b:3,5-7:2",
    "--stuck-at": "1",
    "--value": "5e-1",
    "--question": "new-images",
    "--task": "classification",
    "--roles": "weight, bias",
    "action": "check",
}
"""Of options and arguments that do not take any text; written as no default is."""


def command(name):
    """Return a command as typer knows it."""
    return LazyGroup(name="ftonnx").commands[name]


def values_of(option, name):
    """Return values to give an option, by what it takes."""
    if option.opts[-1] in SAMPLES:
        return [SAMPLES[option.opts[-1]]]
    if option.name in (*WRITTEN.get(name, ()), "calibration_cache"):
        # no two files may have one name
        return [f"some\t{option.name}"]
    annotation = inspect.signature(command(name).callback).parameters[option.name].annotation
    kind = str(annotation)
    if "int" in kind.split("typer")[0]:
        return ["3"]
    if "float" in kind.split("typer")[0]:
        return ["0.25", "1e-7"] if option.multiple else ["0.25"]
    return ["one 'text'", 'and "another"'] if option.multiple or option.nargs == -1 else ["some\ttext"]


def can_be_saved(option):
    """Say whether people can give an option, other than those about files."""
    return option.name not in ("config", "save_config", "force") and not option.hidden


def everything(name):
    """Return a command line with all options and arguments of a command."""
    arguments = []
    for option in command(name).params:
        if not can_be_saved(option):
            continue
        if option.param_type_name == "argument":
            arguments += values_of(option, name)
        elif option.is_flag:
            arguments.append(option.opts[-1])
        else:
            arguments += [part for value in values_of(option, name) for part in (option.opts[-1], value)]
    return arguments


@pytest.fixture
def received(monkeypatch):
    """Put something that only notes its values in the place of commands; call it with a command line."""

    def run(name, *arguments):
        noted = []
        module = importlib.import_module(f"ftonnx.cli.commands.{name}")
        original = inspect.unwrap(getattr(module, name))

        @functools.wraps(original)
        def note(**values):
            noted.append(values)

        monkeypatch.setattr(module, name, note)
        assert main([name, *map(str, arguments)]) == 0
        return noted[0]

    return run


@pytest.mark.parametrize("name", SUMMARIES)
def test_what_a_command_was_given_reads_back(name, received, tmp_path):
    """Every option and argument, in a file that holds nothing else."""
    file = tmp_path / "used.toml"
    arguments = everything(name)
    given = received(name, *arguments, "--save-config", file)
    saved = tomllib.loads(file.read_text(encoding="utf-8"))
    expected = {option_key(each) for each in command(name).params if can_be_saved(each)}
    assert saved.keys() == expected
    if "environment" in saved:  # saved as an absolute path, as it would be looked for beside the file
        arguments[arguments.index("--environment") + 1] = saved["environment"]
        given = received(name, *arguments)
    assert received(name, "--config", file) == given


@pytest.mark.parametrize("name", SUMMARIES)
def test_the_defaults_of_a_command_read_back_too(name, received, tmp_path):
    """So that a file says what was used, also where a later version has other defaults."""
    file = tmp_path / "used.toml"
    needed = []
    for option in command(name).params:
        if option.required:
            flag = [] if option.param_type_name == "argument" else [option.opts[-1]]
            needed += [*flag, values_of(option, name)[0]]
    given = received(name, *needed, "--save-config", file)
    assert received(name, "--config", file) == given


def test_the_command_line_wins_over_the_file(received, tmp_path):
    """Option by option, repeated ones as a whole; dashes and underscores are the same."""
    file = tmp_path / "my.toml"
    file.write_text('model = "a.onnx"\nbatch-size = 5\nlimit = 7\nfaults = [1e-6, 1e-5]\ndata = "digits"\n')
    values = received("activations", "--config", file, "--limit", 9, "--faults", "0.5")
    assert values["network"].model == "a.onnx"
    assert values["drawing"].batch_size == 5
    assert values["images"].limit == 9
    assert values["faults"] == (0.5,)


def test_numbers_and_arrays_may_stand_for_the_text_of_a_parsed_option(received, tmp_path):
    """As people write them in TOML."""
    file = tmp_path / "my.toml"
    file.write_text('mean = [0.5, "1/4"]\nscale = 0.5\nlimit = 3\nfaults = 1e-6\n')
    values = received("activations", "m.onnx", "--data", "digits", "--config", file)
    assert values["images"].mean == (0.5, 0.25)
    assert values["images"].scale == 0.5
    assert values["faults"] == (1e-6,)


def test_numbers_and_arrays_may_stand_for_texts_that_say_how_faults_come(received, tmp_path):
    """As in a study's file and in an environment."""
    file = tmp_path / "my.toml"
    file.write_text('over = ["6h", "1h"]\nburst_sizes = 2\nstuck_at = 1\nvalue = 0.5\nscrub = "1d"\n')
    faults = received("inject", "m.onnx", "--data", "digits", "--config", file)["flips"]
    assert (faults.over, faults.burst_sizes, faults.scrub) == ([(6.0,), (1.0,)], "2:1.0", 24.0)
    assert (faults.stuck_at, faults.value) == ("1", "0.5")


def refused(capsys, text, tmp_path, *arguments):
    """Run inspect with a file and return its one line."""
    file = tmp_path / "my.toml"
    file.write_text(text)
    assert main(["inspect", "digits", *arguments, "--config", str(file)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {file}: ")
    return line.removeprefix(f"error: {file}: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("formt = 1", "formt is no option of this command; did you mean format?; it has activations_per, batch_size"),
        ("zzz = 1", "zzz is no option of this command; it has activations_per, batch_size"),
        ("help = true", "help is no option"),
        ('config = "other.toml"', "config is no option"),
        ("format = 3", "format: a text was expected, got 3"),
        ("json = 1", "json: true or false was expected, got 1"),
        ("include = [1]", "include: a text was expected, got 1"),
        ("roles = true", "roles: a text was expected, got True"),
        ("roles = {a = 1}", "roles: a text was expected, got {'a': 1}"),
        ("format", "options in TOML were expected"),
    ],
)
def test_keys_and_values_that_make_no_sense_are_named(capsys, tmp_path, text, expected):
    """With the file, the key, and what was meant."""
    assert refused(capsys, text, tmp_path).startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("limit = 1.5", "limit: a whole number was expected, got 1.5"),
        ("limit = true", "limit: a whole number was expected, got True"),
        ('faults = ["x"]', "faults: a number was expected, got 'x'"),
        ('scale = "x"', "scale: a number or a fraction such as 1/255 was expected, got 'x'"),
        ("batch_size = 3\nbatch-size = 4", "batch-size stands there twice"),
    ],
)
def test_wrong_numbers_and_texts_that_no_parser_takes_are_named(capsys, tmp_path, text, expected):
    """The file is blamed, not the flag that nobody wrote."""
    file = tmp_path / "my.toml"
    file.write_text(text)
    assert main(["activations", "digits", "--data", "digits", "--config", str(file)]) == 2
    assert capsys.readouterr().err == f"error: {file}: {expected}\n"


def test_a_flag_of_the_command_line_is_blamed_even_with_a_file(capsys, tmp_path):
    """Where the wrong value stands there."""
    file = tmp_path / "my.toml"
    file.write_text("scale = 0.5\n")
    assert main(["activations", "m", "--data", "digits", "--scale", "x", "--config", str(file)]) == 2
    assert capsys.readouterr().err.startswith("error: --scale: a number or a fraction")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--upsets-per-bit-day", "1e-7"], ["--upsets-per-bit-day"]),
        (["--upsets-per-bit-day=1e-7", "--end", "--average"], ["--upsets-per-bit-day", "--average/--end"]),
        (["--include", "a", "--include", "b", "--json"], []),
    ],
)
def test_of_a_value_that_is_given_twice_the_last_one_counts_which_is_said(capsys, more, said):
    """But of options that take several, and of switches that say the same again."""
    assert main(["rate", "--upsets-per-bit-day", "1e-6", "--scrub", "2d", "--json", *more]) == 0
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        f"warning: {each} is given more than once: the last one counts" for each in said
    ]
    assert json.loads(printed.out)["environment"]["upsets_per_bit_day"] == (1e-7 if said else 1e-6)


def test_a_file_that_is_not_there_is_one_line(capsys):
    """As every other wrong name."""
    assert main(["inspect", "digits", "--config", "missing.toml"]) == 2
    assert capsys.readouterr().err == (
        "error: missing.toml: options in TOML were expected: No such file or directory; check the path\n"
    )


def test_an_environment_is_found_beside_the_file_that_names_it(capsys, tmp_path, monkeypatch):
    """From wherever the command is called, and after saving too."""
    folder = tmp_path / "settings"
    folder.mkdir()
    (folder / "orbit.toml").write_text('upsets_per_bit_day = 1e-7\nexposure = "24h"\n')
    (folder / "my.toml").write_text('environment = "orbit.toml"\njson = true\n')
    monkeypatch.chdir(tmp_path)
    assert main(["rate", "--config", "settings/my.toml", "--save-config", "used.toml"]) == 0
    printed = capsys.readouterr().out
    assert '"rate": 9.99' in printed
    monkeypatch.chdir(folder)
    assert main(["rate", "--config", "../used.toml"]) == 0
    assert capsys.readouterr().out == printed


def test_a_real_command_does_the_same_with_the_saved_file(capsys, tmp_path):
    """Without anything else on its command line."""
    file = str(tmp_path / "used.toml")
    assert main(["inspect", "digits", "--roles", "bias", "--include", "block*", "--save-config", file]) == 0
    printed = capsys.readouterr().out
    assert main(["inspect", "--config", file]) == 0
    assert capsys.readouterr().out == printed


def test_nothing_is_saved_of_a_command_that_failed(tmp_path, capsys):
    """And one that could not save does not start."""
    file = tmp_path / "used.toml"
    assert main(["inspect", "missing.onnx", "--save-config", str(file)]) == 4
    assert not file.exists()
    capsys.readouterr()
    assert main(["inspect", "digits", "--save-config", str(tmp_path / "no" / "used.toml")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "there is no folder" in printed.err


def test_a_verdict_is_saved_though_it_is_no_success(received, tmp_path, monkeypatch):
    """Exit codes 1 and 3 of the gate are results."""
    file = tmp_path / "used.toml"
    module = importlib.import_module("ftonnx.cli.commands.inspect")

    def verdict():
        """Decide."""
        raise typer.Exit(3)

    monkeypatch.setattr(module, "inspect", verdict)
    assert main(["inspect", "--save-config", str(file)]) == 3
    assert file.read_text().startswith("# ftonnx inspect, version ")


def test_tables_reach_the_parser_of_a_repeated_option(tmp_path, monkeypatch):
    """As a gate's goals; they are written back as they came."""
    module = importlib.import_module("ftonnx.cli.commands.inspect")
    noted = []

    def parse(goal):
        return sorted(goal.items())

    def note(goals: Annotated[list[object] | None, typer.Option("--goals", hidden=True, parser=parse)] = None):
        """Note."""
        noted.append(goals)

    monkeypatch.setattr(module, "inspect", note)
    file = tmp_path / "gate.toml"
    file.write_text("[[goals]]\nmin_accuracy = 0.9\nrate = 1e-6\n\n[[goals]]\nmax_sdc = 0.01\n")
    saved = str(tmp_path / "used.toml")
    assert main(["inspect", "--config", str(file), "--save-config", saved]) == 0
    assert main(["inspect", "--config", saved]) == 0
    assert noted == [[[("min_accuracy", 0.9), ("rate", 1e-6)], [("max_sdc", 0.01)]]] * 2
