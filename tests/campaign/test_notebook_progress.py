"""A bar in notebooks: with a stand-in for IPython, which is not needed otherwise."""

import sys
from types import SimpleNamespace

import pytest

import ftonnx

FAST = {"rates": [1e-5], "repeats": 3, "batch_size": 180, "threads": 1, "strategy": "live"}


class ZMQInteractiveShell:
    """What IPython calls the shell of a kernel."""


class TerminalInteractiveShell:
    """And that of a terminal."""


class Shown:
    """What a notebook has shown, as HTML; it changes in one place."""

    def __init__(self):
        self.places = []
        self.texts = []

    def display(self, found, *, display_id):
        """Begin a place."""
        assert display_id is True
        self.places.append(found)
        self.update(found)
        return self

    def update(self, found):
        """Change it."""
        self.texts.append(found._repr_html_())


@pytest.fixture
def shown(monkeypatch):
    """A notebook."""
    found = Shown()
    place = SimpleNamespace(get_ipython=ZMQInteractiveShell, display=SimpleNamespace(display=found.display))
    monkeypatch.setitem(sys.modules, "IPython", place)
    return found


def test_a_notebook_shows_a_bar_that_ends_full(shown):
    """In one place, without a script or a server."""
    ftonnx.evaluate("digits", "digits", **FAST)
    assert len(shown.places) == 1
    assert 'value="6" max="6"' in shown.texts[-1]
    assert shown.texts[-1].endswith("digits on digits: 6 of 6 units")
    assert "<script" not in "".join(shown.texts)
    assert "http" not in "".join(shown.texts)


def test_a_gate_shows_one_too(shown):
    """With the model's name."""
    ftonnx.gate("digits", "digits", ["min-accuracy 1e-4:0.90"], threads=1, strategy="live")
    assert len(shown.places) == 1
    assert "digits, a gate: " in shown.texts[-1]


def test_who_has_a_callback_of_their_own_gets_no_bar(shown):
    """Only theirs is called."""
    seen = []
    ftonnx.evaluate("digits", "digits", **FAST, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (6, 6)
    assert shown.texts == []


@pytest.mark.parametrize("module", [None, SimpleNamespace(get_ipython=TerminalInteractiveShell)])
def test_nothing_is_shown_where_there_is_no_notebook(monkeypatch, capfd, module):
    """A script, and a shell in a terminal."""
    if module is None:
        monkeypatch.delitem(sys.modules, "IPython", raising=False)
    else:
        monkeypatch.setitem(sys.modules, "IPython", module)
    ftonnx.evaluate("digits", "digits", **FAST)
    assert capfd.readouterr() == ("", "")
