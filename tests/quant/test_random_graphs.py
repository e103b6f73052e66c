"""Random graphs of everything that went wrong once: what the int8 model computes is what the FP32 model computes.

Every quantization of an activation adds an error of variance S² / 12 at most, S its scale. Weights here have rows of
norm 1, which leave the deviation as it is, and their own rounding adds as much again. So the deviation of every value
is known, and a difference of more than six deviations is a mistake.
"""

import numpy as np
import onnx
import pytest
from onnx_zoo import model_of
from quant_graphs import branch, conv, initializers_as_inputs, run_all
from quant_kit import node

from ftonnx.quant import QuantSettings, quantize

CHANNELS = 4
STEPS = 9
BOUNDS = [("", "1"), ("-1", "2"), ("0.25", "2"), ("", "-0.25"), ("-0.5", "")]
TROUBLESOME = ["x_scale", "w0_scale", "t1_zero_point", "t2_quantized", "b0_quantized", "t0_QuantizeLinear_Output"]


class Grower:
    """Grows a graph operator by operator, and knows by value how many deviations of one quantization it is off."""

    def __init__(self, seed, *, old):
        self.rng = np.random.default_rng(seed)
        self.old = old
        self.nodes = []
        self.stored = {"low": np.float32(-1e6), "high": np.float32(1e6)}
        self.deviation = {"x": 1.0}
        self.blocks = []
        if not old:
            self.nodes.append(node("ReduceSum", ["x"], ["sum"], name="sum", keepdims=0))
            self.nodes.append(node("Greater", ["sum", "low"], ["yes"], name="yes"))
            self.nodes.append(node("Greater", ["sum", "high"], ["no"], name="no"))

    def store(self, name, array):
        """Keep an initializer."""
        self.stored[name] = np.asarray(array, np.float32)
        return name

    def rows(self, *shape):
        """Return weights whose rows have norm 1."""
        weights = self.rng.standard_normal(shape)
        axes = tuple(range(1, len(shape)))
        return weights / np.sqrt((weights**2).sum(axis=axes, keepdims=True))

    def any_value(self):
        """Choose among the last few values."""
        return str(self.rng.choice(list(self.deviation)[-3:]))

    def add(self, made, *, off):
        """Take a node whose output is off by so many deviations, and by its own quantization."""
        made.name = f"n{len(self.nodes)}"
        self.nodes.append(made)
        self.deviation[made.output[0]] = float(np.sqrt(off**2 + 1))

    def grow(self, target):
        """Add one operator."""
        kinds = ["conv", "conv", "block", "block", "clamps", "clamps", "pool", "add", "identity"]
        if not self.old:
            kinds += ["if", "if"]
        getattr(self, f"grow_{self.rng.choice(kinds)}")(target)

    def grow_conv(self, target):
        """Add a Conv with a weight and a bias of its own."""
        number = len(self.blocks)
        # a first Conv reads three channels
        channels = CHANNELS if number else 3
        weight = self.store(f"w{number}", self.rows(CHANNELS, channels, 3, 3))
        bias = self.store(f"b{number}", self.rng.standard_normal(CHANNELS))
        self.blocks.append((weight, bias))
        source = self.any_value() if number else "x"
        self.add(conv(source, target, weight, bias), off=np.sqrt(self.deviation[source] ** 2 + 1))

    def grow_block(self, target):
        """Call an earlier block again."""
        if len(self.blocks) < 2:
            self.grow_conv(target)
            return
        weight, bias = self.blocks[self.rng.integers(1, len(self.blocks))]
        source = self.any_value()
        self.add(conv(source, target, weight, bias), off=np.sqrt(self.deviation[source] ** 2 + 1))

    def grow_clamps(self, target):
        """Add a chain of one to three clamps."""
        source = self.any_value()
        count = int(self.rng.integers(1, 4))
        for index in range(count):
            output = target if index == count - 1 else f"{target}.{index}"
            self.add(self.clamp(source, output), off=self.deviation[source])
            source = output

    def clamp(self, source, output):
        """Return a Relu, or a Clip with bounds on any side of 0."""
        if self.rng.random() < 0.5:
            return node("Relu", [source], [output])
        low, high = BOUNDS[self.rng.integers(len(BOUNDS))]
        if self.old:
            given = {"min": low, "max": high}
            return node("Clip", [source], [output], **{key: float(text) for key, text in given.items() if text})
        bounds = [self.store(f"bound{text}", float(text)) if text else "" for text in (low, high)]
        return node("Clip", [source, *bounds], [output])

    def grow_pool(self, target):
        """Add a pooling that keeps the size, and has no scale of its own."""
        source = self.any_value()
        pool = node("MaxPool", [source], [target], kernel_shape=[3, 3], pads=[1] * 4)
        self.add(pool, off=self.deviation[source])

    def grow_add(self, target):
        """Add two values, or a value to itself."""
        first, second = self.any_value(), self.any_value()
        # errors of values that come from each other add up
        self.add(node("Add", [first, second], [target]), off=self.deviation[first] + self.deviation[second])

    def grow_identity(self, target):
        """Add a node that does nothing."""
        source = self.any_value()
        self.add(node(str(self.rng.choice(["Identity", "Dropout"])), [source], [target]), off=self.deviation[source])

    def grow_if(self, target):
        """Add an If whose branches read values of the graph."""
        first, second = self.any_value(), self.any_value()
        as_it_is = branch([node("Identity", [first], [f"{target}.t"])], f"{target}.t")
        negated = branch([node("Neg", [second], [f"{target}.e"])], f"{target}.e")
        chosen = str(self.rng.choice(["yes", "no"]))
        made = node("If", [chosen], [target], then_branch=as_it_is, else_branch=negated)
        self.add(made, off=max(self.deviation[first], self.deviation[second]))

    def model(self):
        """Return the graph with its last value as output, and how many deviations that is off."""
        self.grow_conv("t0")
        # what reads the input besides has other channels
        del self.deviation["x"]
        for index in range(1, STEPS):
            self.grow(f"t{index}")
        last = f"t{STEPS - 1}"
        self.add(
            conv(last, "y", self.store("last.w", self.rows(CHANNELS, CHANNELS, 3, 3))), off=self.deviation[last] + 1
        )
        shape = ["batch", CHANNELS, 8, 8]
        model = model_of(self.nodes, self.stored.items(), outputs={"y": shape}, opset=9 if self.old else 17)
        return model, self.deviation["y"]


