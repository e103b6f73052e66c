"""Finding activations in any graph, and what feeds them."""

import numpy as np
import pytest
from mitigate_kit import KINDS, activation_nodes, conv_then, images_of, one_activation, plain_run, residual_net, scalar
from onnx import TensorProto, helper
from onnx_zoo import model_of, random_floats, stored

from ftonnx.errors import ModelError
from ftonnx.export import (
    Activation,
    clip_activations,
    feeding_tensors,
    find_activations,
    read_thresholds,
)
from ftonnx.inject import FaultSpace

node = helper.make_node


def found(model):
    """Return (name, kind, observed, output) of a model's activations."""
    return [(a.name, a.kind, a.observed, a.output) for a in find_activations(model)]


class TestFind:
    """Which nodes are activations, and which tensor a threshold is compared with."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind_is_found_at_its_last_node(self, kind):
        """ReLU observes its output, a Clip its input (its output never exceeds 6), the others their output."""
        what = {"relu": "relu", "relu6": "clip"}.get(kind, "signed")
        observed = "c" if what == "clip" else "y"
        assert found(one_activation(kind)) == [("act", what, observed, "y")]

    def test_activations_come_in_graph_order(self):
        """One per node, whatever the names."""
        assert [a.name for a in find_activations(residual_net("relu"))] == ["act1", "act2", "act3"]
        assert [a.name for a in find_activations(residual_net("gelu-erf"))] == ["act1", "act2", "act3"]

    @pytest.mark.parametrize("shape", [(), (1,)])
    def test_a_clip_from_zero_is_found_with_limits_in_constant_nodes_of_either_shape(self, shape):
        """Old exporters write limits as Constant nodes, some of shape (1,)."""
        low = node("Constant", [], ["low"], value=stored("v", np.zeros(shape, np.float32)))
        model = conv_then(low, node("Clip", ["c", "low"], ["y"], name="clip"))
        assert found(model) == [("clip", "clip", "c", "y")]

    def test_the_attribute_form_of_old_opsets_is_found(self):
        """Before opset 11 the limits of Clip were attributes."""
        made = conv_then(node("Clip", ["c"], ["y"], name="clip", min=0.0, max=6.0), opset=9)
        assert found(made) == [("clip", "clip", "c", "y")]
        assert found(conv_then(node("Clip", ["c"], ["y"], min=-1.0, max=1.0), opset=9)) == []
        assert found(conv_then(node("Clip", ["c"], ["y"], max=6.0), opset=9)) == []

    def test_a_clip_that_does_not_start_at_zero_is_none(self):
        """Limits -1 and 1, no lower limit, a lower limit that is computed."""
        low = ("low", np.float32(-1))
        assert found(conv_then(node("Clip", ["c", "low"], ["y"]), held=[low])) == []
        assert found(conv_then(node("Clip", ["c", "", "high"], ["y"]), held=[("high", np.float32(6))])) == []
        computed = node("ReduceMin", ["c"], ["low"], keepdims=0)
        assert found(conv_then(computed, node("Clip", ["c", "low"], ["y"]))) == []

    def test_a_clip_of_whole_numbers_is_none(self):
        """Exporters clamp indices and shapes with Clip too."""
        cast = node("Cast", ["c"], ["i"], to=TensorProto.INT64)
        clip = node("Clip", ["i", "low"], ["k"])
        back = node("Cast", ["k"], ["y"], to=TensorProto.FLOAT)
        assert found(conv_then(cast, clip, back, held=[("low", np.int64(0))])) == []

    def test_clipped_activations_are_found_with_what_they_compare(self):
        """Both functions observe their input; a protected ReLU6 shows the CReLU and the Clip behind it."""
        relu, _ = clip_activations(one_activation("relu"), {"act": scalar(2)})
        assert found(relu) == [("act", "crelu", "c", "y")]
        signed, _ = clip_activations(one_activation("elu"), {"act": scalar(2)})
        assert found(signed)[1:] == [("act/ClipAbove", "clipabove", "y/unclipped", "y")]
        six, _ = clip_activations(one_activation("relu6"), {"act": scalar(2)})
        assert found(six) == [
            ("act/CReLU", "crelu", "c", "act/CReLU/output"),
            ("act", "clip", "act/CReLU/output", "y"),
        ]

    @pytest.mark.parametrize(
        ("nodes", "held"),
        [
            ([node("Sigmoid", ["c"], ["g"]), node("Mul", ["g", "g"], ["y"])], []),
            (
                [node("ReduceMax", ["c"], ["p"]), node("Sigmoid", ["p"], ["g"]), node("Mul", ["c", "g"], ["y"])],
                [],
            ),
            ([node("Mul", ["c", "k"], ["y"])], [("k", random_floats(1))]),
            ([node("Tanh", ["c"], ["t"]), node("Sigmoid", ["c"], ["g"]), node("Mul", ["t", "g"], ["y"])], []),
            ([node("Tanh", ["c"], ["t"]), node("Mul", ["t", "k"], ["y"])], [("k", np.float32(0.5))]),
            ([node("Erf", ["c"], ["e"]), node("Mul", ["c", "e"], ["y"])], []),
            ([node("Softmax", ["c"], ["y"])], []),
        ],
        ids=["gate squared", "squeeze and excite", "scale", "cell gate", "scaled tanh", "x times erf", "softmax"],
    )  # fmt: skip
    def test_other_products_and_bends_are_no_activations(self, nodes, held):
        """A squeeze-and-excite gate multiplies another tensor than the one it comes from."""
        assert found(conv_then(*nodes, held=held)) == []

    @pytest.mark.parametrize("kind", ["gelu-erf", "gelu-tanh"])
    def test_a_gelu_ends_where_its_own_steps_end(self, kind):
        """What scales, gates or follows it is no part of it, and neither is the product that it is taken of."""
        steps, held = activation_nodes(kind, "z", "g", "gelu")
        before = node("Mul", ["c", "k"], ["z"], name="scale before")
        after = node("Mul", ["g", "k2"], ["s"], name="scale after")
        gated = node("Mul", ["s", "c"], ["y"], name="gated")
        held = [*held, ("k", random_floats(4, 1, 1, seed=1)), ("k2", random_floats(4, 1, 1, seed=2))]
        assert found(conv_then(before, *steps, after, gated, held=held)) == [("gelu", "signed", "g", "g")]

    @pytest.mark.parametrize("order", ["x(half gate)", "(x gate)half", "half(gate x)", "(gate x)/2"])
    def test_the_factors_of_a_gelu_may_come_in_any_order(self, order):
        """Multiplication commutes, and so do exporters."""
        gate = [
            node("Div", ["c", "root"], ["d"]), node("Erf", ["d"], ["e"]), node("Add", ["one", "e"], ["gate"]),
        ]  # fmt: skip
        held = [("root", np.float32(2**0.5)), ("one", np.float32(1)), ("half", np.float32(0.5)), ("two", np.float32(2))]
        steps = {
            "x(half gate)": [node("Mul", ["half", "gate"], ["p"]), node("Mul", ["c", "p"], ["y"], name="end")],
            "(x gate)half": [node("Mul", ["c", "gate"], ["p"]), node("Mul", ["p", "half"], ["y"], name="end")],
            "half(gate x)": [node("Mul", ["gate", "c"], ["p"]), node("Mul", ["half", "p"], ["y"], name="end")],
            "(gate x)/2": [node("Mul", ["gate", "c"], ["p"]), node("Div", ["p", "two"], ["y"], name="end")],
        }[order]
        assert found(conv_then(*gate, *steps, held=held)) == [("end", "signed", "y", "y")]

    def test_nodes_without_a_name_go_by_their_output(self):
        """ONNX asks for no names; each activation still gets its own threshold."""
        nodes = [node("Relu", ["x"], ["a"]), node("Elu", ["a"], ["b"]), node("Relu", ["b"], ["y"], name="last")]
        model = model_of(nodes)
        assert [a.name for a in find_activations(model)] == ["a", "b", "last"]
        clipped, changed = clip_activations(model, {"a": scalar(3), "b": scalar(2), "last": scalar(1)})
        assert changed == ("a", "b", "last")
        images = 6 * images_of(3)
        expected = np.maximum(images, 0)
        for limit in (3, 2, 1):
            expected = np.where(expected <= limit, expected, 0)
        np.testing.assert_array_equal(plain_run(clipped, images)["y"], expected)
        assert [float(v) for v in read_thresholds(clipped).values()] == [3, 2, 1]


class TestTorch:
    """Graphs as torch's exporter writes them."""

    @staticmethod
    def export(activation, opset):
        """Export Conv, activation, Conv, mean."""
        torch = pytest.importorskip("torch")
        import warnings

        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.act, self.second = torch.nn.Conv2d(3, 4, 3), activation, torch.nn.Conv2d(4, 2, 3)

            def forward(self, x):
                return self.second(self.act(self.first(x))).mean((2, 3))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own
            program = torch.onnx.export(
                Net().eval(), (torch.randn(2, 3, 8, 8),), dynamo=True, opset_version=opset, verbose=False
            )
        return program.model_proto

    @pytest.mark.slow
    @pytest.mark.parametrize("opset", [18, 20])
    @pytest.mark.parametrize(
        ("make", "kind"),
        [
            ("ReLU()", "relu"), ("ReLU6()", "clip"), ("GELU()", "signed"), ("GELU(approximate='tanh')", "signed"),
            ("SiLU()", "signed"), ("Hardswish()", "signed"), ("LeakyReLU(0.1)", "signed"), ("ELU()", "signed"),
            ("PReLU()", "signed"), ("Mish()", "signed"),
        ],
    )  # fmt: skip
    def test_each_torch_activation_is_one_activation_between_its_convolutions(self, make, kind, opset):
        """At opset 18 GELU is written out, from 20 on it is one operator; either way its output feeds the next Conv."""
        torch = pytest.importorskip("torch")
        model = self.export(eval(f"nn.{make}", {"nn": torch.nn}), opset)
        (activation,) = find_activations(model)
        second = [each for each in model.graph.node if each.op_type == "Conv"][1]
        assert (activation.kind, activation.output) == (kind, second.input[0])
        first = next(each for each in model.graph.node if each.op_type == "Conv")
        assert set(first.input[1:]) <= feeding_tensors(model, activation)
        assert not set(second.input[1:]) & feeding_tensors(model, activation)

    @pytest.mark.slow
    def test_resnet50_has_49_activations(self):
        """17 modules in torch, used 49 times (reference P5); every one is fed by its own convolutions only."""
        torchvision = pytest.importorskip("torchvision")
        from ftonnx.export import export_module

        model = export_module(torchvision.models.resnet50(weights=None).eval(), input_shape=(3, 64, 64))
        activations = find_activations(model)
        assert [a.kind for a in activations] == ["relu"] * 49
        order = [output for each in model.graph.node for output in each.output]
        assert [order.index(a.output) for a in activations] == sorted(order.index(a.output) for a in activations)
        space = FaultSpace.of(model)
        fed = [space.only(feeding_tensors(model, a)) for a in activations]
        convolutions = [sum(t.role == "weight" for t in part.targets) for part in fed]
        assert sorted(convolutions) == [1] * 45 + [2] * 4, "the first block of each stage adds a shortcut convolution"
        assert sum(part.bits for part in fed) == space.bits - space.only({"fc.weight", "fc.bias"}).bits


