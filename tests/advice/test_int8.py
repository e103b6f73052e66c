"""Advice on an int8 model: its plan meets the goal in fresh campaigns, and misses it without its last guard."""

import onnx
import pytest

import ftonnx
from ftonnx.advice import Candidates
from ftonnx.inject.guards import ProtectionPlan

pytestmark = pytest.mark.slow

RATE = 1e-4


@pytest.fixture(scope="module")
def int8(tmp_path_factory):
    """The embedded network in integers."""
    path = tmp_path_factory.mktemp("int8") / "digits.onnx"
    proto, _ = ftonnx.quantize("digits", "digits")
    onnx.save(proto, path)
    return path


def test_codes_on_few_bits_of_an_int8_model_meet_the_goal_and_are_needed(int8):
    """With seeds of their own, by accuracies whose intervals leave no doubt."""
    candidates = Candidates(guards=("parity", "secded", "tmr"))
    advice = ftonnx.advise(
        int8, "digits", f"min-accuracy {RATE}:0.95", candidates=candidates, budget="8000units", threads=1
    )
    assert (advice.verdict, advice.needed) == ("PASS", "FAIL")
    assert advice.check_bits < 0.01 * advice.stored_bits

    def measured(guards):
        protection = ProtectionPlan(guards) if guards else None
        result = ftonnx.evaluate(int8, "digits", rates=RATE, repeats=40, seed=12345, protection=protection, threads=1)
        return result.rates[0].top1

    guards = advice.plan.guards
    assert measured(guards).mean >= 0.95
    assert measured(guards[:-1]).high < 0.95
