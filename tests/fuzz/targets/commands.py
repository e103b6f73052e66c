"""The command line as a reader: what it makes of anything wrong is an exit code and a line."""

from campaign_kit import cli

from ftonnx.errors import FtonnxError

_REFUSED = (2, 4, 5)
_VERDICTS = (0, 1, 3)


class Refused(FtonnxError):
    """A command ended with a line on stderr."""


class Unforeseen(Exception):
    """A command ended in a way that it promises not to."""


def run_command(*arguments):
    """Run a command in this process.

    Raises:
        Refused: it said why it did not do what was asked for.
        Unforeseen: it ended otherwise.
    """
    finished = cli(*arguments)
    if finished.code in _VERDICTS:
        return
    lines = [line for line in finished.err.splitlines() if line.startswith("error: ")]
    if finished.code in _REFUSED and len(lines) == 1:
        raise Refused(lines[0])
    raise Unforeseen(f"exit code {finished.code}: {finished.err[-1000:]}")
