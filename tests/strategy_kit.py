"""What every way of running with faults must do; a new one inherits it by one line in ``runtime/test_contract.py``.

The oracle flips bits in files by itself and opens ordinary sessions: it shares no code with ftonnx.
"""

import numpy as np
import pytest
from onnx_zoo import bits_of, naively_flipped, ort_run, random_floats, small_cnn
from runtime_kit import branch_net, norm_net, open_strategy

from ftonnx.errors import ModelError, UsageError
from ftonnx.inject import BitFlipRates, Faults, FaultSpace, unit_rng
from ftonnx.quant import quantize
from ftonnx.runtime import STRATEGIES, FaultyRunError
from ftonnx.runtime.layout.draft import NotPossibleError
from ftonnx.runtime.strategies import KINDS, LAST_RESORT, strategy_class

IMAGES = random_floats(3, 3, 8, 8, seed=9, scale=1)
FEEDS = {"x": IMAGES}
FLIPS = [("w1", 7, 20), ("b1", 3, 18), ("w3", 1, 16)]


class StrategyContract:
    """Subclasses name their ``kind``; those that cannot run a small CNN in FP32 name another model, and bits of it."""

    kind = None
    flips = FLIPS
    mild = 20
    severe = 30

    def model(self):
        """Return a model that the strategy can run."""
        return small_cnn()

    @pytest.fixture
    def opened(self):
        """The strategy on that model, and its fault space."""
        space = FaultSpace.of(self.model())
        return open_strategy(self.kind, self.model(), space), space

    def test_it_is_registered_under_a_name_that_can_be_asked_for(self):
        """And is found again by its class's name, as a shared folder has it."""
        assert self.kind in (*KINDS, LAST_RESORT)
        assert self.kind.name in STRATEGIES
        assert strategy_class(self.kind.__name__) is self.kind

    def test_its_outputs_are_those_of_a_session_on_a_flipped_file(self, opened):
        """Bit for bit, packed or not as its options say."""
        strategy, space = opened
        names = [target.tensor for target in space.targets]
        faults = Faults(*zip(*((names.index(n), e, b) for n, e, b in self.flips), strict=True))
        flipped = naively_flipped(self.model(), self.flips)
        expected = ort_run(flipped, FEEDS, prepack=strategy.options.prepack, threads=1)
        assert bits_of(strategy.run(FEEDS, faults)) == bits_of(expected)
        assert bits_of(strategy.reference(flipped).run(None, FEEDS)) == bits_of(expected)

    def test_its_golden_run_is_that_of_an_ordinary_session_and_comes_back(self, opened):
        """Before and after faults, and with none."""
        strategy, space = opened
        golden = bits_of(strategy.golden(FEEDS))
        assert golden == bits_of(ort_run(self.model(), FEEDS, prepack=strategy.options.prepack, threads=1))
        for repeat in range(5):
            faults = BitFlipRates(1e-2).draw(space, unit_rng(0, 1e-2, 0, repeat))
            strategy.run(FEEDS, faults)
            assert bits_of(strategy.golden(FEEDS)) == golden
        assert bits_of(strategy.run(FEEDS, Faults.none())) == golden

    def test_after_a_rest_it_runs_as_before(self, opened):
        """What it has closed is opened again, with faults first or without."""
        strategy, space = opened
        names = [target.tensor for target in space.targets]
        faults = Faults(*zip(*((names.index(n), e, b) for n, e, b in self.flips), strict=True))
        golden = bits_of(strategy.golden(FEEDS))
        faulty = bits_of(strategy.run(FEEDS, faults))
        strategy.rest()
        assert bits_of(strategy.run(FEEDS, faults)) == faulty
        assert bits_of(strategy.golden(FEEDS)) == golden
        strategy.rest()
        assert bits_of(strategy.golden(FEEDS)) == golden
        assert bits_of(strategy.run(FEEDS, faults)) == faulty

    def test_a_run_that_is_refused_is_a_faulty_run_and_leaves_no_trace(self, opened):
        """Whoever is to blame: the session that owns the strategy finds that out."""
        strategy, _ = opened
        golden = bits_of(strategy.golden(FEEDS))
        with pytest.raises(FaultyRunError):
            strategy.run({"x": np.zeros((3, 3, 9), np.float32)}, Faults([0, 5], [1, 1], [self.severe] * 2))
        assert bits_of(strategy.golden(FEEDS)) == golden

    def test_a_bit_that_does_not_exist_is_refused(self, opened):
        """It would silently not flip."""
        strategy, _ = opened
        golden = bits_of(strategy.golden(FEEDS))
        with pytest.raises(UsageError, match="does not exist"):
            strategy.run(FEEDS, Faults([0, 99], [0, 0], [0, 0]))
        assert bits_of(strategy.golden(FEEDS)) == golden

    @pytest.mark.parametrize("name", ["norms", "branch", "int8"])
    def test_a_model_is_run_right_or_said_to_be_impossible(self, name):
        """Compared with the strategy's own reference: never a wrong number; the last resort runs all of them."""
        model = {"norms": norm_net, "branch": branch_net, "int8": lambda: quantize(small_cnn(), [IMAGES]).proto}[name]()
        space = FaultSpace.of(model)
        try:
            strategy = open_strategy(self.kind, model, space)
        except NotPossibleError as error:
            if self.kind is LAST_RESORT:
                raise
            pytest.skip(f"not possible: {error}")
        faults = Faults([0], [0], [3])
        flips = [(space.targets[0].tensor, 0, 3)]
        expected = strategy.reference(naively_flipped(model, flips)).run(None, FEEDS)
        assert bits_of(strategy.run(FEEDS, faults)) == bits_of(expected)

    def test_what_it_can_run_in_stretches_it_runs_whole_as_well(self, opened):
        """With the bits of its own runs, without faults and with some."""
        strategy, _ = opened
        divisible = strategy.divisible()
        if divisible is None:
            assert strategy.memory is None
            return
        part = divisible.part(divisible.model, divisible.sizes.keys())
        assert bits_of(part.golden().run(None, FEEDS)) == bits_of(strategy.golden(FEEDS))
        faults = Faults([0, 5], [1, 1], [self.mild] * 2)
        assert divisible.reached(faults) <= divisible.sizes.keys()
        with divisible.flipped(faults):
            outputs = part.flipped().run(None, FEEDS)
        assert bits_of(outputs) == bits_of(strategy.run(FEEDS, faults))

    def test_a_broken_model_is_refused_when_it_is_opened(self):
        """As a model error or as impossible, not as a crash."""
        model = self.model()
        model.graph.node[0].op_type = "NoSuchOperator"
        space = FaultSpace.of(self.model())
        with pytest.raises((ModelError, NotPossibleError)):
            open_strategy(self.kind, model, space)
