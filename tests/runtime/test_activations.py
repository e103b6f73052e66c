"""Runs with faults in activations: against numpy, against graphs that are cut, and against torch with hooks."""

import logging

import numpy as np
import onnxruntime as ort
import pytest
from activations_kit import (
    branching_net,
    fixed_batch,
    flip,
    flipped_float,
    integer_cnn,
    integer_cnn_in_numpy,
    node,
    run_cut,
    small_cnn_in_numpy,
)
from onnx import TensorProto, helper, numpy_helper
from onnx_zoo import bits_of, model_of, naively_flipped, ort_run, random_floats, small_cnn
from runtime_kit import old_net

from ftonnx.errors import ModelError, UsageError
from ftonnx.inject import BitFlipRates, Faults, FaultSpace, unit_rng
from ftonnx.quant import quantize
from ftonnx.runtime import FaultySession
from ftonnx.runtime.activations.strategies import BesideOptimized, BesideStored, OnGraph, OnOptimized

ONLY = {"roles": ("activation",)}
IMAGES = random_floats(5, 3, 8, 8, seed=9, scale=1)
FORMATS = {"q15.16": (15, 16), "q3.4": (3, 4), "ieee": "ieee"}


def opened(model, *, threads=1, images=0, sample=IMAGES, strategy="auto", **choice):
    """Open a session on a model; ``images`` that patterns tell apart, none where all meet the same flips."""
    space = FaultSpace.of(model, **(ONLY | choice))
    if images:
        space = space.for_units(images)
    return FaultySession(model, space, threads=threads, sample=sample, strategy=strategy), space


def drawn(space, rate, repeat=0):
    """Draw a pattern and return it as faults and as (image, tensor, element, bit)."""
    faults = BitFlipRates(rate).draw(space.drawn, unit_rng(0, rate, 0, repeat))
    flips = []
    for number, element, bit in zip(faults.target.tolist(), faults.element.tolist(), faults.bit.tolist(), strict=True):
        target = space.targets[number]
        image, own = divmod(element, target.elements)
        flips.append((image, target.tensor, own, bit))
    return faults, flips


