"""The folder for temporary files is that of tempfile, found without a file that a kill would leave."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ftonnx.files import temporary_root

OPENED = """
import sys, tempfile
opened = []
sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
{use}
root = tempfile.gettempdir()
print(root, *(path for path in opened if path.startswith(root)))
"""


@pytest.mark.parametrize(
    "use",
    [
        "from ftonnx.files import scratch_folder\nwith scratch_folder(): pass",
        "from ftonnx.campaign.store.temporary import temporary_results\ntemporary_results()",
        "from ftonnx.cli.main import main\nmain(['plan', '--help'])\nprint()",
    ],
    ids=["scratch folder", "results", "command"],
)
def test_nothing_is_written_to_try_a_folder(tmp_path, use):
    """Python writes a file of a random name, and removes it: a process can be killed between."""
    command = [sys.executable, "-c", OPENED.format(use=use)]
    done = subprocess.run(
        command, env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    root, *opened = done.stdout.splitlines()[-1].split()
    assert root == str(tmp_path)
    assert all(Path(path).relative_to(root).parts[0].startswith("ftonnx-") for path in opened)


@pytest.mark.parametrize("variable", ["TMPDIR", "TEMP", "TMP"])
def test_variables_are_asked_as_by_python(tmp_path, monkeypatch, variable):
    """In its order."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    assert temporary_root() == Path("/tmp")
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv(variable, str(tmp_path))
    assert temporary_root() == tmp_path


def test_a_folder_that_takes_no_files_is_left_to_python(tmp_path, monkeypatch):
    """It knows others."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    assert temporary_root() == Path("/tmp")
    monkeypatch.setattr(tempfile, "tempdir", None)
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("TMPDIR", str(file))
    assert temporary_root() == Path("/tmp")
