"""What MkDocs does besides: measured table and examples, which lie outside ``docs/``, become part of the site."""

import sys
from pathlib import Path
from typing import Any, Final

from mkdocs.structure.files import File, Files

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = "measurements.md"
OUTSIDE: Final = {"benchmarks/README.md": PAGE, "benchmarks/)": f"{PAGE})", "examples/": "examples/"}


def on_startup(**_: Any) -> None:
    """Hide the folder of scripts, where mkdocstrings would take the command ``ftonnx`` for the package."""
    scripts = Path(sys.executable).parent
    sys.path[:] = [folder for folder in sys.path if Path(folder) != scripts]


def on_files(files: Files, config: Any) -> Files:
    """Add ``benchmarks/README.md`` under a name of the site, and the examples under their own."""
    table = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, PAGE, content=table.replace("](../docs/", "](")))
    for path in sorted(path for path in (ROOT / "examples").rglob("*") if path.is_file()):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), content=path.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links to these files, which are right in the repository, lead to where they are on the site."""
    up = "../" * page.file.src_uri.count("/")
    for outside, inside in OUTSIDE.items():
        markdown = markdown.replace(f"]({up}../{outside}", f"]({up}{inside}")
    return markdown