def disguised(model, rng, *, old):
    """Take names of nodes away, give stored tensors names that the quantizer makes, or put everything among inputs."""
    for each in model.graph.node:
        if rng.random() < 0.3:
            each.name = ""
    bounds = [tensor.name for tensor in model.graph.initializer if tensor.name.startswith("bound")]
    for name, other in zip(bounds, rng.permutation(TROUBLESOME), strict=False):
        for tensor in model.graph.initializer:
            if tensor.name == name:
                tensor.name = str(other)
        for each in model.graph.node:
            for slot, read in enumerate(each.input):
                if read == name:
                    each.input[slot] = str(other)
    return initializers_as_inputs(model, 9) if old else model


@pytest.mark.parametrize("form", ["qdq", "qoperator"])
@pytest.mark.parametrize("seed", range(24))
def test_a_random_graph_computes_the_same_in_integers(form, seed):
    """Within six deviations of the error of its scales."""
    old = seed % 4 == 3
    grower = Grower(seed, old=old)
    model, deviations = grower.model()
    model = disguised(model, grower.rng, old=old)
    onnx.checker.check_model(model)
    shown = grower.rng.standard_normal((6, 3, 8, 8)).astype(np.float32)
    settings = QuantSettings(quant_format=form, per_channel=bool(seed % 2), calibration="minmax")
    result, report = quantize(model, [shown], settings)
    onnx.checker.check_model(result)
    assert report.weights >= 2
    largest_scale = max(activation.scale for activation in report.activations)
    allowed = 6 * deviations * largest_scale / np.sqrt(12)
    wanted = run_all(model, {"x": shown})["y"]
    assert np.abs(run_all(result, {"x": shown})["y"] - wanted).max() < allowed
