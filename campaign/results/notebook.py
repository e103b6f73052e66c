"""Results as small HTML tables, which notebooks show."""

import html
from collections.abc import Iterable, Sequence

__all__ = ["html_table"]


def html_table(
    caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, warnings: Sequence[str] = ()
) -> str:
    """Return an HTML table, below what its reader must know first; text is shown as it is, never as markup.

    >>> html_table("net", ["rate"], [["<1e-6"]])
    '<table><caption>net</caption><tr><th>rate</th></tr><tr><td>&lt;1e-6</td></tr></table>'
    """
    head = "".join(f"<th>{html.escape(title)}</th>" for title in header)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    said = "".join(f"<p><strong>Warning:</strong> {html.escape(warning)}.</p>" for warning in warnings)
    return f"{said}<table><caption>{html.escape(caption)}</caption><tr>{head}</tr>{body}</table>"
