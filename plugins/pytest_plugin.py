"""pytest: the fixture ``ftonnx_campaign`` and the assertion ``assert_fault_tolerant``.

pytest loads this module wherever ftonnx is installed, so it imports nothing but pytest until a test asks for more.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ftonnx.campaign import CampaignResult
    from ftonnx.gates import GateVerdict

__all__ = ["assert_fault_tolerant"]


def assert_fault_tolerant(model: Any, data: Any, goals: Sequence[Any], **settings: Any) -> "GateVerdict":
    """Fail the test unless a model reaches its goals under bit flips; as many patterns are run as the verdict needs.

    Args:
        model: as in ``ftonnx.gate``.
        data: as in ``ftonnx.gate``.
        goals: as in ``ftonnx.gate``; all must be reached.
        **settings: further arguments of ``ftonnx.gate``, such as ``confidence`` and ``budget``.

    Returns:
        The verdict, which is PASS.

    Raises:
        AssertionError: the verdict is FAIL or INCONCLUSIVE; the message has a line for every goal.
        FtonnxError: one of its children, for anything wrong with the arguments, the model or the data.
    """
    __tracebackhide__ = True
    from ftonnx.gates import gate

    verdict = gate(model, data, goals, **settings)
    if verdict.verdict != "PASS":
        raise AssertionError(f"{verdict}\nresults: {verdict.results}")
    return verdict


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that says where campaigns are kept."""
    parser.getgroup("ftonnx").addoption(
        "--ftonnx-results",
        metavar="DIR",
        type=Path,
        help="Keep the campaigns of ftonnx's fixtures in DIR/TEST, where finished ones are read and unfinished ones "
        "continued. [default: the test's tmp_path]",
    )


@pytest.fixture(name="_ftonnx_folders")
def _folders(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """The results folders of one test, a new one each time."""
    kept: Path | None = request.config.getoption("--ftonnx-results")
    folder = tmp_path if kept is None else kept / _folder_name(request.node.nodeid)
    return (folder / f"campaign-{number}" for number in count())


@pytest.fixture
def ftonnx_campaign(_ftonnx_folders: Iterator[Path]) -> "Callable[..., CampaignResult]":
    """``ftonnx.evaluate``, with its results in the test's folder."""

    def campaign(model: Any, data: Any, **settings: Any) -> "CampaignResult":
        from ftonnx.campaign import evaluate

        return evaluate(model, data, **({"results": next(_ftonnx_folders)} | settings))

    return campaign


@pytest.fixture(name="assert_fault_tolerant")
def _assertion(_ftonnx_folders: Iterator[Path]) -> "Callable[..., GateVerdict]":
    """``assert_fault_tolerant``, with its results in the test's folder."""

    def check(model: Any, data: Any, goals: Sequence[Any], **settings: Any) -> "GateVerdict":
        __tracebackhide__ = True
        return assert_fault_tolerant(model, data, goals, **({"results": next(_ftonnx_folders)} | settings))

    return check


def _folder_name(nodeid: str) -> str:
    """Return a test's name as the name of a folder.

    >>> _folder_name("tests/test_model.py::test_it[a/b]")
    'tests-test_model.py-test_it-a-b'
    """
    return re.sub(r"[^\w.]+", "-", nodeid).strip("-")
