"""What ``import ftonnx`` offers, and what it does not load."""

import ast
import dataclasses
import importlib
import importlib.resources
import inspect
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import ftonnx

ROOMS = [
    module.name
    for module in pkgutil.iter_modules(ftonnx.__path__)
    if module.ispkg and module.name not in ("tests", "benchmarks", "docs", "build")
]


def loaded_by(code, folder):
    """Run code in a fresh interpreter and return the names of the modules it has loaded."""
    report = "\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code + report], cwd=folder, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


LAZINESS = {"Any", "TYPE_CHECKING", "import_module"}  # what a lazy __init__ needs itself
HEAVY = {"torch", "torchvision", "onnxruntime", "onnx", "numpy", "scipy", "rich", "typer", "PIL"}


def test_importing_the_package_loads_nothing_heavy(tmp_path):
    """Neither torch nor ONNX Runtime, not even numpy."""
    assert not loaded_by("import ftonnx", tmp_path) & HEAVY


def test_dir_and_errors_load_nothing_heavy(tmp_path):
    """Completion in an editor and catching errors cost nothing."""
    assert not loaded_by("import ftonnx; dir(ftonnx); ftonnx.FtonnxError; ftonnx.ModelError", tmp_path) & HEAVY


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("FaultSpace", {"onnxruntime", "torch", "scipy", "typer", "PIL"}),
        ("load_dataset", {"onnxruntime", "onnx", "torch", "scipy", "typer", "PIL"}),
        ("FaultySession", {"torch", "scipy", "typer"}),
        ("evaluate", {"torch", "typer", "rich"}),
    ],
)
def test_a_name_loads_its_own_room_and_not_more(tmp_path, name, absent):
    """The fault core comes without a runtime, the data without models, evaluating without the command line."""
    assert not loaded_by(f"import ftonnx; ftonnx.{name}", tmp_path) & absent


def test_the_main_job_never_imports_torch(tmp_path):
    """``ftonnx inject`` from parsing to the table."""
    code = (
        "from ftonnx.cli import main\n"
        "assert main(['-q', 'inject', '--rate', '1e-5', '--limit', '20', '--repeats', '2', '--results', 'r']) == 0"
    )
    modules = loaded_by(code, tmp_path)
    assert "onnxruntime" in modules
    assert not modules & {"torch", "torchvision", "onnxscript", "sklearn", "PIL"}


def test_without_torch_everything_but_torch_rooms_imports(tmp_path):
    """An installation of the core alone is complete."""
    code = (
        "import sys\n"
        "for name in ('torch', 'torchvision', 'onnxscript', 'sklearn', 'hypothesis', 'pytest'):\n"
        "    sys.modules[name] = None\n"
        "import ftonnx\n"
        "for name in ftonnx.__all__:\n"
        "    getattr(ftonnx, name)\n"
        "import ftonnx.cli"
    )
    assert "ftonnx.cli" in loaded_by(code, tmp_path)


def test_every_public_name_resolves_to_the_rooms_own_object():
    """Lazily exported names are the same objects as in their rooms."""
    for room, names in ftonnx._ROOMS.items():
        for name in names:
            assert getattr(ftonnx, name) is getattr(importlib.import_module(f"ftonnx.{room}"), name)


def test_the_list_of_public_names_is_what_is_exported():
    """__all__, dir(), the lazy table and the imports for type checkers agree."""
    source = ast.parse(Path(ftonnx.__file__).read_text())
    for_checkers = {
        alias.name
        for node in source.body
        if isinstance(node, ast.If)
        for statement in node.body
        for alias in statement.names
    }
    lazy = {name for names in ftonnx._ROOMS.values() for name in names}
    assert set(ftonnx.__all__) == lazy == for_checkers == set(dir(ftonnx))
    assert sorted(ftonnx.__all__) == sorted(set(ftonnx.__all__))
    assert {"evaluate", "CampaignResult", "FaultSpace", "FaultySession", "load_dataset"} <= lazy


def test_an_unknown_name_is_an_attribute_error():
    """With the package's and the name's name in the message."""
    with pytest.raises(AttributeError, match="'ftonnx' has no attribute 'evaluat'"):
        ftonnx.evaluat  # noqa: B018


