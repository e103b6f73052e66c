"""Opening a model with loops in a process of its own first, which can be ended where ONNX Runtime cannot."""

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ftonnx.errors import FtonnxError, ModelError
from ftonnx.files import scratch_folder
from ftonnx.inject import FaultSpace, OnnxModel
from ftonnx.runtime.session import FaultySession
from ftonnx.sessions import STUCK, TimeLimit, exit_when_stuck

__all__ = ["require_end"]

_PART: Final = "rehearsal.pickle"
_START: Final = "import sys; sys.path[:] = sys.argv[2:]; from ftonnx.runtime.rehearsal import main; main(sys.argv[1])"


def require_end(model: OnnxModel, space: FaultSpace, seconds: float, options: Mapping[str, Any]) -> None:
    """Open a session as ``FaultySession(model, space, **options)`` does, elsewhere, to see that it ends.

    Args:
        model: the model.
        space: its fault space.
        seconds: that each run may take.
        options: of the session.

    Raises:
        ModelError: a run did not end.
    """
    with scratch_folder() as folder:
        part = folder / _PART
        part.write_bytes(pickle.dumps((model, space, seconds, dict(options))))
        process = subprocess.Popen(
            [sys.executable, "-c", _START, str(part), *map(str, sys.path)],
            stdin=subprocess.PIPE,  # whose end tells it that this process has ended
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # what it says is said once more here
            process_group=0,  # out of the reach of Ctrl-C, which is for this process
        )
        try:
            code = process.wait()
        finally:
            process.kill()
            process.communicate()
    if code == STUCK:
        raise ModelError(
            f"the model does not end: a run took more than {seconds:.3g} s (`unit_timeout`) while it was opened, and "
            "ONNX Runtime cannot end it; a loop without a node in its body may be the cause"
        )


def main(part: str) -> None:
    """Open the session; what goes wrong but for time does so in the first process too."""
    exit_when_stuck()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    model, space, seconds, options = pickle.loads(Path(part).read_bytes())
    with suppress(FtonnxError), TimeLimit(seconds):
        FaultySession(model, space, **options)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)