def plain(model):
    """Open an ordinary session."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options)


@pytest.mark.parametrize(
    "model", [small_cnn, branching_net, integer_cnn, lambda: quantize(small_cnn(), [IMAGES]).proto]
)
def test_without_flips_the_outputs_are_those_of_the_plain_model(model):
    """Bit for bit, before and after runs with faults."""
    session, space = opened(model(), images=len(IMAGES))
    expected = bits_of(ort_run(model(), {"x": IMAGES}, threads=1))
    assert bits_of(session.golden(IMAGES)) == expected
    faults, _ = drawn(space, 1e-3)
    assert bits_of(session.run(IMAGES, faults)) != expected
    assert bits_of(session.run(IMAGES, Faults.none())) == expected
    assert bits_of(session.golden(IMAGES)) == expected


@pytest.mark.parametrize("format", ["q15.16", "ieee"])
@pytest.mark.parametrize("model", [small_cnn, branching_net])
def test_a_flip_is_what_a_cut_graph_gives(model, format):
    """Up to the tensor, flipped in numpy, and the rest: every reader sees it. Exact where no sum is fused apart."""
    session, space = opened(model(), format=format, images=len(IMAGES))
    rng = np.random.default_rng(1)
    for number, target in enumerate(space.targets):
        elements = rng.choice(target.elements, 3, replace=False)
        flips = [(image, target.tensor, int(element), 20) for image, element in zip((0, 1, 4), elements, strict=True)]
        faults = Faults([number] * 3, [image * target.elements + element for image, _, element, _ in flips], [20] * 3)
        (got,) = session.run(IMAGES, faults)
        if target is space.targets[-1] and target.tensor == "y":
            (golden,) = session.golden(IMAGES)
            assert bits_of([flip(golden.copy(), "y", flips, FORMATS[format])]) == bits_of([got])
            continue

        def change(value, name=target.tensor, own=flips):
            return flip(value, name, own, FORMATS[format])

        (expected,) = run_cut(model(), target.tensor, change, {"x": IMAGES}, plain)
        if model is small_cnn:
            assert bits_of([got]) == bits_of([expected])
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("format", ["q15.16", "ieee"])
def test_a_forward_pass_in_numpy_agrees(format):
    """At rates at which every image meets flips of its own, within rounding."""
    session, space = opened(small_cnn(), format=format, images=len(IMAGES), bits=range(12, 20))
    for repeat in range(5):
        faults, flips = drawn(space, 3e-3, repeat)
        (got,) = session.run(IMAGES, faults)
        expected = small_cnn_in_numpy(small_cnn(), IMAGES, flips, FORMATS[format])
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("activation", [np.uint8, np.int8])
@pytest.mark.parametrize("opset", [17, 20])
def test_a_forward_pass_in_whole_numbers_is_the_same(activation, opset):
    """Of the quantized network, exactly: with the operator for flips of whole numbers, and without."""
    model = integer_cnn(opset, activation)
    session, space = opened(model, images=len(IMAGES))
    expected = integer_cnn_in_numpy(model, IMAGES, [], activation)
    assert bits_of(session.golden(IMAGES)) == bits_of([expected])
    for repeat in range(5):
        faults, flips = drawn(space, 1e-2, repeat)
        expected = integer_cnn_in_numpy(model, IMAGES, flips, activation)
        assert bits_of(session.run(IMAGES, faults)) == bits_of([expected])


def test_an_injection_is_met_by_every_image_at_the_same_place():
    """Where patterns tell no images apart."""
    session, space = opened(small_cnn())
    faults = Faults([0, 1], [17, 5], [19, 18])
    flips = [(image, *flip) for image in range(len(IMAGES)) for flip in (("b", 17, 19), ("d", 5, 18))]
    (got,) = session.run(IMAGES, faults)
    expected = small_cnn_in_numpy(small_cnn(), IMAGES, flips, (15, 16))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-3)
    # each image alone gives what it gives among others
    alone = np.concatenate([session.run(IMAGES[i : i + 1], faults)[0] for i in range(len(IMAGES))])
    np.testing.assert_allclose(got, alone, rtol=1e-5, atol=1e-5)
    assert space.scope.slots is None


def test_flips_of_images_that_are_not_there_do_nothing():
    """A short last batch meets those of its own images."""
    session, space = opened(integer_cnn(), images=len(IMAGES))
    faults, flips = drawn(space, 1e-2)
    for images in (1, 2, 4):
        expected = integer_cnn_in_numpy(integer_cnn(), IMAGES[:images], [each for each in flips if each[0] < images])
        assert bits_of(session.run(IMAGES[:images], faults)) == bits_of([expected])


@pytest.mark.parametrize("size", [1, 2])
def test_a_pattern_that_is_held_for_several_runs_is_shared_out(size):
    """Every run meets the flips of its own images: a model that insists on its batch gives the counts of another."""
    model = fixed_batch(integer_cnn(), size)
    session, space = opened(model, images=4, sample=IMAGES[:size])
    faults, flips = drawn(space, 1e-2)
    held = session.hold_runs([IMAGES[first : first + size] for first in range(0, 4, size)])
    got = np.concatenate([outputs[0] for outputs in held.run(faults)])
    assert bits_of([got]) == bits_of([integer_cnn_in_numpy(integer_cnn(), IMAGES[:4], flips)])


def test_per_batch_one_image_of_a_run_is_hit():
    """N is that of the run, which a short batch is filled up to."""
    session, space = opened(integer_cnn(), activations_per="batch", batch_size=3, sample=IMAGES[:3])
    assert session.batch_size == 3
    target = space.targets[1]
    faults = Faults([1], [2 * target.elements // 3 + 40], [6])
    expected = integer_cnn_in_numpy(integer_cnn(), IMAGES[:3], [(2, "r1q", 40, 6)])
    assert bits_of(session.run(IMAGES[:3], faults)) == bits_of([expected])
    # patterns tell runs apart where there are several
    apart, space = opened(integer_cnn(), activations_per="batch", batch_size=2, images=4, sample=IMAGES[:2])
    assert space.scope.slots == 2
    faults, flips = drawn(space, 1e-2)
    own = []
    for run, tensor, element, bit in flips:
        size = {target.tensor: target.elements // 2 for target in space.targets}[tensor]
        own.append((2 * run + element // size, tensor, element % size, bit))
    got = np.concatenate([outputs[0] for outputs in apart.hold_runs([IMAGES[:2], IMAGES[2:4]]).run(faults)])
    assert bits_of([got]) == bits_of([integer_cnn_in_numpy(integer_cnn(), IMAGES[:4], own)])


@pytest.mark.parametrize("roles", [("activation",), ("weight", "activation")])
def test_a_sample_of_fewer_images_than_a_run_is_filled_up(roles):
    """Data may have fewer images than a run takes: those that it is filled up with are hit too."""
    model = integer_cnn()
    session, space = opened(model, roles=roles, activations_per="batch", batch_size=7, sample=IMAGES)
    number = [target.tensor for target in space.targets].index("r1q")
    one = space.targets[number].elements // 7
    faults = Faults([number, number], [4 * one + 40, 6 * one + 41], [6, 5])
    filled = np.concatenate([IMAGES, IMAGES[-1:], IMAGES[-1:]])
    expected = integer_cnn_in_numpy(model, filled, [(4, "r1q", 40, 6), (6, "r1q", 41, 5)])
    assert bits_of(session.run(filled, faults)) == bits_of([expected])


def test_one_number_for_a_whole_run_flips_per_batch():
    """A tensor without axes, such as a mean over everything or the scale of a quantizer that measures it."""
    model = model_of(
        [node("ReduceMean", ["x"], ["m"], name="mean", keepdims=0), node("Mul", ["x", "m"], ["y"], name="product")],
        outputs={"y": ("batch", 3, 8, 8), "m": ()},
    )
    session, space = opened(model, activations_per="batch", batch_size=len(IMAGES))
    assert [target.shape for target in space.targets] == [(), (5, 3, 8, 8)]
    _, mean = session.golden(IMAGES)
    product, shown = session.run(IMAGES, Faults([0], [0], [20]))
    flipped = np.float32(flipped_float(mean, [20], (15, 16)))
    assert bits_of([shown]) == bits_of([flipped])
    assert bits_of([product]) == bits_of([IMAGES * flipped])


@pytest.mark.parametrize("opset", [17, 26])
def test_floats_flip_where_a_run_without_faults_has_infinities_and_no_numbers(opset):
    """As masks of attention have, also where bits are read by arithmetic, which knows one NaN."""
    model = model_of(
        [
            node("Log", ["x"], ["l"], name="log"),
            node("IsNaN", ["l"], ["n"], name="negative"),
            node("Where", ["n", "least", "l"], ["m"], name="mask"),
            node("Softmax", ["m"], ["y"], name="softmax"),
        ],
        [("least", np.float32(-np.inf))],
        outputs={"y": ("batch", 3, 8, 8), "l": ("batch", 3, 8, 8)},
        opset=opset,
    )
    session, space = opened(model, format="ieee", images=len(IMAGES))
    assert [target.tensor for target in space.targets] == ["l", "m", "y"]
    negative = int(np.flatnonzero(IMAGES[0].reshape(-1) < 0)[0])
    number = int(np.flatnonzero(IMAGES[0].reshape(-1) > 0)[0])
    for element in (negative, number):
        (got, _) = session.run(IMAGES, Faults([1], [element], [23]))

        def change(value, element=element):
            return flip(value, "m", [(0, "m", element, 23)], "ieee")

        expected = run_cut(model, "m", change, {"x": IMAGES}, plain)[0]
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    # a quiet NaN without the highest bit of its exponent, of whichever sign and payload the processor gives it
    (_, shown) = session.run(IMAGES, Faults([0], [negative], [30]))
    assert 1.5 <= abs(shown.reshape(-1)[negative]) < 2


@pytest.mark.parametrize("strategy", ["auto", "live", "rebuild", "packed"])
def test_activations_flip_beside_stored_values(strategy):
    """As in a flipped file with flips in its activations."""
    model = integer_cnn()
    session, space = opened(model, roles=("weight", "activation"), images=len(IMAGES), strategy=strategy)
    names = [target.tensor for target in space.targets]
    activations, flips = drawn(FaultSpace.of(model, **ONLY).for_units(len(IMAGES)), 1e-2)
    stored = [("w1", 7, 5), ("w2", 100, 3)]
    targets = [*(names.index(name) for name, _, _ in stored), *(activations.target + space.stored_targets)]
    elements = [*(element for _, element, _ in stored), *activations.element]
    bits = [*(bit for _, _, bit in stored), *activations.bit]
    expected = integer_cnn_in_numpy(naively_flipped(model, stored), IMAGES, flips)
    assert bits_of(session.run(IMAGES, Faults(targets, elements, bits))) == bits_of([expected])
    assert bits_of(session.golden(IMAGES)) == bits_of([integer_cnn_in_numpy(model, IMAGES, [])])
    assert isinstance(session._strategy, BesideOptimized)


def test_the_graph_that_was_optimized_is_preferred():
    """Its layouts and fusions are those of the plain session; the model's own graph stands in where it fails."""
    for model in (small_cnn(), branching_net(), integer_cnn()):
        assert isinstance(opened(model)[0]._strategy, OnOptimized)
    assert isinstance(opened(branching_net(), roles=("weight", "activation"))[0]._strategy, BesideOptimized)


