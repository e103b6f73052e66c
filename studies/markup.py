"""The tables of a study in Markdown and LaTeX."""

from collections.abc import Mapping, Sequence
from typing import Final

from ftonnx.report import markdown_text
from ftonnx.studies.marks import SIGNS, Mark
from ftonnx.studies.sheets import MISSING, Sheet, Shown
from ftonnx.words import printable

__all__ = ["latex_of", "markdown_of"]

_LATEX: Final = {char: f"\\{char}" for char in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
_IN_MARKDOWN: Final = {
    Mark.BEST: "**{}**",
    Mark.SECOND: "*{}*",
    Mark.OVERLAPS: "{}†",
    Mark.BETTER: "{} ↑",
    Mark.WORSE: "{} ↓",
    Mark.WITHIN: "{} =",
    Mark.APART: "{} ≠",
}
_IN_LATEX: Final = {
    Mark.BEST: r"\textbf{{{}}}",
    Mark.SECOND: r"\textit{{{}}}",
    # beside the column, so that the digits stay below each other
    Mark.OVERLAPS: r"{}\rlap{{$^\dagger$}}",
    Mark.BETTER: r"{}\rlap{{$\,\uparrow$}}",
    Mark.WORSE: r"{}\rlap{{$\,\downarrow$}}",
    Mark.WITHIN: r"{}\rlap{{$\,=$}}",
    Mark.APART: r"{}\rlap{{$\,\neq$}}",
}
_LATEX_SIGNS: Final = {
    **SIGNS,
    Mark.OVERLAPS: r"$\dagger$",
    Mark.BETTER: r"$\uparrow$",
    Mark.WORSE: r"$\downarrow$",
    Mark.WITHIN: "$=$",
    Mark.APART: r"$\neq$",
}


def markdown_of(title: str, sheets: Sequence[Sheet]) -> str:
    """Return sheets in Markdown: the best bold, the second best in italics, daggers where intervals overlap."""
    parts = [f"# {markdown_text(printable(title))}"]
    for sheet in sheets:
        lines = [
            [markdown_text(each) for each in (*sheet.names, *sheet.columns)],
            [*[":---"] * len(sheet.names), *["---:"] * len(sheet.columns)],
        ]
        for row in sheet.rows:
            lines.append([*map(markdown_text, row.names), *map(_in_markdown, row.cells)])
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts.append(f"## {markdown_text(printable(sheet.title))}\n\n{body}")
    legends = dict.fromkeys(sheet.legend(SIGNS) for sheet in sheets)
    return "\n\n".join([*parts, *legends]) + "\n"


def _in_markdown(cell: Shown) -> str:
    text = f"{cell.text} ({cell.below})" if cell.below else cell.text
    return _marked(text, cell.mark, _IN_MARKDOWN)


def _marked(text: str, mark: Mark, styles: Mapping[Mark, str]) -> str:
    """Put a text into the styles of its marks, one around the other.

    >>> _marked("98.00", Mark.SECOND | Mark.OVERLAPS, _IN_MARKDOWN)
    '*98.00*†'
    """
    for each in mark:
        text = styles[each].format(text)
    return text


def latex_of(sheets: Sequence[Sheet]) -> str:
    """Return sheets in LaTeX, for the package booktabs, with a rule between models."""
    parts = ["% needs \\usepackage{booktabs}"]
    for sheet in sheets:
        head = " & ".join(map(_latex, (*sheet.names, *sheet.columns)))
        caption = f"{_latex(sheet.title)}. {sheet.legend(_LATEX_SIGNS)}"
        lines = [
            r"\begin{table}",
            r"\centering",
            f"\\caption{{{caption}}}",
            f"\\begin{{tabular}}{{{'l' * len(sheet.names)}{'r' * len(sheet.columns)}}}",
            r"\toprule",
            f"{head} \\\\",
            *_latex_rows(sheet),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _latex_rows(sheet: Sheet) -> list[str]:
    """Return the lines of the rows: a rule before each model, whose name stands in its first row only."""
    lines = []
    model = None
    for row in sheet.rows:
        names = [_latex(name) for name in row.names]
        if model is None or (len(names) > 1 and names[0] != model):
            lines.append(r"\midrule")
        elif len(names) > 1:
            names[0] = ""
        model = _latex(row.names[0])
        numbers = " & ".join([*names, *map(_in_latex, row.cells)])
        if any(cell.below for cell in row.cells):
            small = [f"{{\\scriptsize {_minus(cell.below)}}}" if cell.below else "" for cell in row.cells]
            below = " & ".join([*[""] * len(names), *small])
            # closer to its numbers than to the next row
            lines += [f"{numbers} \\\\[-0.5ex]", f"{below} \\\\"]
        else:
            lines.append(f"{numbers} \\\\")
    return lines


def _in_latex(cell: Shown) -> str:
    text = "--" if cell.text == MISSING else _minus(cell.text)
    return _marked(text, cell.mark, _IN_LATEX)


def _minus(text: str) -> str:
    """Return a number with signs as wide as digits, of which a hyphen is none."""
    return text.replace("-", "$-$").replace("+", "$+$")


def _latex(text: str) -> str:
    r"""Return a text that LaTeX prints as it is.

    >>> _latex("a_b 50 %")
    'a\\_b 50 \\%'
    """
    return "".join(_LATEX.get(char, char) for char in printable(text))