class TestFeeding:
    """The stored tensors between one activation and those before it."""

    def test_only_the_tensors_since_the_last_activations_feed_one(self):
        """Behind a residual sum: the block's own last convolution and the shortcut's, nothing before."""
        fed = {a.name: set(feeding_tensors(residual_net("relu"), a)) for a in find_activations(residual_net("relu"))}
        assert fed == {"act1": {"w1", "b1"}, "act2": {"w2"}, "act3": {"w3", "b3", "w4"}}
        model = residual_net("gelu-tanh")
        for activation, names in zip(find_activations(model), fed.values(), strict=True):
            space = FaultSpace.of(model)
            assert {t.tensor for t in space.only(feeding_tensors(model, activation)).targets} == names

    def test_weights_behind_an_identity_shortcut_feed_the_activation_that_ends_the_block(self):
        """Without an activation in between, the stem's weights reach both; Constant nodes count as stored."""
        weight = node("Constant", [], ["w2"], value=stored("", random_floats(4, 4, 1, 1)))
        model = model_of(
            [
                weight, node("Conv", ["x", "w1"], ["c1"]), node("Relu", ["c1"], ["r1"], name="first"),
                node("Conv", ["r1", "w2"], ["c2"]), node("Add", ["c1", "c2"], ["s"]),
                node("Relu", ["s"], ["y"], name="second"),
            ],
            [("w1", random_floats(4, 3, 1, 1))],
        )  # fmt: skip
        first, second = find_activations(model)
        assert feeding_tensors(model, first) == {"w1"}
        assert feeding_tensors(model, second) == {"w1", "w2"}

    def test_weights_in_and_behind_the_branches_of_an_if_feed_the_activation_behind_it(self):
        """What a branch stores, and what reaches it from around it; a weight that only the condition reads too."""
        branches = {}
        for name, source in (("then", "c1"), ("else", "c2")):
            branches[f"{name}_branch"] = helper.make_graph(
                [node("Add", [source, f"{name}.b"], [f"{name}.y"])], name, [],
                [helper.make_tensor_value_info(f"{name}.y", 1, None)], [stored(f"{name}.b", random_floats(4, 1, 1))],
            )  # fmt: skip
        model = model_of(
            [
                node("Conv", ["x", "w0"], ["c0"]), node("Relu", ["c0"], ["r0"], name="first"),
                node("Conv", ["r0", "w1"], ["c1"]), node("Conv", ["r0", "w2"], ["c2"]),
                node("Mul", ["r0", "w3"], ["m"]), node("ReduceSum", ["m"], ["s"], keepdims=0),
                node("Cast", ["s"], ["p"], to=9), node("If", ["p"], ["i"], **branches),
                node("Relu", ["i"], ["y"], name="second"),
            ],
            [
                ("w0", random_floats(4, 3, 1, 1)), ("w1", random_floats(4, 4, 1, 1)),
                ("w2", random_floats(4, 4, 1, 1)), ("w3", random_floats(4, 1, 1)),
            ],
        )  # fmt: skip
        first, second = find_activations(model)
        assert feeding_tensors(model, first) == {"w0"}
        assert feeding_tensors(model, second) == {"w1", "w2", "w3", "then.b", "else.b"}

    def test_an_activation_without_weights_is_fed_by_none(self):
        """A second ReLU right behind the first."""
        model = conv_then(node("Relu", ["c"], ["r"], name="first"), node("Relu", ["r"], ["y"], name="second"))
        assert feeding_tensors(model, find_activations(model)[1]) == frozenset()

    def test_activations_are_values(self):
        """They can be compared and kept in sets."""
        assert find_activations(one_activation("relu")) == (Activation("act", "relu", "y", "y"),)

    def test_an_activation_of_another_model_is_refused(self):
        """By its name."""
        (activation,) = find_activations(one_activation("relu"))
        with pytest.raises(ModelError, match="the model has no activation 'act'"):
            feeding_tensors(residual_net("relu"), activation)
