"""Finding activations in any graph, clipping them, and changing nothing else."""

import numpy as np
import onnx
import pytest
from mitigate_kit import KINDS, activation_nodes, exposed, images_of, one_activation, plain_run, residual_net
from onnx import TensorProto, helper
from onnx_zoo import bits_of, model_of, random_floats, small_cnn, stored

from ftonnx.errors import ModelError, UsageError
from ftonnx.export import (
    CLIP_ABOVE,
    CRELU,
    Activation,
    clip_activations,
    feeding_tensors,
    find_activations,
    read_thresholds,
    thresholds_as_inputs,
    with_activation,
    with_outputs,
)
from ftonnx.inject import FaultSpace

node = helper.make_node
INF = np.float32(np.inf)


def scalar(value):
    """Return a threshold for one activation."""
    return np.asarray(value, np.float32)


def conv_then(*nodes, held=(), opset=20, outputs=("y",)):
    """Return a model of a Conv from x to c, followed by ``nodes``."""
    convolution = node("Conv", ["x", "w"], ["c"], name="conv")
    return model_of([convolution, *nodes], [("w", random_floats(4, 3, 3, 3)), *held], opset=opset, outputs=outputs)


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

        model = export_module(torchvision.models.resnet50(weights=None).eval(), input_shape=(3, 224, 224))
        activations = find_activations(model)
        assert [a.kind for a in activations] == ["relu"] * 49
        order = [output for each in model.graph.node for output in each.output]
        assert [order.index(a.output) for a in activations] == sorted(order.index(a.output) for a in activations)
        space = FaultSpace.of(model)
        fed = [space.only(feeding_tensors(model, a)) for a in activations]
        convolutions = [sum(t.role == "weight" for t in part.targets) for part in fed]
        assert sorted(convolutions) == [1] * 45 + [2] * 4, "the first block of each stage adds a shortcut convolution"
        assert sum(part.bits for part in fed) == space.bits - space.only({"fc.weight", "fc.bias"}).bits


