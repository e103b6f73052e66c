"""The built site: what a reader of the pages sees."""

import html
import inspect
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DIRECTIVE = re.compile(r"^::: (\S+)$(?:\n    options:\n      heading: (\S+)$)?", re.MULTILINE)
TITLE = re.compile(r'<h3 id="([^"]+)" class="doc doc-heading">(.*?)<a href', re.DOTALL)
TAG = re.compile(r"<[^>]+>")


pytestmark = pytest.mark.slow  # the whole site is built


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The pages as MkDocs builds them, where every warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    build = [sys.executable, "-P", "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder]
    done = subprocess.run(build, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def reference(site):
    """The page of Python names, as (title, text below it) by the path of each name."""
    page = (site / "reference" / "api.html").read_text(encoding="utf-8")
    _, *parts = re.split(r'(?=<h3 id="[^"]+" class="doc doc-heading">)', page)
    found = {}
    for part in parts:
        path, title = TITLE.match(part).groups()
        name, *_ = text(title).split()  # "dataclass" may stand behind it
        found[path] = (name, text(part))
    return found


def text(markup):
    """Return what a browser shows of markup, on one line."""
    return " ".join(html.unescape(TAG.sub("", markup)).split())


def test_every_name_is_shown_as_it_is_imported(reference):
    """The title of a function that shares its name with a module is not the module's path."""
    listed = DIRECTIVE.findall((ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8"))
    assert {path: heading or path for path, heading in listed} == {
        path: title for path, (title, _) in reference.items()
    }
    for path, heading in listed:
        module, _, name = (heading or path).rpartition(".")
        real, _, _ = path.rpartition(".")
        assert getattr(import_module(module), name) is getattr(import_module(real), name)


def test_the_page_of_python_names_has_signatures_and_docstrings_and_no_module(reference):
    """Functions are shown, and not the modules of the same names."""
    functions = 0
    for path, (title, shown) in reference.items():
        module, _, name = path.rpartition(".")
        documented = getattr(import_module(module), name)
        first_line = text(inspect.getdoc(documented).splitlines()[0].replace("`", ""))
        assert first_line in shown, path
        if inspect.isfunction(documented):
            functions += 1
            assert re.match(rf"{re.escape(title)} ¶\s?{name}\(", shown), shown[:200]
            for parameter in inspect.signature(documented).parameters:
                assert re.search(rf"\b{parameter}\b", shown), f"{path}: {parameter}"
    assert functions > 15
