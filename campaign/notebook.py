"""Results as small HTML tables, which notebooks show."""

import html
from collections.abc import Iterable, Sequence

__all__ = ["html_table"]


def html_table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return an HTML table; text is shown as it is, never as markup.

    >>> html_table("net", ["rate"], [["<1e-6"]])
    '<table><caption>net</caption><tr><th>rate</th></tr><tr><td>&lt;1e-6</td></tr></table>'
    """
    head = "".join(f"<th>{html.escape(title)}</th>" for title in header)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><caption>{html.escape(caption)}</caption><tr>{head}</tr>{body}</table>"