@pytest.mark.parametrize("room", ROOMS)
def test_a_rooms_list_of_public_names_is_what_it_defines(room):
    """Public names in the room's __init__, submodules aside, are exactly those of __all__.

    Names with an @ are pytest's: it rewrites the modules of installed plugins.
    """
    module = importlib.import_module(f"ftonnx.{room}")
    submodules = {inner.name for inner in pkgutil.iter_modules(module.__path__)}
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith(("_", "@")) and (name not in submodules or not isinstance(value, type(sys)))
    }
    assert public - LAZINESS <= set(module.__all__)
    assert len(module.__all__) == len(set(module.__all__))
    for name in module.__all__:
        later = {*getattr(module, "_NEEDS_TORCH", ()), *getattr(module, "_MODULE_OF", ())}
        assert name in public or name in later, name


@pytest.mark.parametrize("room", ROOMS)
def test_every_module_of_a_room_defines_what_it_lists(room):
    """__all__ of a module names things that exist, and that it defines itself or gathers for the room."""
    package = importlib.import_module(f"ftonnx.{room}")
    for inner in pkgutil.walk_packages(package.__path__, f"ftonnx.{room}."):
        if inner.name in ("ftonnx.models.train_digits", "ftonnx.models.digits"):
            pytest.importorskip("torch")
        module = importlib.import_module(inner.name)
        for name in getattr(module, "__all__", ()):
            assert hasattr(module, name), f"{inner.name}.{name}"


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_object_is_documented(room):
    """Classes and functions that a room offers have docstrings."""
    module = importlib.import_module(f"ftonnx.{room}")
    if hasattr(module, "_NEEDS_TORCH"):
        pytest.importorskip("torch")
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, type) or callable(value):
            assert value.__doc__, f"{room}.{name}"


def test_the_errors_are_one_tree_with_exit_codes():
    """2 for usage, 4 for what came from outside; one base to catch."""
    codes = {"UsageError": 2, "ModelError": 4, "DataError": 4, "StoreError": 4, "IncompleteError": 5}
    for name, code in codes.items():
        error = getattr(ftonnx, name)
        assert issubclass(error, ftonnx.FtonnxError)
        assert error("x").exit_code == code
    assert ftonnx.Interrupted("x", 15).exit_code == 143
    assert ftonnx.Interrupted("x").exit_code == 130
    assert issubclass(ftonnx.UsageError, ValueError)


def test_the_package_is_typed():
    """py.typed is shipped."""
    assert (importlib.resources.files("ftonnx") / "py.typed").is_file()


MOST_PARAMETERS = 8


def is_function(value):
    """Say whether a value is a function or a method written in Python."""
    return inspect.isfunction(value) or inspect.ismethod(value)


def public_callables():
    """Every function and method that ftonnx or a room offers by name, but not the making of values and errors."""
    found = {}
    for module in ["ftonnx", *(f"ftonnx.{room}" for room in ROOMS)]:
        for name in importlib.import_module(module).__all__:
            offered = getattr(importlib.import_module(module), name)
            if inspect.isclass(offered):
                methods = [key for key in vars(offered) if not key.startswith("_")]
                found |= {f"{name}.{key}": getattr(offered, key) for key in methods}
            is_error = inspect.isclass(offered) and issubclass(offered, BaseException)
            if not dataclasses.is_dataclass(offered) and not is_error:
                found[name] = offered
    return {name: each for name, each in found.items() if inspect.isclass(each) or is_function(each)}


def test_no_public_call_has_more_than_eight_parameters():
    """Of evaluate and gate besides the settings, which may be given by name; whoever needs more takes a value."""
    widths = {}
    for name, each in public_callables().items():
        parameters = inspect.signature(each).parameters.values()
        widths[name] = sum(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters)
    assert {"evaluate", "FaultySession", "FaultySession.from_shared", "FaultSpace.of", "load_dataset"} <= widths.keys()
    assert {name: width for name, width in widths.items() if width > MOST_PARAMETERS} == {}
