"""Which computed tensors can flip, and how many bits they have."""

import numpy as np
import pytest
from activations_kit import branching_net, fixed_batch, integer_cnn, node
from onnx import TensorProto
from onnx_zoo import halved, model_of, random_floats, small_cnn

from ftonnx.errors import ModelError, UsageError
from ftonnx.inject import ROLES, BitFlipRates, Bursts, Faults, FaultSpace, faulty_model, list_faults

ONLY = {"roles": ("activation",)}


def names(space):
    """Return the targets by name."""
    return [target.tensor for target in space.targets]


def reasons(space):
    """Return why what is computed cannot flip, by tensor."""
    return {left.tensor: left.reason for left in space.left_out}


def test_n_counts_what_is_in_memory_during_the_inference_of_one_image():
    """By hand: 16 x 8 x 8 and 12 x 3 x 3 behind the Relus, 12 means, 5 scores, of 32 bits each."""
    space = FaultSpace.of(small_cnn(), **ONLY)
    assert names(space) == ["b", "d", "e", "y"]
    assert [target.shape for target in space.targets] == [(16, 8, 8), (12, 3, 3), (12, 1, 1), (5,)]
    assert space.bits == 32 * (16 * 64 + 12 * 9 + 12 + 5)
    assert {target.role for target in space.targets} == {"activation"}
    assert [target.op_type for target in space.targets] == ["Relu", "Relu", "GlobalAveragePool", "Gemm"]


def test_what_is_fused_or_moved_is_left_out_with_the_reason():
    """A Conv before a Relu has no tensor of its own, and a view shows one that is counted."""
    left = reasons(FaultSpace.of(small_cnn(), **ONLY))
    assert left["a"] == left["c"] == "fused into its reader"
    assert left["f"] == "only moves values"
    assert left["w1"] == "role not chosen"


def test_a_tensor_with_several_readers_is_in_memory():
    """The residual sum reads it besides the next convolution; what the sum alone reads is fused."""
    space = FaultSpace.of(branching_net(), **ONLY)
    assert names(space) == ["b", "e", "p"]
    assert reasons(space)["c"] == reasons(space)["d"] == "fused into its reader"


def test_of_a_quantized_network_the_codes_flip():
    """Between QuantizeLinear and DequantizeLinear, where the convolutions stay fused; 8 bits each."""
    space = FaultSpace.of(integer_cnn(), **ONLY)
    assert names(space) == ["xq", "r1q", "c2q"]
    assert space.bits == 8 * (3 * 64 + 16 * 64 + 5)
    assert space.formats == ("uint8",)
    assert reasons(space)["y"] == "in memory quantized"
    assert reasons(space)["r1"] == "fused into its reader"


def test_n_per_batch_is_that_of_a_run():
    """Every tensor with its axis of images."""
    one = FaultSpace.of(small_cnn(), **ONLY)
    run = FaultSpace.of(small_cnn(), **ONLY, activations_per="batch", batch_size=6)
    assert run.bits == 6 * one.bits
    assert run.targets[0].shape == (6, 16, 8, 8)
    assert run.scope.images == 6


@pytest.mark.parametrize("images", [1, 2, 8])
def test_n_does_not_depend_on_the_batch_size_where_onnx_cannot_tell_one_image_from_none(images):
    """A token that is repeated for every image, by sizes which onnx does not follow; by hand: 4 + 4 + 5 numbers."""
    model = model_of(
        [
            node("Shape", ["x"], ["images"], end=1),
            node("Less", ["images", "zero"], ["is_free"]),
            node("Where", ["is_free", "one", "images"], ["times"]),
            node("Concat", ["times", "width"], ["sizes"], axis=0),
            node("Expand", ["token", "sizes"], ["tokens"]),
            node("Flatten", ["x"], ["f"]),
            node("MatMul", ["f", "w1"], ["m"]),
            node("Add", ["m", "tokens"], ["a"]),
            node("Softmax", ["a"], ["s"]),
            node("MatMul", ["s", "w2"], ["y"]),
        ],
        [
            ("zero", np.array([0])), ("one", np.array([1])), ("width", np.array([4])),
            ("token", random_floats(1, 4)), ("w1", random_floats(192, 4)), ("w2", random_floats(4, 5)),
        ],
    )  # fmt: skip
    space = FaultSpace.of(model, **ONLY, batch_size=images)
    assert [(target.tensor, target.shape) for target in space.targets] == [("a", (4,)), ("s", (4,)), ("y", (5,))]
    run = FaultSpace.of(model, **ONLY, activations_per="batch", batch_size=images)
    assert [target.shape for target in run.targets] == [(images, 4), (images, 4), (images, 5)]
    assert run.bits == images * space.bits == images * 32 * 13