def test_the_model_s_own_graph_does_the_same(monkeypatch):
    """Where no activation is to be found in the optimized one."""
    from ftonnx.runtime.activations import optimized
    from ftonnx.runtime.layout.draft import NotPossibleError

    def lost(*_):
        raise NotPossibleError("lost")

    monkeypatch.setattr(optimized, "_stored", lost)
    for roles, kind in ((("activation",), OnGraph), (("weight", "activation"), BesideStored)):
        session, space = opened(integer_cnn(), roles=roles, images=len(IMAGES))
        assert type(session._strategy) is kind
        own = FaultSpace.of(integer_cnn(), **ONLY).for_units(len(IMAGES))
        faults, flips = drawn(own, 1e-2)
        moved = Faults(faults.target + space.stored_targets, faults.element, faults.bit)
        expected = integer_cnn_in_numpy(integer_cnn(), IMAGES, flips)
        assert bits_of(session.run(IMAGES, moved)) == bits_of([expected])


def test_another_process_opens_the_same(tmp_path):
    """By what a session shares: alone, and beside stored values."""
    for roles in (("activation",), ("weight", "activation")):
        session, space = opened(integer_cnn(), roles=roles, images=len(IMAGES))
        folder = tmp_path / "-".join(roles)
        folder.mkdir()
        session.share(folder)
        other = FaultySession.from_shared(folder, integer_cnn(), space, threads=1)
        assert type(other._strategy) is type(session._strategy)
        # what only a proof needs is given back: graphs that hold the weights once more
        assert not hasattr(other._strategy, "graph")
        assert not hasattr(session._strategy, "graph")
        faults = BitFlipRates(1e-2).draw(space.drawn, unit_rng(0, 1e-2, 0, 0))
        assert bits_of(other.run(IMAGES, faults)) == bits_of(session.run(IMAGES, faults))


