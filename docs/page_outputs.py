"""Runs the commands of pages, and the cells of the notebook, and writes what they print below them.

    python docs/page_outputs.py

On a page, the commands are the blocks marked `sh`, of which each line calls ftonnx or python; where a block marked
`text` follows, it gets what they print. All blocks of a page run in one empty folder, in which the examples lie, and
the files of the page: blocks marked `toml` whose first line is a comment with their name.
"""

import ast
import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Final

from ftonnx.cli import main as ftonnx

DOCS: Final = Path(__file__).parent
EXAMPLES: Final = DOCS.parent / "examples"
PAGES: Final = (DOCS / "tutorial.md", DOCS / "how-to" / "targets.md", DOCS / "memory-protection.md", DOCS / "advice.md")
NOTEBOOK: Final = EXAMPLES / "first-steps.ipynb"
_WIDTH: Final = 120
_FILE: Final = re.compile(r"^```toml\n(# (\w+\.toml)\n.*?)^```\n", re.MULTILINE | re.DOTALL)
_BLOCK: Final = re.compile(r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def with_outputs(page: str) -> str:
    """Return a page with what its commands print now; they run in the current folder.

    Raises:
        RuntimeError: a command fails, or is none that can be run here.
    """
    for content, name in _FILE.findall(page):
        Path(name).write_text(content, encoding="utf-8")
    parts = []
    end = 0
    for block in _BLOCK.finditer(page):
        commands, shown = block.groups()
        printed = "".join(_run(line) for line in commands.replace("\\\n", "").splitlines())
        parts.append(page[end : block.start()])
        parts.append(f"```sh\n{commands}```\n")
        if shown is not None:
            parts.append(f"\n```text\n{_tidy(printed)}```\n")
        end = block.end()
    return "".join([*parts, page[end:]])


def notebook_with_outputs(content: str) -> str:
    """Return a notebook with what its cells give now; they run in the current folder.

    Raises:
        Exception: whatever a cell raises.
    """
    notebook = json.loads(content)
    names: dict[str, Any] = {}
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(code, 1):
        cell["execution_count"] = number
        cell["outputs"] = _outputs("".join(cell["source"]), names, number)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


@contextmanager
def empty_folder() -> Iterator[Path]:
    """Work in a folder of its own, in which the examples lie."""
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        for example in EXAMPLES.glob("*.py"):
            shutil.copy(example, name)
        yield Path(name)


def _run(line: str) -> str:
    """Run a line of a shell, and return what it prints."""
    command, _, file = line.partition(" > ")
    program, *arguments = shlex.split(command)
    if program == "python":
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
        code, printed, said = done.returncode, done.stdout, done.stderr
    elif program == "ftonnx":
        code, printed, said = _ftonnx(arguments)
    else:
        raise RuntimeError(f"a line that calls ftonnx or python was expected, got {line}")
    if code:
        raise RuntimeError(f"{line} ended with {code}: {said}")
    if not file:
        return printed
    Path(file).write_text(printed, encoding="utf-8")
    return ""


def _ftonnx(arguments: list[str]) -> tuple[int, str, str]:
    """Run the command in this process: starting one takes longer than most of the work."""
    printed, said = io.StringIO(), io.StringIO()
    with redirect_stdout(printed), redirect_stderr(said):
        code = ftonnx(arguments)
    return code, printed.getvalue(), said.getvalue()


def _tidy(printed: str) -> str:
    """Return lines without spaces at their ends, long ones broken as terminals do, and no empty ones around them."""
    lines: list[str] = []
    for line in printed.splitlines():
        is_long = len(line.rstrip()) > _WIDTH
        lines += textwrap.wrap(line, _WIDTH, break_on_hyphens=False) if is_long else [line.rstrip()]
    return "\n".join(lines).strip("\n") + "\n"


def _outputs(source: str, names: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """Run a cell as a notebook does: what is printed, then the value of its last line."""
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    printed = io.StringIO()
    value = None
    with redirect_stdout(printed):
        exec(compile(ast.Module(body, []), "<cell>", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"name": "stdout", "output_type": "stream", "text": _lines(printed.getvalue())})
    if value is not None:
        outputs.append(
            {"data": _shown(value), "execution_count": number, "metadata": {}, "output_type": "execute_result"}
        )
    return outputs


def _shown(value: Any) -> dict[str, list[str]]:
    data = {"text/plain": _lines(repr(value))}
    if hasattr(value, "_repr_html_"):
        data = {"text/html": _lines(value._repr_html_()), **data}
    return data


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


if __name__ == "__main__":
    os.environ["COLUMNS"] = str(_WIDTH)
    for page in PAGES:
        with empty_folder():
            written = with_outputs(page.read_text(encoding="utf-8"))
        page.write_text(written, encoding="utf-8")
    with empty_folder():
        written = notebook_with_outputs(NOTEBOOK.read_text(encoding="utf-8"))
    NOTEBOOK.write_text(written, encoding="utf-8")
