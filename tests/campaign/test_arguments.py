"""Arguments of another type than was meant: one line that names the argument and says what was expected."""

import numpy as np
import pytest

import ftonnx
from ftonnx.errors import UsageError
from ftonnx.inject import FaultCount
from ftonnx.report import build, plot

FAST = {"repeats": 2, "batch_size": 180, "threads": 1, "strategy": "live"}
GOAL = "min-accuracy 1e-4:0.9"


def evaluate(**arguments):
    """Run a campaign with some arguments that are wrong."""
    return ftonnx.evaluate("digits", "digits", **{"rates": [1e-6]} | FAST | arguments)


@pytest.mark.parametrize(
    ("call", "name", "expected"),
    [
        (lambda: evaluate(rates="1e-6"), "rates", "fault rates were expected, such as [1e-7, 1e-6], got '1e-6'"),
        (lambda: evaluate(rates=None), "rates", "fault rates were expected"),
        (lambda: evaluate(rates=["1e-6"]), "rates", "a number was expected, got '1e-6'"),
        (lambda: evaluate(rates=(), faults=1e-6), "faults", "such as BitFlipRates([1e-6])"),
        (lambda: evaluate(rates=(), faults=FaultCount), "faults", "FaultCount(1), was expected, got <class"),
        (lambda: evaluate(task="classification"), "task", "a task such as Classification() was expected"),
        (lambda: evaluate(settings={"repeats": 3}), "settings", "Settings(...) was expected, got {'repeats': 3}"),
        (lambda: evaluate(results=5), "results", "a folder was expected, got 5"),
        (lambda: evaluate(progress=True), "progress", "a function of (done, total) was expected, got True"),
        (lambda: evaluate(repeats="2"), "repeats", "a whole number"),
        (lambda: ftonnx.gate("digits", "digits", GOAL), "goals", "a list of goals"),
        (lambda: ftonnx.gate("digits", "digits", [5]), "goals", "such as 'min-accuracy 1e-6:0.90' was expected, got 5"),
        (lambda: ftonnx.gate("digits", "digits", [GOAL], task=5), "task", "a task such as"),
        (lambda: ftonnx.compare([1, 2]), "results", "a results folder"),
        (lambda: ftonnx.CampaignResult.open(5), "path", "a results folder was expected, got 5"),
        (lambda: ftonnx.load_dataset(5), "spec", "'npz:test.npz'"),
        (lambda: ftonnx.load_dataset("digits", limit="5"), "limit", "a number of images was expected, got '5'"),
        (lambda: ftonnx.protect("digits", "digits", 5), "method", "relu6"),
        (lambda: ftonnx.quantize("digits", 5), "data", "batches of images was expected"),
        (lambda: build("folder"), "results", "a list of CampaignResult"),
        (lambda: build(5), "results", "a list of CampaignResult"),
        (lambda: plot("folder"), "results", "CampaignResult.open(folder)"),
    ],
)
def test_the_message_names_the_argument_and_what_was_expected(call, name, expected):
    """Before any work is done; no message of Python's."""
    with pytest.raises(UsageError) as caught:
        call()
    message = str(caught.value)
    assert message.startswith(f"`{name}`: ")
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize("rates", [1e-5, np.float32(1e-5), np.array([1e-5]), (rate for rate in [1e-5])])
def test_one_rate_will_do_and_rates_may_come_in_anything_that_has_them(rates):
    """As ``BitFlipRates`` takes them."""
    (rate,) = evaluate(rates=rates).rates
    assert rate.rate == pytest.approx(1e-5)
