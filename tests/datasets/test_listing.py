"""What of a folder is looked at."""

import os

import pytest

from ftonnx.datasets.listing import image_files, listing, split_files, sub_folders


@pytest.fixture
def folder(tmp_path):
    """Two folders, two images and a text, and what systems leave behind."""
    for name in ("b", "A", "__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", ".ipynb_checkpoints"):
        (tmp_path / name).mkdir()
    for name in ("2.png", "10.JPG", "notes.txt", "Thumbs.db", "desktop.ini", ".DS_Store", "._2.png"):
        (tmp_path / name).touch()
    return tmp_path


def test_hidden_entries_and_leftovers_of_systems_are_not_seen(folder):
    """The rest comes in the order of its characters."""
    assert [entry.name for entry in listing(folder)] == ["10.JPG", "2.png", "A", "b", "notes.txt"]
    assert [entry.name for entry in sub_folders(folder)] == ["A", "b"]
    assert [entry.name for entry in image_files(folder)] == ["10.JPG", "2.png"]


def test_a_broken_link_is_a_file_and_a_folder_or_pipe_none(folder):
    """Whatever they are called."""
    (folder / "gone.png").symlink_to(folder / "nowhere")
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    images, others = split_files(listing(folder))
    assert [entry.name for entry in images] == ["10.JPG", "2.png", "gone.png"]
    assert [entry.name for entry in others] == ["A", "b", "folder.png", "notes.txt", "pipe.png"]
