"""Writes docs/reference/cli.md, the options of every command, from the commands' own help texts.

python docs/cli_reference.py
"""

from pathlib import Path
from typing import Any, Final

import typer

from ftonnx.cli import app
from ftonnx.cli.examples import EXAMPLES
from ftonnx.cli.lazy import SUMMARIES

PAGE: Final = Path(__file__).parent / "reference" / "cli.md"
_HEAD: Final = ["| | | default |", "|---|---|---|"]
_START: Final = """# Options of every command

Written by `python docs/cli_reference.py` from the texts that `ftonnx COMMAND --help` prints. What the commands do and
print, and their exit codes: [commands](../commands.md).
"""


def page() -> str:
    """Return the whole page."""
    group: Any = typer.main.get_command(app)
    commands = {f"ftonnx {name}": group.get_command(None, name) for name in SUMMARIES}
    return "\n".join([_START, *(_section(title, command) for title, command in {"ftonnx": group, **commands}.items())])


def _section(title: str, command: Any) -> str:
    parameters = [each for each in command.params if not each.hidden]
    arguments = [each for each in parameters if _is_argument(each)]
    usage = " ".join([title, *map(_place, arguments)]) if arguments else f"{title} COMMAND"
    rows = [_row(each) for each in parameters]
    examples = "\n".join(EXAMPLES[title.removeprefix("ftonnx ")])
    shown = ["```sh", examples, "```", "", *_HEAD, *rows, ""]
    return "\n".join([f"## {title}", "", f"    {usage}", "", _text(command.help), "", *shown])


def _place(argument: Any) -> str:
    """Return how an argument stands on a command line, in brackets where it can be left out."""
    return _value(argument) if argument.required else f"[{_value(argument)}]"


def _row(parameter: Any) -> str:
    """Return one argument or option as a row: its name, what it means, its default."""
    text, _, described = (parameter.help or "").partition("\\[default: ")
    return f"| {_names(parameter)} | {_text(text)} | {_text(described.removesuffix(']')) or _default(parameter)} |"


def _names(parameter: Any) -> str:
    if _is_argument(parameter):
        return f"`{_value(parameter)}`"
    names = [*sorted(parameter.opts, key=len), *parameter.secondary_opts]
    if not (parameter.is_flag or parameter.count):
        names[-1] += f" {_value(parameter)}"
    return ", ".join(f"`{name}`" for name in names).replace("|", "\\|")


def _value(parameter: Any) -> str:
    """Return what stands for a value, such as FILE.csv."""
    text = str(parameter.metavar or parameter.name.upper())
    return text if parameter.nargs == 1 or text.endswith("...") else f"{text}..."


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if parameter.default in (None, "") or getattr(parameter, "is_flag", False) or getattr(parameter, "count", False):
        return ""
    return f"`{parameter.default}`"


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _text(text: str) -> str:
    """Return a help text as Markdown that fits into a cell of a table."""
    shown = "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    for special in "|*<":
        shown = shown.replace(special, f"\\{special}")
    return shown


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
