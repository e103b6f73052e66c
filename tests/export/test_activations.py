"""Finding activations in any graph, clipping them, and changing nothing else."""

import numpy as np
import onnx
import pytest
from mitigate_kit import KINDS, conv_then, exposed, images_of, one_activation, plain_run, residual_net, scalar
from onnx import helper
from onnx_zoo import bits_of, random_floats, small_cnn, stored

from ftonnx.errors import ModelError, UsageError
from ftonnx.export import (
    CLIP_ABOVE,
    CRELU,
    clip_activations,
    find_activations,
    read_thresholds,
    thresholds_as_inputs,
    with_activation,
    with_outputs,
)
from ftonnx.inject import FaultSpace

node = helper.make_node
INF = np.float32(np.inf)


def classifier_of_texts():
    """Return a net as converters of scikit-learn write it: labels that are texts, and a map of scores per row."""
    branches = {}
    for name, value in (("then_branch", 0.0), ("else_branch", 1.0)):
        constant = helper.make_tensor(name, onnx.TensorProto.FLOAT, [1], [value])
        output = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        body = [node("Constant", [], [f"{name}/c"], value=constant), node("Add", ["s", f"{name}/c"], [name])]
        branches[name] = helper.make_graph(
            body, name, [], [output], [stored(f"{name}/unused", np.array([b"a"], object))]
        )
    nodes = [
        node("MatMul", ["x", "w"], ["m"]),
        node("Relu", ["m"], ["s"], name="act"),
        node("If", ["yes"], ["t"], name="if", **branches),
        node("ArgMax", ["t"], ["a"], axis=1, keepdims=0),
        node("ArrayFeatureExtractor", ["names", "a"], ["label"], domain="ai.onnx.ml"),
        node("ZipMap", ["t"], ["y"], domain="ai.onnx.ml", classlabels_strings=["ant", "bee", "cat"]),
    ]
    names = stored("names", np.array([b"ant", b"bee", b"cat"], object))
    model = one_activation("relu")
    del model.graph.node[:], model.graph.initializer[:], model.graph.input[:], model.graph.output[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend([stored("w", random_floats(4, 3)), stored("yes", True), names])
    model.graph.input.append(helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 4]))
    score = helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [])
    maps = helper.make_sequence_type_proto(helper.make_map_type_proto(onnx.TensorProto.STRING, score))
    label = helper.make_tensor_value_info("label", onnx.TensorProto.STRING, None)
    model.graph.output.extend([label, helper.make_value_info("y", maps)])
    model.opset_import.add(domain="ai.onnx.ml", version=1)
    return model


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

    def test_maps_texts_and_branches_stay_as_they_are(self):
        """Outputs keep their types, and rows under the threshold their values."""
        model = classifier_of_texts()
        inputs = random_floats(6, 4)
        clipped, changed = clip_activations(model, {"act": np.float32(1e6)})
        assert changed == ("act",)
        assert clipped.graph.output == model.graph.output
        before, after = plain_run(model, inputs), plain_run(clipped, inputs)
        assert before["label"].tolist() == after["label"].tolist()
        assert before["y"] == after["y"]
        assert set(before["y"][0]) == {"ant", "bee", "cat"}
        zero, _ = clip_activations(model, {"act": np.float32(0)})
        assert plain_run(zero, inputs)["y"] == [{"ant": 0.0, "bee": 0.0, "cat": 0.0}] * 6

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
    def test_a_branch_that_reads_an_activation_reads_the_clipped_one(self, kind):
        """No node of the main graph reads it."""
        model = one_activation(kind)
        branch = {}
        for name, taken in (("then", "y"), ("else", "c")):
            output = helper.make_tensor_value_info(f"{name}_o", onnx.TensorProto.FLOAT, None)
            branch[f"{name}_branch"] = helper.make_graph(
                [node("Add", [taken, taken], [f"{name}_o"])], name, [], [output]
            )
        model.graph.node.extend(
            [node("Constant", [], ["p"], value=stored("", True)), node("If", ["p"], ["z"], **branch)]
        )
        model.graph.output[0].name = "z"
        images = np.linspace(-3, 3, 32, dtype=np.float32).reshape(2, 1, 4, 4)
        clipped, _ = clip_activations(model, {"act": scalar(1)})
        activation = plain_run(exposed(model, ["y"]), images)["y"]
        observed = images if kind == "relu6" else activation
        expected = np.where(observed <= 1, 2 * activation, np.float32(0))
        np.testing.assert_array_equal(plain_run(clipped, images)["z"], expected)

    def test_a_net_that_ends_in_a_list_of_maps_is_clipped(self):
        """As converters of scikit-learn write it; onnx-ir knows no maps."""
        model = small_cnn()
        zip_map = node("ZipMap", ["y"], ["maps"], domain="ai.onnx.ml", classlabels_strings=list("abcde"))
        model.graph.node.append(zip_map)
        model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
        scores = helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [])
        maps = helper.make_map_type_proto(onnx.TensorProto.STRING, scores)
        model.graph.output.append(helper.make_value_info("maps", helper.make_sequence_type_proto(maps)))
        images = random_floats(3, 3, 8, 8, seed=9)
        clipped, _ = clip_activations(model, {"relu1": scalar(0.5), "relu2": scalar(0.25)})
        assert list(clipped.graph.output) == list(model.graph.output)
        got = plain_run(exposed(clipped, ["a", "b"]), images)
        np.testing.assert_array_equal(got["b"], np.where((got["a"] <= 0.5) & (got["a"] > 0), got["a"], np.float32(0)))
        assert got["maps"] == [dict(zip("abcde", row.tolist(), strict=True)) for row in got["y"]]

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

    @pytest.mark.parametrize("ir_version", [3, 4])
    @pytest.mark.parametrize("opset", [7, 9, 10])
    @pytest.mark.parametrize("listed", [True, False])
    def test_relu6_clamps_old_files(self, opset, ir_version, listed):
        """A Clip's limits were attributes before opset 11, and stored tensors were listed as inputs."""
        model = small_cnn()
        model.opset_import[0].version = opset
        model.ir_version = ir_version
        if listed:
            for tensor in model.graph.initializer:
                declared = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
                model.graph.input.append(declared)
        clamped = with_activation(model, "relu6")
        images = 20 * random_floats(3, 3, 8, 8, seed=9)
        inner = plain_run(exposed(clamped, ["a", "b", "c", "d"]), images)
        for before, after in (("a", "b"), ("c", "d")):
            assert inner[before].max() > 6
            np.testing.assert_array_equal(inner[after], np.clip(inner[before], 0, 6))
        if ir_version == 3:
            assert [value.name for value in clamped.graph.input] == ["x"]
        assert [activation.kind for activation in find_activations(clamped)] == ["clip", "clip"]
        assert FaultSpace.of(clamped).fingerprint == FaultSpace.of(model).fingerprint

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

    def test_the_names_of_the_functions_are_the_contract(self):
        """They stand in files that others keep."""
        assert {CRELU, CLIP_ABOVE} == {"CReLU", "ClipAbove"}
