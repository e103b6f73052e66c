"""The worked examples in all docstrings give what they show."""

import doctest
import importlib
import pkgutil

import pytest

import ftonnx

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
NOT_CODE_OF_THE_PACKAGE = ("ftonnx.tests", "ftonnx.benchmarks", "ftonnx.docs", "ftonnx.build", "ftonnx.__main__")
NEEDS_TORCH = ("ftonnx.models.digits", "ftonnx.models.train_digits", "ftonnx.export.")


def _names():
    """Every module of the package, found without importing it."""
    waiting = [("ftonnx.", list(ftonnx.__path__))]
    while waiting:
        prefix, paths = waiting.pop()
        for module in pkgutil.iter_modules(paths, prefix):
            if not module.name.startswith(NOT_CODE_OF_THE_PACKAGE):
                yield module.name
                if module.ispkg:
                    waiting.append((f"{module.name}.", [f"{path}/{module.name.split('.')[-1]}" for path in paths]))


@pytest.mark.parametrize("name", sorted(_names()))
def test_examples_in_docstrings_run(name):
    """Each module's own examples."""
    if name.startswith(NEEDS_TORCH):
        pytest.importorskip("torch")
    assert doctest.testmod(importlib.import_module(name), optionflags=OPTIONS).failed == 0


def test_the_numeric_core_has_worked_examples():
    """Formats, sampling, faults, layout and statistics show at least one each."""
    for name in ("inject.formats", "inject.fault_models", "inject.faults", "runtime.layout.places", "stats.patterns"):
        assert doctest.testmod(importlib.import_module(f"ftonnx.{name}"), optionflags=OPTIONS).attempted > 0, name
