"""What every strategy must do, for every strategy."""

import pytest
from onnx import TensorProto, helper
from onnx_zoo import small_cnn, with_four_bit_weights, with_half_weights
from packed_kit import four_bit_perceptron, int8_cnn, require_packing
from runtime_kit import branched_cnn, function_cnn
from strategy_kit import StrategyContract

from ftonnx.inject import FaultSpace
from ftonnx.runtime.strategies import KINDS, LAST_RESORT, rebuild
from ftonnx.runtime.strategies.from_file import RebuildFromFile
from ftonnx.runtime.strategies.live import Live
from ftonnx.runtime.strategies.packed import Packed
from ftonnx.runtime.strategies.rebuild import Rebuild


class TestLive(StrategyContract):
    """One open session."""

    kind = Live


class TestLiveInHalfPrecision(StrategyContract):
    """One open session, whose weights are stored in 16 bits and cast when the graph is optimized."""

    kind = Live

    def model(self):
        """Return the small CNN with float16 weights and biases behind Cast nodes."""
        return with_half_weights(small_cnn())


class TestRebuildInHalfPrecision(TestLiveInHalfPrecision):
    """A fresh session on the arrays that these weights become."""

    kind = Rebuild


class TestLiveInFourBits(StrategyContract):
    """One open session, whose weights are int4 behind DequantizeLinear."""

    kind = Live
    flips = (("w1", 7, 2), ("b1", 3, 18), ("w3", 1, 3))
    mild = 2
    severe = 3

    def model(self):
        """Return the small CNN with such weights."""
        return with_four_bit_weights(small_cnn())


class TestRebuildInFourBits(TestLiveInFourBits):
    """A fresh session on the arrays that these weights become."""

    kind = Rebuild


class TestLiveInBranches(StrategyContract):
    """One open session, whose weights lie in the branches of an If."""

    kind = Live

    def model(self):
        """Return two small CNNs, one of which runs."""
        return branched_cnn()


class TestRebuildInBranches(TestLiveInBranches):
    """A fresh session on the arrays that these weights become."""

    kind = Rebuild


class TestLiveInFunctions(StrategyContract):
    """One open session, whose weights lie in a function."""

    kind = Live

    def model(self):
        """Return a small CNN that is one call."""
        return function_cnn()


class TestRebuildInFunctions(TestLiveInFunctions):
    """A fresh session on the arrays that these weights become."""

    kind = Rebuild


class TestPacked(StrategyContract):
    """One open session on packed weights."""

    kind = Packed
    flips = (("w1_quantized", 7, 6), ("b1_quantized", 3, 9), ("w2_quantized", 1000, 7), ("w3_quantized", 1, 4))
    mild = 4
    severe = 6

    @pytest.fixture
    def opened(self):
        """Skipped where ONNX Runtime has no such packing for the processor."""
        space = FaultSpace.of(self.model())
        return require_packing(self.model(), space), space

    def model(self):
        """Return the small CNN in int8; only its second convolution is large enough to be packed into a file."""
        return int8_cnn()


class TestPackedInFourBits(StrategyContract):
    """One open session on packed weights of four bits."""

    kind = Packed
    flips = (("w0", 700, 6), ("w1", 3, 1), ("w5", 1000, 7))
    mild = 4
    severe = 6

    @pytest.fixture
    def opened(self):
        """Skipped where ONNX Runtime has no such packing for the processor."""
        space = FaultSpace.of(self.model())
        return require_packing(self.model(), space), space

    def model(self):
        """Return six layers behind a Reshape of the images."""
        model = four_bit_perceptron((192, 48, 64, 64, 64, 64, 64))
        flat = helper.make_node("Flatten", ["x"], ["rows"])
        model.graph.node[0].input[0] = "rows"
        model.graph.node.insert(0, flat)
        value = helper.make_tensor_value_info("x", TensorProto.FLOAT, (None, 3, 8, 8))
        model.graph.input[0].CopyFrom(value)
        return model


class TestRebuild(StrategyContract):
    """A fresh session on our arrays."""

    kind = Rebuild


class TestRebuildOnTheArraysThemselves(TestRebuild):
    """A fresh session that reads our arrays, which for large models are not copied."""

    @pytest.fixture(autouse=True)
    def large(self, monkeypatch):
        """Count every model among the large ones."""
        monkeypatch.setattr(rebuild, "_WORTH_A_FILE", 0)


class TestRebuildInIntegersOnTheArraysThemselves(TestRebuildOnTheArraysThemselves):
    """A fresh session that packs our arrays of integers, and reads those that it does not pack."""

    flips = (("w1_quantized", 7, 6), ("b1_quantized", 3, 9), ("w2_quantized", 1000, 7), ("w3_quantized", 1, 4))
    mild = 4
    severe = 6

    def model(self):
        """Return the small CNN in int8."""
        return int8_cnn()


class TestRebuildFromFile(StrategyContract):
    """A fresh session on a flipped file."""

    kind = RebuildFromFile


def test_every_registered_strategy_has_signed_the_contract():
    """A new one needs its line here."""
    assert {contract.kind for contract in StrategyContract.__subclasses__()} == {*KINDS, LAST_RESORT}