def test_an_output_in_the_middle_and_a_file_of_an_old_version():
    """A graph's outputs are activations like others; stored tensors that are listed as inputs stay constants."""
    model = small_cnn()
    model.graph.output.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, ("batch", 16, 8, 8)))
    session, space = opened(model, images=len(IMAGES))
    faults = Faults([0], [3], [20])
    _, shown = session.run(IMAGES, faults)
    expected = flip(session.golden(IMAGES)[1].copy(), "b", [(0, "b", 3, 20)], (15, 16))
    assert bits_of([shown]) == bits_of([expected])
    old_file = old_net()
    old_file.opset_import[0].version = 11
    old, space = opened(old_file, images=len(IMAGES))
    faults, flips = drawn(space, 1e-4)
    expected = small_cnn_in_numpy(small_cnn(), IMAGES, flips, (15, 16))
    np.testing.assert_allclose(old.run(IMAGES, faults)[0], expected, rtol=1e-3, atol=0.05)


def torch_twin(model):
    """Return ``small_cnn`` in torch, with the weights of a file."""
    import torch

    tensors = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in model.graph.initializer
    }
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 12, 3, stride=2),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(12, 5),
    ).eval()
    with torch.no_grad():
        for place, number in {0: 1, 2: 2, 6: 3}.items():
            net[place].weight.copy_(tensors[f"w{number}"])
            net[place].bias.copy_(tensors[f"b{number}"])
    return net


def stated_cases():
    """Yield 200 cases: one of the two Relus, and an element behind it."""
    rng = np.random.default_rng(3)
    sizes = (16 * 64, 12 * 9)
    for _ in range(200):
        number = int(rng.integers(2))
        yield number, int(rng.integers(sizes[number]))


def test_torch_with_hooks_agrees_on_two_hundred_cases():
    """Bit 24 of one element behind a Relu flips in every image, as PyTorchFI injects into each element of a batch."""
    import torch

    net = torch_twin(small_cnn())
    session, _ = opened(small_cnn(), format="ieee")
    for number, element in stated_cases():

        def replace(module, inputs, output, element=element):
            flat = output.reshape(len(output), -1)
            for row in flat:
                row[element] = float(flipped_float(row[element].item(), [24], "ieee"))
            return flat.reshape(output.shape)

        handle = net[1 + 2 * number].register_forward_hook(replace)
        with torch.no_grad():
            expected = net(torch.from_numpy(IMAGES)).numpy()
        handle.remove()
        (got,) = session.run(IMAGES, Faults([number], [element], [24]))
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
        assert (got.argmax(axis=1) == expected.argmax(axis=1)).all()


