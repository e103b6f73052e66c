"""What is checked before a training: the names of the files."""

from pathlib import Path

from ftonnx.errors import UsageError
from ftonnx.files import check_not_overwritten, check_target
from ftonnx.training.records import LOG_ENDING

__all__ = ["checked_log_path"]


def checked_log_path(output: Path, *sources: Path) -> Path:
    """Return where the log of a training lies: beside its output.

    Args:
        output: what the training writes.
        sources: checkpoints that it starts from.

    Raises:
        UsageError: the output cannot be written, has the name of its own log, or is a source.
    """
    check_target(output)
    log = output.with_suffix(LOG_ENDING)
    if log == output:
        raise UsageError(f"{output}: this is the name of the log, which lies beside the output; choose another suffix")
    for source in sources:
        if source.exists():
            check_not_overwritten(output, source, "the checkpoint that it starts from")
    return log
