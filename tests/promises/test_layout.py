"""The shape of the repository: packages, rooms, and who may import whom."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_SHIPPED = {"tests", "benchmarks", "docs", "examples", "build", "dist"}
GROUND_FLOOR = {"files", "samples", "words"}
"""Rooms that every room may import."""

ROOMS = {
    "words": set(),
    "files": set(),
    "samples": set(),
    "sessions": set(),
    "graphs": set(),
    "stats": set(),
    "environment": set(),
    "tasks": set(),
    "datasets": set(),
    "models": set(),
    "export": {"sessions", "graphs"},
    "quant": {"sessions", "graphs"},
    "inject": {"graphs", "models"},
    "runtime": {"sessions", "graphs", "inject"},
    "campaign": {"sessions", "stats", "environment", "tasks", "datasets", "models", "inject", "runtime"},
    "gates": {"stats", "environment", "tasks", "datasets", "inject", "campaign"},
    "mitigate": {
        "sessions", "stats", "tasks", "datasets", "models", "export", "quant", "inject", "runtime", "campaign",
    },
    "training": {"tasks", "datasets", "models", "export", "quant"},
    "advice": {"stats", "tasks", "datasets", "inject", "campaign", "gates"},
    "report": {"stats", "environment", "tasks", "inject", "campaign", "training", "advice"},
    "studies": {
        "stats", "tasks", "datasets", "models", "export", "quant", "inject", "campaign", "mitigate", "training",
        "report",
    },
    "plugins": {"stats", "campaign", "gates", "report"},
    "cli": {
        "sessions", "stats", "environment", "tasks", "datasets", "models", "export", "quant", "inject", "runtime",
        "campaign", "gates", "mitigate", "training", "advice", "report", "studies", "plugins",
    },
}  # fmt: skip
"""Which rooms a room may import, besides ``ftonnx.errors``, the ground floor and itself (design, section 2)."""

TORCH_ROOMS = {"models", "export", "training"}


def _packages():
    """Folders with an ``__init__.py`` that are shipped, as dotted names below ftonnx."""
    folders = (path.parent.relative_to(ROOT) for path in ROOT.rglob("__init__.py"))
    return {
        ".".join(("ftonnx", *folder.parts))
        for folder in folders
        if not (set(folder.parts) & NOT_SHIPPED) and not any(part.startswith(".") for part in folder.parts)
    }


def _modules():
    """Every shipped Python file, by path relative to the root."""
    found = [ROOT / "__init__.py", ROOT / "__main__.py", ROOT / "errors.py", ROOT / "limits.py"]
    found += [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    return {str(path.relative_to(ROOT)): path for path in found}


def _imports(path):
    """Every module that a file imports, wherever in the file; ``from a import b`` counts as a and a.b."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _rooms_imported(path):
    return {name.split(".")[1] for name in _imports(path) if name.startswith("ftonnx.")} & ROOMS.keys()