def test_a_model_that_insists_on_a_batch_has_the_same_bits_per_image():
    """And a run of its own number of images, whatever is asked for."""
    free = FaultSpace.of(small_cnn(), **ONLY)
    for images in (1, 4):
        model = fixed_batch(small_cnn(), images)
        assert FaultSpace.of(model, **ONLY).fingerprint == free.fingerprint
        run = FaultSpace.of(model, **ONLY, activations_per="batch", batch_size=9)
        assert run.bits == images * free.bits
        assert run.scope.images == images


def test_stored_tensors_come_first_and_keep_their_numbers():
    """So that a space with activations too has the faults of one without."""
    stored = FaultSpace.of(small_cnn())
    both = FaultSpace.of(small_cnn(), roles=("weight", "bias", "activation"))
    assert both.targets[: len(stored.targets)] == stored.targets
    assert both.stored == stored
    assert both.bits == stored.bits + FaultSpace.of(small_cnn(), **ONLY).bits
    assert FaultSpace.of(small_cnn(), roles=ROLES).fingerprint == stored.fingerprint


def test_names_and_bits_choose_among_activations():
    """As among stored tensors."""
    assert names(FaultSpace.of(small_cnn(), **ONLY, include=("b", "y"))) == ["b", "y"]
    space = FaultSpace.of(small_cnn(), **ONLY, exclude=("b",), bits=(31,))
    assert names(space) == ["d", "e", "y"]
    assert space.bits == 12 * 9 + 12 + 5
    assert reasons(space)["b"] == "name not chosen"
    part = space.only(["d"])
    assert names(part) == ["d"]
    assert part.has_activations


def test_what_has_no_axis_of_images_flips_per_batch_only():
    """A mean over the images: the values of all of them."""
    model = model_of(
        [node("ReduceMean", ["x", "axes"], ["m"], name="mean", keepdims=0), node("Softmax", ["m"], ["y"], name="s")],
        [("axes", np.array([0], np.int64))],
    )
    with pytest.raises(ModelError, match=r"computes no tensor that can flip: .m. .not per image"):
        FaultSpace.of(model, **ONLY)
    space = FaultSpace.of(model, **ONLY, activations_per="batch", batch_size=3)
    assert [target.shape for target in space.targets] == [(3, 8, 8), (3, 8, 8)]


def test_a_coverage_says_that_it_counts_what_is_computed():
    """Also where none of it is left to flip."""
    stored = FaultSpace.of(small_cnn()).coverage
    space = FaultSpace.of(small_cnn(), roles=("weight", "activation"), include=("w*",))
    assert names(space) == ["w1", "w2", "w3"]
    words = space.coverage.words(target.role for target in space.targets)
    assert words.endswith(f"of the {space.coverage.elements:,} stored and computed elements")
    assert space.coverage.elements > stored.elements
    assert stored.words(["weight", "bias"]) == f"100.00 % of the {stored.elements:,} stored elements"