class TestClip:
    """The edit: what it changes, and that it changes nothing else."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_net_whose_activations_stay_under_the_thresholds_gives_the_same_bits(self, kind):
        """Thresholds are the exact maxima; activations feed several nodes and are graph outputs.

        Where a signed activation itself is an output, -0 may have become 0; that changes no bit behind it.
        """
        model, images = residual_net(kind), images_of(4)
        activations = find_activations(model)
        observed = plain_run(exposed(model, [a.observed for a in activations]), images)
        clipped, changed = clip_activations(model, {a.name: observed[a.observed].max() for a in activations})
        assert changed == ("act1", "act2", "act3")
        before, after = plain_run(model, images), plain_run(clipped, images)
        assert list(before) == list(after) == ["y", "a1", "a3"]
        assert bits_of([before.pop("y")]) == bits_of([after.pop("y")])
        assert bits_of(value + np.float32(0) for value in before.values()) == bits_of(after.values())

    @pytest.mark.parametrize("optimized", [False, True])
    @pytest.mark.parametrize("kind", KINDS)
    def test_values_above_the_threshold_and_nan_become_zero(self, kind, optimized):
        """Everything else stays bit for bit, negative values of signed activations included."""
        model = one_activation(kind)
        images = np.linspace(-8, 8, 32, dtype=np.float32).reshape(2, 1, 4, 4)
        images[1, 0, 0] = [np.nan, np.inf, 1e30, 5.9]
        before = plain_run(exposed(model, ["c"]), images)
        (activation,) = find_activations(model)
        observed = before[activation.observed]
        limit = np.sort(observed[np.isfinite(observed)])[-6]
        clipped, _ = clip_activations(model, {"act": limit})
        kept = observed <= limit
        assert 0 < np.count_nonzero(~kept) < kept.size // 2
        expected = np.where(kept, before["y"], np.float32(0))
        got = plain_run(clipped, images, optimized=optimized)["y"]
        np.testing.assert_array_equal(got == 0, expected == 0)
        np.testing.assert_allclose(got, expected, rtol=1e-6 if optimized else 0)  # ONNX Runtime may fuse a GELU

    @pytest.mark.parametrize("kind", ["relu", "relu6", "elu"])
    def test_thresholds_per_channel_apply_to_their_channel(self, kind):
        """T of shape (1, channels, 1, 1)."""
        model, images = residual_net(kind), 3 * images_of(4)
        before = plain_run(exposed(model, ["c1"]), images)
        observed = before["c1" if kind == "relu6" else "a1"]
        limits = np.linspace(0, 3, 8, dtype=np.float32).reshape(1, 8, 1, 1)
        clipped, _ = clip_activations(model, {"act1": limits})
        expected = np.where(observed <= limits, before["a1"], 0)
        np.testing.assert_array_equal(plain_run(clipped, images)["a1"], expected)

    @pytest.mark.parametrize("kind", KINDS)
    def test_everything_but_the_activations_is_the_same(self, kind):
        """Stored tensors bit for bit, other nodes with their edges, inputs, outputs, metadata, descriptions."""
        model = residual_net(kind)
        model.producer_name, model.doc_string, model.graph.doc_string = "someone", "a net", "a graph"
        model.model_version, model.domain = 7, "example"
        model.graph.node[0].doc_string = "first"
        onnx.helper.set_model_props(model, {"key": "value"})
        note = model.graph.quantization_annotation.add(tensor_name="c1")
        note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="w1")
        untouched = model.SerializeToString(deterministic=True)
        clipped, _ = clip_activations(model, {"act1": scalar(1), "act3": scalar(2)})
        assert model.SerializeToString(deterministic=True) == untouched, "the input was changed"
        after = {tensor.name: tensor for tensor in clipped.graph.initializer}
        for tensor in model.graph.initializer:
            assert bits_of([onnx.numpy_helper.to_array(tensor)]) == bits_of(
                [onnx.numpy_helper.to_array(after.pop(tensor.name))]
            )
        assert sorted(after) == ["act1.threshold", "act3.threshold"]
        for field in ("input", "output", "quantization_annotation", "doc_string", "name"):
            assert getattr(clipped.graph, field) == getattr(model.graph, field), field
        for field in ("producer_name", "doc_string", "model_version", "domain", "metadata_props"):
            assert getattr(clipped, field) == getattr(model, field), field
        kept = [each for each in clipped.graph.node if each.domain != "ftonnx" and each.name not in ("act1", "act3")]
        assert kept == [each for each in model.graph.node if each.name not in ("act1", "act3")]
        onnx.checker.check_model(clipped, full_check=True)

    @pytest.mark.parametrize("kind", [*KINDS, "relu per channel"])
    def test_the_fault_space_is_the_same(self, kind):
        """Clipped models meet the same flips, and no threshold can flip."""
        model = residual_net(kind.split()[0])
        limit = np.ones((1, 8, 1, 1), np.float32) if "channel" in kind else scalar(1)
        clipped, _ = clip_activations(model, {"act1": limit, "act2": scalar(1), "act3": scalar(1)})
        space = FaultSpace.of(clipped)
        assert space.fingerprint == FaultSpace.of(model).fingerprint
        assert not [target for target in space.targets if "threshold" in target.tensor]
        everything = FaultSpace.of(clipped, roles=("weight", "bias", "scale", "zero_point"))
        assert not [target for target in everything.targets if "threshold" in target.tensor]

    def test_clipping_again_only_replaces_the_thresholds(self):
        """No second function is put in, and no old threshold stays behind."""
        first, _ = clip_activations(residual_net("relu"), dict.fromkeys(("act1", "act2", "act3"), scalar(INF)))
        second, _ = clip_activations(first, {"act2": np.full((1, 6, 1, 1), 2, np.float32)})
        assert {k: v.shape for k, v in read_thresholds(second).items()} == {
            "act1": (),
            "act2": (1, 6, 1, 1),
            "act3": (),
        }
        assert list(second.graph.node) == list(first.graph.node)
        assert len(second.graph.initializer) == len(first.graph.initializer)

    def test_a_threshold_that_two_activations_share_is_split(self):
        """A CReLU module used twice exports so; each activation gets its own, and the shared one goes."""
        both = [node("CReLU", ["x", "t"], ["a"], name="one", domain="ftonnx"),
                node("CReLU", ["a", "t"], ["y"], name="two", domain="ftonnx")]  # fmt: skip
        model, _ = clip_activations(one_activation("relu"), {"act": scalar(INF)})
        del model.graph.node[:], model.graph.initializer[:]
        model.graph.node.extend(both)
        model.graph.initializer.append(stored("t", INF))
        one, _ = clip_activations(model, {"one": scalar(1)})
        assert {k: float(v) for k, v in read_thresholds(one).items()} == {"one": 1.0, "two": np.inf}
        two, _ = clip_activations(model, {"one": scalar(1), "two": scalar(2)})
        assert {k: float(v) for k, v in read_thresholds(two).items()} == {"one": 1.0, "two": 2.0}
        assert sorted(tensor.name for tensor in two.graph.initializer) == ["one.threshold", "two.threshold"]

    def test_a_stored_tensor_of_the_models_own_is_never_taken_for_a_threshold(self):
        """A name that is in use is refused, not overwritten."""
        model = conv_then(
            node("Relu", ["c"], ["r"], name="act"), node("Mul", ["r", "act.threshold"], ["y"]),
            held=[("act.threshold", random_floats(4, 1, 1))],
        )  # fmt: skip
        with pytest.raises(ModelError, match=r"stores a tensor 'act\.threshold' of its own"):
            clip_activations(model, {"act": scalar(1)})

    def test_a_name_that_is_no_activation_is_refused(self):
        """It is said which one."""
        with pytest.raises(ModelError, match="no activation 'conv1'; are the thresholds of another model"):
            clip_activations(residual_net("relu"), {"act1": scalar(1), "conv1": scalar(1)})

    def test_an_old_opset_is_refused(self):
        """The functions need opset 12."""
        model = conv_then(node("Relu", ["c"], ["y"], name="act"), opset=11)
        with pytest.raises(ModelError, match="opset 12 or newer"):
            clip_activations(model, {"act": scalar(1)})


class TestWithActivation:
    """Replacing every Relu."""

    def test_crelu_starts_at_infinity_and_changes_no_bit(self):
        """Every Relu is one, other activations stay."""
        model, images = small_cnn(), images_of(3)
        swapped = with_activation(model, "crelu")
        assert [a.kind for a in find_activations(swapped)] == ["crelu", "crelu"]
        assert [float(t) for t in read_thresholds(swapped).values()] == [np.inf, np.inf]
        assert bits_of(plain_run(model, images).values()) == bits_of(plain_run(swapped, images).values())

    def test_relu6_clamps_at_six(self):
        """Equation 5: 6 above 6, unlike CReLU."""
        model = one_activation("relu")
        images = np.linspace(-10, 10, 16, dtype=np.float32).reshape(1, 1, 4, 4)
        np.testing.assert_array_equal(plain_run(with_activation(model, "relu6"), images)["y"], np.clip(images, 0, 6))
        assert FaultSpace.of(with_activation(model, "relu6")).fingerprint == FaultSpace.of(model).fingerprint

    def test_relu_is_a_copy(self):
        """Nothing changes, and the copy is the caller's."""
        model = small_cnn()
        same = with_activation(model, "relu")
        assert same == model
        assert same is not model

    def test_unknown_kinds_and_models_without_relu_are_refused(self):
        """One is a usage error, the other the model's."""
        with pytest.raises(UsageError, match="'tanh' is not known: use relu, relu6 or crelu"):
            with_activation(small_cnn(), "tanh")
        with pytest.raises(ModelError, match="no Relu"):
            with_activation(residual_net("elu"), "relu6")