def test_the_packages_in_pyproject_are_the_folders():
    """A folder that is not listed would be missing from the wheel."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert settings["package-dir"] == {"ftonnx": "."}
    assert sorted(settings["packages"]) == settings["packages"]
    assert set(settings["packages"]) == _packages()


def test_every_room_is_known_to_the_import_rule():
    """A new room needs a line in the table of this test."""
    assert {name.split(".")[1] for name in _packages() if "." in name} <= ROOMS.keys()


def _allowed(room):
    """Rooms that a room may import; on the ground floor, files may use words."""
    ground = {"words"} if room == "files" else set() if room == "words" else GROUND_FLOOR
    return ROOMS[room] | ground | {room}


@pytest.mark.parametrize("module", _modules())
def test_imports_point_upward_only(module):
    """A room imports itself, the errors, and what the table allows; nobody imports the command line."""
    room = Path(module).parts[0] if "/" in module else None
    imported = _rooms_imported(ROOT / module)
    if module == "__main__.py":
        assert imported == {"cli"}
    elif module in {"errors.py", "limits.py"}:
        assert imported == set()
    elif room is not None:
        assert imported <= _allowed(room)
        assert "ftonnx" not in _imports(ROOT / module), "import from the room, not from the package"
    else:
        assert "cli" not in imported


@pytest.mark.parametrize("module", _modules())
def test_no_room_is_imported_by_its_bare_name(module):
    """``import inject`` would work only by accident of the current folder."""
    bare = {name.split(".")[0] for name in _imports(ROOT / module)} & (ROOMS.keys() | {"errors"})
    assert not bare


@pytest.mark.parametrize("module", _modules())
def test_torch_is_imported_only_where_it_belongs(module):
    """Evaluating an ONNX file needs no torch."""
    roots = {name.split(".")[0] for name in _imports(ROOT / module)}
    assert Path(module).parts[0] in TORCH_ROOMS or not roots & {"torch", "torchvision", "onnxscript"}


def test_the_fault_core_knows_no_sessions_and_the_data_sets_no_models():
    """No ONNX Runtime in either, no onnx in ``datasets``, typer only in ``cli``, quantization only in ``quant``."""
    for module, path in _modules().items():
        roots = {name.split(".")[0] for name in _imports(path)}
        if module.startswith(("inject/", "datasets/")):
            assert "onnxruntime" not in roots, module
        if module.startswith("datasets/"):
            assert "onnx" not in roots, module
        if not module.startswith("cli/"):
            assert not roots & {"typer", "rich"}, module
        if not module.startswith("quant/"):
            assert not any(name.startswith("onnxruntime.quantization") for name in _imports(path)), module


def test_sessions_are_opened_in_one_room():
    """Elsewhere nobody calls ONNX Runtime's own class, and graphs are edited without it."""
    for module, path in _modules().items():
        opened = [node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
        assert module.startswith("sessions/") or "InferenceSession" not in opened, module
        roots = {name.split(".")[0] for name in _imports(path)}
        assert "onnxruntime" not in roots or module.startswith(("sessions/", "runtime/", "quant/", "campaign/")), module


COMMAND_LINE = {"cli", "report", "plugins", "inject", "models"}
"""Rooms that speak of commands: reports say how to repeat one, fault models describe their options."""


@pytest.mark.parametrize("module", _modules())
def test_errors_name_parameters_and_not_flags(module):
    """The command line translates what stands between backquotes; a program has no flags."""
    room = Path(module).parts[0]
    if room in COMMAND_LINE:
        return
    for node in ast.walk(ast.parse((ROOT / module).read_text())):
        if isinstance(node, ast.Raise):
            texts = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
            flags = [text for text in texts if isinstance(text, str) and re.search(r"(?<!\w)--[a-z]", text)]
            assert not flags


def test_only_three_python_files_lie_at_the_root():
    """Everything else lives in a room."""
    assert sorted(path.name for path in ROOT.glob("*.py")) == ["__init__.py", "__main__.py", "errors.py", "limits.py"]


@pytest.mark.parametrize("module", _modules())
def test_files_stay_readable(module):
    """Under about 400 lines, and no function over 60."""
    text = (ROOT / module).read_text()
    assert len(text.splitlines()) <= 420
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and not module.startswith("cli/"):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            assert not body or body[-1].end_lineno - body[0].lineno < 60, node.name


@pytest.mark.parametrize("module", _modules())
def test_every_module_says_what_it_is_for(module):
    """The first statement is a docstring."""
    assert ast.get_docstring(ast.parse((ROOT / module).read_text()))


def test_the_library_does_not_print_and_does_not_configure_logging():
    """Except for the command line, whose job it is."""
    for module, path in _modules().items():
        if module.startswith("cli/"):
            continue
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        script = "__main__" in path.read_text()
        assert script or not any(isinstance(call, ast.Name) and call.id == "print" for call in calls), module
        assert not any(isinstance(call, ast.Attribute) and call.attr == "basicConfig" for call in calls), module


def test_every_test_has_one_sentence_and_a_speaking_name():
    """In tests/<room>/test_<module>.py, in a contract's kit, or named after a promise of the whole project."""
    paths = sorted((ROOT / "tests").rglob("*.py"))
    assert paths
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"
                assert node.name.count("_") >= 3, f"{path.name}: {node.name}"