def test_a_size_that_nobody_knows_before_the_run_is_a_reason():
    """How many elements are not zero depends on the values."""
    model = model_of(
        [
            node("Relu", ["x"], ["r"]),
            node("NonZero", ["r"], ["i"]),
            node("Cast", ["i"], ["f"], to=1),
            node("Softmax", ["f"], ["s"]),
            node("ReduceMax", ["s"], ["y"], keepdims=0),
        ]
    )
    space = FaultSpace.of(model, **ONLY)
    assert names(space) == ["r"]
    left = reasons(space)
    assert left["i"] == "shape, index or condition"
    assert left["s"] == "size not known before the run"
    coverage = space.coverage
    assert coverage.words(["activation"]).endswith("stored and computed elements of known size")
    assert coverage.caution == (
        "computed tensors are in memory but cannot flip (size not known before the run 1), such as 's'; "
        "see ftonnx inspect"
    )


def test_half_floats_are_no_targets():
    """On a processor they are computed in float32: the tensors of the file are not those in memory."""
    with pytest.raises(ModelError, match="type that no run flips"):
        FaultSpace.of(halved(small_cnn()), **ONLY)


def behind(model, name, operator, **attributes):
    """Return a model in which everything that read a tensor reads what an operator makes of it."""
    nodes = list(model.graph.node)
    for each in nodes:
        each.input[:] = [f"{name}_behind" if read == name else read for read in each.input]
    place = next(number for number, each in enumerate(nodes) if name in each.output)
    nodes.insert(place + 1, node(operator, [name], [f"{name}_behind"], name=f"{operator} of {name}", **attributes))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


@pytest.mark.parametrize("operator", ["Identity", "Dropout"])
@pytest.mark.parametrize("name", ["a", "b"])
def test_what_runtimes_take_out_changes_nothing(name, operator):
    """Behind a Relu it would count the same memory twice; behind a Conv it would keep the Relu from being fused."""
    space = FaultSpace.of(behind(small_cnn(), name, operator), **ONLY)
    assert space.fingerprint == FaultSpace.of(small_cnn(), **ONLY).fingerprint
    assert reasons(space)[f"{name}_behind"] == "only moves values"


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_scores_that_are_handed_out_in_another_type_flip_as_they_are_computed(kind):
    """Behind the Gemm, which writes them to memory; the output is that memory seen as another type."""
    model = behind(small_cnn(), "y", "Cast", to=kind)
    model.graph.output[0].name = "y_behind"
    model.graph.output[0].type.tensor_type.elem_type = kind
    space = FaultSpace.of(model, **ONLY)
    assert space.fingerprint == FaultSpace.of(small_cnn(), **ONLY).fingerprint
    assert reasons(space)["y_behind"] == "only moves values"


def test_a_cast_to_integers_of_few_bits_is_a_quantizer():
    """The codes flip, as behind a QuantizeLinear."""
    model = behind(small_cnn(), "b", "Cast", to=TensorProto.INT8)
    space = FaultSpace.of(behind(model, "b_behind", "Cast", to=TensorProto.FLOAT), **ONLY)
    assert names(space) == ["b_behind", "d", "e", "y"]
    assert space.targets[0].format.bits == 8
    left = reasons(space)
    assert left["b"] == "fused into its reader"
    assert left["b_behind_behind"] == "only moves values"


def test_a_reader_is_warned_where_much_of_what_is_computed_cannot_flip():
    """From 1 % of the elements on: here those behind a Relu over all images, or of a type that no run flips."""
    turned = model_of(
        [
            node("Transpose", ["x"], ["t"], name="turn", perm=[1, 0, 2, 3]),
            node("Relu", ["t"], ["r"], name="relu"),
            node("ReduceMean", ["r", "axes"], ["m"], name="mean", keepdims=0),
            node("Softmax", ["m"], ["y"], name="softmax"),
        ],
        [("axes", np.array([0, 3], np.int64))],
    )
    coverage = FaultSpace.of(turned, **ONLY).coverage
    assert "cannot flip (not per image 1), such as 'r'; see" in coverage.caution
    assert FaultSpace.of(turned, **ONLY, activations_per="batch").coverage.caution is None
    wide = behind(behind(small_cnn(), "a", "Cast", to=TensorProto.DOUBLE), "b", "Cast", to=TensorProto.FLOAT)
    assert "(type that no run flips 1), such as 'b'" in FaultSpace.of(wide, **ONLY).coverage.caution
    assert FaultSpace.of(small_cnn(), **ONLY).coverage.caution is None