def test_pytorchfi_agrees_on_two_hundred_cases():
    """The same faults, declared as its neuron injections; where it is installed, which no other test needs.

    It injects behind layers with weights: what no sign bit makes negative passes the Relu as it is.
    """
    core = pytest.importorskip("pytorchfi.core")
    import torch

    net = torch_twin(small_cnn())
    images = torch.from_numpy(IMAGES)
    injector = core.fault_injection(net, len(IMAGES), input_shape=[3, 8, 8], layer_types=[torch.nn.Conv2d])
    session, _ = opened(small_cnn(), format="ieee")
    shapes = ((16, 8, 8), (12, 3, 3))
    with torch.no_grad():
        before = [net[:2](images).reshape(len(IMAGES), -1), net[:4](images).reshape(len(IMAGES), -1)]
    for number, element in stated_cases():
        places = np.unravel_index(element, shapes[number])
        values = [float(flipped_float(value.item(), [24], "ieee")) for value in before[number][:, element]]
        count = len(IMAGES)
        dims = {f"dim{axis + 1}": [int(place)] * count for axis, place in enumerate(places)}
        injected = injector.declare_neuron_fi(
            batch=list(range(count)), layer_num=[number] * count, **dims, value=values
        )
        with torch.no_grad():
            expected = injected(images).numpy()
        (got,) = session.run(IMAGES, Faults([number], [element], [24]))
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_a_strategy_for_stored_values_is_not_needed():
    """It is said, and not silently done otherwise."""
    session, _ = opened(small_cnn(), strategy="packed")
    assert session.strategy == "live"
    assert session.fallback == "packed is for stored values, and activations alone can flip"
    assert opened(small_cnn(), strategy="live")[0].fallback is None


def test_what_cannot_be_run_is_refused():
    """Another model's space, faults outside of it, and operators that are too old to flip with."""
    space = FaultSpace.of(branching_net(), **ONLY)
    with pytest.raises(UsageError, match="of another model: nothing computes 'p'"):
        FaultySession(small_cnn(), space, sample=IMAGES)
    session, _ = opened(small_cnn(), images=2)
    with pytest.raises(UsageError, match="does not exist"):
        session.run(IMAGES, Faults([9], [0], [0]))
    with pytest.raises(UsageError, match="bit 40 of element 0 does not exist"):
        session.run(IMAGES, Faults([0], [0], [40]))
    with pytest.raises(UsageError, match="element 5 does not exist"):
        opened(small_cnn())[0].run(IMAGES, Faults([3], [5], [0]))
    old = model_of([node("Relu", ["x"], ["y"])], opset=9)
    with pytest.raises(ModelError, match="operator set 11 or newer, and the model has 9"):
        opened(old)


@pytest.mark.parametrize("roles", [("activation",), ("weight", "activation")])
def test_a_model_that_does_not_open_is_refused_as_for_stored_values(roles):
    """Activations have nothing to do with an operator that ONNX Runtime does not know."""
    model = model_of(
        [node("Gemm", ["x", "w"], ["m"], name="product"), node("Unknown", ["m"], ["y"], name="own", domain="own")],
        [("w", random_floats(4, 5))],
        inputs={"x": ("batch", 4)},
        domains=["own"],
    )
    for choice in (roles, ("weight",)):
        with pytest.raises(ModelError, match=r"^ONNX Runtime refuses the model: .*Unknown"):
            opened(model, roles=choice, sample=random_floats(2, 4))


def test_a_fusion_that_ends_is_told(caplog):
    """Where an activation is shown that ONNX Runtime computes within another operator, the last bits may differ."""
    model = model_of(
        [
            node("MatMul", ["x", "w"], ["m"], name="product"),
            node("Add", ["m", "b"], ["a"], name="bias"),
            node("Add", ["a", "x"], ["s"], name="skip"),
            node("LayerNormalization", ["s", "g", "h"], ["l"], name="norm"),
            node("MatMul", ["l", "w"], ["n"], name="second"),
            node("Add", ["n", "s"], ["y"], name="sum"),
        ],
        [(name, random_floats(*shape, seed=i)) for i, (name, shape) in enumerate(
            {"w": (32, 32), "b": (32,), "g": (32,), "h": (32,)}.items())],
        inputs={"x": ("batch", 4, 32)}, outputs={"y": ("batch", 4, 32)},
    )  # fmt: skip
    images = random_floats(3, 4, 32, seed=4)
    with caplog.at_level(logging.WARNING):
        session, space = opened(model, images=3, sample=images)
    golden = bits_of(session.golden(images))
    is_plain = golden == bits_of(ort_run(model, {"x": images}, threads=1))
    assert is_plain != ("differ from the plain model's by rounding" in caplog.text)
    number = [target.tensor for target in space.targets].index("s")

    def change(value):
        return flip(value, "s", [(1, "s", 5, 20)], (15, 16))

    (expected,) = run_cut(model, "s", change, {"x": images}, plain)
    (got,) = session.run(images, Faults([number], [128 + 5], [20]))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
