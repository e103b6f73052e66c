"""Plans that become shorter: what each guard buys is said of the plan that is left."""

from types import SimpleNamespace

import numpy as np
import pytest
from inject_kit import space_of

from ftonnx.advice.candidates import Candidates
from ftonnx.advice.findings import Findings
from ftonnx.advice.hardening import Hardening
from ftonnx.advice.prediction import accuracy_after, loss_allowed
from ftonnx.advice.ways import TensorHarm
from ftonnx.gates import Goal

RATE = 1e-4
ELEMENTS = 100
WIDTHS = (8, 8, 16)


def harms(factor):
    """Three tensors whose flips do ever less harm, of which the highest bits do most."""
    found = []
    for number, (worst, width) in enumerate(zip((0.9, 0.5, 0.3), WIDTHS, strict=True)):
        flips = np.zeros(width)
        flips[:3] = factor * worst * np.array([1, 0.5, 0.2])
        bits = tuple(range(width - 1, -1, -1))
        found.append(TensorHarm(tensor=f"t{number}", elements=ELEMENTS, bits=bits, flips=flips, zeroed=0.0))
    return tuple(found)


class Trials:
    """Campaigns that find what was predicted, and are content with any plan from an accuracy on."""

    def __init__(self, enough):
        self.goal = Goal("min_accuracy", enough, RATE)
        self.subject = SimpleNamespace(
            space=space_of(*[(ELEMENTS, f"int{width}") for width in WIDTHS]), model=SimpleNamespace(sha256="0" * 64)
        )
        self.tried = [SimpleNamespace(verdict="FAIL")]

    def add(self, name, plan, *, predicted):
        """Say whether a plan meets the goal."""
        verdict = "PASS" if predicted >= self.goal.bound else "FAIL"
        self.tried.append(SimpleNamespace(name=name, plan=plan, predicted=predicted, verdict=verdict))
        return self.tried[-1]


def lost(plan):
    """Return what flips cost behind a plan, guard by guard; of what a code finds, nothing is lost."""
    guards = () if plan is None else plan.guards
    is_checked = any(guard.by == "range" for guard in guards)
    total = 0.0
    for harm in harms(0.4 if is_checked else 1.0):
        codes = [guard for guard in guards if guard.by != "range" and guard.takes(harm.tensor)]
        guarded = {bit for guard in codes for bit in guard.bits}
        total += sum(
            RATE * ELEMENTS * cost for bit, cost in zip(harm.bits, harm.flips, strict=True) if bit not in guarded
        )
    return total


@pytest.mark.parametrize("guards", [("range", "parity"), ("parity",)])
def test_what_a_guard_buys_is_said_of_the_plan_that_is_left(guards):
    """Campaigns are content with less than was asked for, so that guards go."""
    behind = harms(0.4 if "range" in guards else 1.0)
    findings = Findings(plain=harms(1.0), behind=behind, ranking=None)
    trials = Trials(0.96)
    hardening = Hardening(
        trials, Candidates(guards=guards, reloads=True), findings, golden=0.98, allowed=loss_allowed(0.978, 0.98)
    )
    found = hardening.run()
    shortened = [each for each in trials.tried if getattr(each, "name", "") == "without its last guard"]
    assert shortened
    for each in trials.tried[1:]:
        assert each.predicted == pytest.approx(accuracy_after(lost(each.plan), 0.98), abs=2e-4)
    for guard in found.guards:
        rest = [each for each in found.plan.guards if each.by != guard.by or each.bits != (guard.bits or "all")]
        expected = accuracy_after(lost(SimpleNamespace(guards=rest)), 0.98)
        assert guard.without == pytest.approx(expected, abs=2e-4)