def test_what_no_output_depends_on_does_not_count():
    """As stored tensors that nothing uses: a branch of layers that ends in nothing."""
    model = small_cnn()
    model.graph.node.append(node("Relu", ["d"], ["dead"], name="dead"))
    model.graph.node.append(node("GlobalMaxPool", ["dead"], ["end"], name="end"))
    space = FaultSpace.of(model, **ONLY)
    assert space.fingerprint == FaultSpace.of(small_cnn(), **ONLY).fingerprint
    assert {reasons(space)["dead"], reasons(space)["end"]} == {"values not used"}


def test_an_input_that_is_an_output_too_hides_no_sizes():
    """It is handed out as it came in; nothing computes it."""
    model = small_cnn()
    model.graph.output.append(model.graph.input[0])
    assert FaultSpace.of(model, **ONLY).fingerprint == FaultSpace.of(small_cnn(), **ONLY).fingerprint


def test_a_tensor_without_elements_is_nothing_that_is_left_out():
    """Such as an empty slice, which a concatenation joins."""
    ends = [("none", np.array([0])), ("axis", np.array([1]))]
    nodes = [
        node("Relu", ["x"], ["r"], name="relu"),
        node("Slice", ["r", "none", "none", "axis"], ["empty"], name="slice"),
        node("Sigmoid", ["empty"], ["s"], name="sigmoid"),
        node("Concat", ["r", "s"], ["y"], name="join", axis=1),
    ]
    space = FaultSpace.of(model_of(nodes, ends), **ONLY)
    assert names(space) == ["r"]
    assert reasons(space).keys() == {"none", "axis", "y"}


def test_what_is_computed_in_a_branch_is_left_out():
    """Its tensors exist in some runs only."""
    branch = model_of([node("Relu", ["r"], ["inner"])], outputs=["inner"], inputs={"r": ("batch", 3, 8, 8)}).graph
    del branch.input[:]
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("If", ["c"], ["o"], then_branch=branch, else_branch=branch),
        node("Softmax", ["o"], ["y"]),
    ]
    model = model_of(nodes, [("c", np.array(True))])
    space = FaultSpace.of(model, **ONLY)
    assert "r" in names(space)
    assert reasons(space)["inner"] == "inside a subgraph"


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"roles": ("activations",)}, "activation"),
        ({**ONLY, "activations_per": "pixel"}, "image or batch was expected"),
        ({**ONLY, "include": ("w1=activation",)}, "names no role"),
    ],
)
def test_a_choice_that_means_nothing_is_refused(choice, message):
    """In a line that says what was expected."""
    with pytest.raises(UsageError, match=message):
        FaultSpace.of(small_cnn(), **choice)


@pytest.mark.parametrize("roles", [("activation",), ("weight", "activation")])
def test_a_name_of_a_tensor_that_cannot_flip_is_answered_with_the_reason(roles):
    """Whoever asks for what a Conv computes learns that it is fused; others are not told of it."""
    fused = r"; what it computes besides cannot flip: 'a' \(fused into its reader\)$"
    with pytest.raises(ModelError, match=fused):
        FaultSpace.of(small_cnn(), roles=roles, include=("a",))
    with pytest.raises(ModelError, match=r"with the roles [a-z, ]+$"):
        FaultSpace.of(small_cnn(), roles=roles, include=("nothing",))


def test_at_a_rate_every_image_has_bits_of_its_own():
    """Slot by slot: what a pattern is drawn from has N bits per image, the stored ones once."""
    space = FaultSpace.of(small_cnn(), roles=("bias", "activation")).for_units(5)
    stored = FaultSpace.of(small_cnn(), roles=("bias",)).bits
    assert space.drawn.bits == stored + 5 * (space.bits - stored)
    faults = BitFlipRates(1e-3).unit_pattern(space.drawn, 0, level=1e-3, repeat=0, batch=0)
    space.check_drawn(faults)
    with pytest.raises(UsageError, match="does not exist"):
        space.check(faults)
    with pytest.raises(UsageError, match="does not exist"):
        space.check_drawn(Faults([0], [space.targets[0].elements], [0]))
    assert FaultSpace.of(small_cnn()).for_units(5).drawn == FaultSpace.of(small_cnn())


