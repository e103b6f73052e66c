"""What every strategy must do, for every strategy."""

from strategy_kit import StrategyContract

from ftonnx.runtime.strategies import KINDS, LAST_RESORT
from ftonnx.runtime.strategies.from_file import RebuildFromFile
from ftonnx.runtime.strategies.live import Live
from ftonnx.runtime.strategies.rebuild import Rebuild


class TestLive(StrategyContract):
    """One open session."""

    kind = Live


class TestRebuild(StrategyContract):
    """A fresh session on our arrays."""

    kind = Rebuild


class TestRebuildFromFile(StrategyContract):
    """A fresh session on a flipped file."""

    kind = RebuildFromFile


def test_every_registered_strategy_has_signed_the_contract():
    """A new one needs its line here."""
    assert {contract.kind for contract in StrategyContract.__subclasses__()} == {*KINDS, LAST_RESORT}