class TestThresholdsAndOutputs:
    """Thresholds as data and as inputs, inner tensors as outputs."""

    def test_thresholds_are_read_where_they_are_stored(self):
        """Initializers and Constant nodes alike; an unclipped model has none."""
        assert read_thresholds(small_cnn()) == {}
        limits = {"act1": np.arange(8, dtype=np.float32).reshape(1, 8, 1, 1), "act2": scalar(0.1), "act3": scalar(INF)}
        clipped, _ = clip_activations(residual_net("relu"), limits)
        read = read_thresholds(clipped)
        assert bits_of(read.values()) == bits_of(limits.values())
        constant = node("Constant", [], ["act2.threshold"], value=stored("", np.float32(0.1)))
        kept = [t for t in clipped.graph.initializer if t.name != "act2.threshold"]
        del clipped.graph.initializer[:]
        clipped.graph.initializer.extend(kept)
        clipped.graph.node.insert(0, constant)
        assert bits_of(read_thresholds(clipped)[name] for name in limits) == bits_of(limits.values())

    def test_thresholds_as_inputs_can_be_varied_between_runs(self):
        """With the stored values the outputs are the same bits; with others, those of a model clipped there."""
        model, images = residual_net("relu"), images_of(3)
        clipped, _ = clip_activations(model, dict.fromkeys(("act1", "act2", "act3"), scalar(1)))
        varied, values = thresholds_as_inputs(clipped)
        assert {name: float(v) for name, v in values.items()} == {f"act{i}.threshold": 1.0 for i in (1, 2, 3)}
        assert [value.name for value in varied.graph.input] == ["x", *values]
        other, _ = clip_activations(model, {"act1": scalar(1), "act2": scalar(0.5), "act3": scalar(1)})
        import onnxruntime as ort

        session = ort.InferenceSession(varied.SerializeToString(), providers=["CPUExecutionProvider"])
        for feeds, same in ((values, clipped), (values | {"act2.threshold": scalar(0.5)}, other)):
            got = session.run(["y"], {"x": images} | feeds)
            assert bits_of(got) == bits_of([plain_run(same, images, optimized=True)["y"]])

    def test_with_outputs_appends_the_tensors_and_keeps_the_outputs(self):
        """In the given order; graph inputs and outputs can be observed too."""
        model, images = small_cnn(), images_of(2)
        observed = with_outputs(model, ["d", "x", "y"])
        got = list(plain_run(observed, images).values())
        inner = plain_run(exposed(model, ["d"]), images)
        assert bits_of(got) == bits_of([inner["y"], inner["d"], images, inner["y"]])

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

    def test_an_activation_without_weights_is_fed_by_none(self):
        """A second ReLU right behind the first."""
        model = conv_then(node("Relu", ["c"], ["r"], name="first"), node("Relu", ["r"], ["y"], name="second"))
        assert feeding_tensors(model, find_activations(model)[1]) == frozenset()

    def test_activations_are_values(self):
        """They can be compared and kept in sets."""
        assert find_activations(one_activation("relu")) == (Activation("act", "relu", "y", "y"),)
        assert {CRELU, CLIP_ABOVE} == {"CReLU", "ClipAbove"}