@pytest.mark.parametrize("along", ["bits", "words"])
@pytest.mark.parametrize(("per", "slots"), [("image", 6), ("batch", 3)])
def test_a_burst_ends_with_the_image_or_run_that_it_hits(along, per, slots):
    """At a rate of one, every bit begins a burst of two: the last ones of an image, or a run, are that of one bit.

    A bit that two upsets hit is as it was, so only those flip with which bursts begin and none goes on.
    """
    space = FaultSpace.of(small_cnn(), **ONLY, include=("y",), activations_per=per, batch_size=2).for_units(6)
    (target,) = space.targets
    faults = Bursts(1, 2, along).unit_pattern(space.drawn, 0, level=2, repeat=0, batch=0)
    expected = []
    for slot in range(slots):
        first = slot * target.elements
        expected += [(first, 0)] if along == "bits" else [(first, bit) for bit in range(32)]
    assert list(zip(faults.element.tolist(), faults.bit.tolist(), strict=True)) == expected


def test_positions_are_uniform_over_the_bits():
    """Chi-square over the tensors and their bits, of 20,000 single draws."""
    from scipy import stats

    space = FaultSpace.of(small_cnn(), **ONLY).for_units(3).drawn
    rng = np.random.default_rng(0)
    draws = rng.integers(space.bits, size=20_000)
    positions = np.unique(draws)
    faults = space.locate(positions)
    cells = faults.target.astype(int) * 32 + faults.bit
    counted = np.bincount(cells, minlength=4 * 32)
    share = np.repeat([target.elements for target in space.targets], 32) / (space.bits)
    assert stats.chisquare(counted, share * len(positions)).pvalue > 1e-3
    slots = faults.element // [space.targets[target].elements // 3 for target in faults.target]
    assert stats.chisquare(np.bincount(slots, minlength=3)).pvalue > 1e-3


def test_no_file_holds_what_is_computed():
    """Faults there are listed without values, and cannot be written into a model."""
    model = small_cnn()
    space = FaultSpace.of(model, roles=("bias", "activation"))
    target = names(space).index("b")
    faults = Faults([0, target, target], [1, 7, 7], [3, 2, 5])
    records = list_faults(model, space, faults)
    assert [(each.tensor, each.index, each.bit) for each in records] == [("b1", 1, 3), ("b", 7, 2), ("b", 7, 5)]
    assert records[0].before is not None
    assert records[1].before is records[1].after is None
    with pytest.raises(UsageError, match="'d' is computed while the model runs"):
        faulty_model(model, space, Faults([0, target + 1], [1, 7], [3, 2]))
    stored = faulty_model(model, space, Faults([0], [1], [3]))
    (changed,) = (new for old, new in zip(model.graph.initializer, stored.graph.initializer, strict=True) if old != new)
    assert changed.name == "b1"
    with pytest.raises(UsageError, match="depend on stored bits"):
        space.is_set(faults)


def test_rows_of_a_table_are_activations():
    """What is looked up is the first that a run holds; what is gathered of an activation only moves."""
    table = random_floats(7, 4)
    model = model_of(
        [
            node("Gather", ["table", "ids"], ["rows"], name="embedding"),
            node("MatMul", ["rows", "w"], ["m"], name="product"),
            node("Gather", ["m", "first"], ["y"], name="take", axis=1),
        ],
        [("table", table), ("w", random_floats(4, 3)), ("first", np.array([0], np.int64))],
        inputs={"ids": ("batch", 6)}, element=7, outputs={"y": ("batch", 1, 3)},
    )  # fmt: skip
    model.graph.output[0].type.tensor_type.elem_type = 1
    space = FaultSpace.of(model, **ONLY)
    assert names(space) == ["rows", "m"]
    assert reasons(space)["y"] == "only moves values"
