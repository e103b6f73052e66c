"""Options that ``ftonnx inject --results DIR`` leaves out: without model and data, they are as recorded there."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ftonnx.errors import UsageError

__all__ = ["recorded_arguments"]

_OTHER_FAULTS: Final = "environment"
"""The option besides those of the fault models that says what flips."""


def recorded_arguments(given: Mapping[str, Any]) -> list[str]:
    """Return the arguments of the recorded campaign that those given leave out; none where there is no such campaign.

    Args:
        given: what stands on the command line, by parameter.

    Raises:
        UsageError: model or data were never a file, or the list of the faults is not given, whose name is not recorded.
        StoreError: the folder is damaged.
    """
    if given.get("results") is None or any(given.get(name) is not None for name in ("model", "data")):
        return []
    from ftonnx.campaign.store.header_file import read_header  # not by --help and --version, which are to be quick

    results = Path(given["results"])
    header = read_header(results)
    if header is None:
        return []
    from ftonnx.cli.fault_options import is_given
    from ftonnx.cli.output import note
    from ftonnx.inject import FAULT_MODELS, FaultList
    from ftonnx.report.command import header_arguments  # charts come with it

    known = {option.name for kind in FAULT_MODELS for option in kind.options} | {_OTHER_FAULTS}
    asked = {name for name in known if is_given(given.get(name))}
    if isinstance(header.faults, FaultList) and not asked:
        raise UsageError(f"{results} was recorded with a fault list, whose file it does not know: give --fault-list")
    arguments = header_arguments(header, asked=asked, plan=str(results))
    if arguments is None:
        raise UsageError(f"{results} was recorded on a model or data of a Python program: give MODEL and --data")
    note(f"as recorded: {shlex.join(arguments)}")
    return arguments
