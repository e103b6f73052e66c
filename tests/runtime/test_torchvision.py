"""Four architectures from torchvision, exported by torch: flips arrive, bit for bit, in each of them."""

import numpy as np
import onnx
import pytest
from onnx_zoo import bits_of, naively_flipped, ort_run, random_floats

from ftonnx.inject import BitFlipRates, Faults, FaultSpace, load_model, unit_rng
from ftonnx.runtime import FaultySession

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")
pytest.importorskip("onnxscript")

pytestmark = pytest.mark.slow

PIXELS = {"resnet18": 64, "mobilenet_v2": 64, "densenet121": 64, "inception_v3": 75}
MILD = (8, 21)
"""Bits of Q15.16 worth 2**-8 to 16: outputs change and stay finite."""


def network(name):
    """Return an untrained network whose normalizations have statistics, as after training."""
    options = {"aux_logits": False, "init_weights": False} if name == "inception_v3" else {}
    torch.manual_seed(0)
    module = getattr(torchvision.models, name)(weights=None, num_classes=10, **options).eval()
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(layer.running_mean, std=0.1)
            torch.nn.init.uniform_(layer.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
            torch.nn.init.normal_(layer.bias, std=0.1)
        elif isinstance(layer, torch.nn.Linear):
            torch.nn.init.normal_(layer.bias, std=0.1)  # the exporter drops a bias of zeros
    return module


@pytest.fixture(scope="module", params=PIXELS)
def exported(request, tmp_path_factory):
    """One network: its name, module, file and images."""
    name, pixels = request.param, PIXELS[request.param]
    module = network(name)
    path = tmp_path_factory.mktemp(name) / f"{name}.onnx"
    torch.onnx.export(
        module, (torch.zeros(2, 3, pixels, pixels),), path, input_names=["x"], dynamo=True, opset_version=20,
        dynamic_shapes=({0: torch.export.Dim("batch")},), external_data=False, verbose=False,
    )  # fmt: skip
    return name, module, path, random_floats(2, 3, pixels, pixels, seed=1, scale=1)


@pytest.fixture(scope="module")
def live(exported):
    """The live session on the network, which is opened and proved once."""
    _, _, path, x = exported
    return FaultySession(path, strategy="live", sample=x)


def patterns(space, count=3):
    """Yield faults of mild bits in random targets, and the same as (tensor, element, bit)."""
    for seed in range(count):
        rng = np.random.default_rng(seed)
        targets = rng.choice(len(space.targets), size=min(8, len(space.targets)), replace=False)
        flips = [(int(t), int(rng.integers(space.targets[t].elements)), int(rng.integers(*MILD))) for t in targets]
        yield Faults(*zip(*flips, strict=True)), [(space.targets[t].tensor, e, b) for t, e, b in flips]


def test_the_fault_space_holds_the_parameters_of_the_network(exported):
    """Counted in torch: a folded normalization leaves one bias per channel in place of four numbers."""
    name, module, path, _ = exported
    space = FaultSpace.of(path)
    norms = [layer for layer in module.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    stored = {t.name: t for t in onnx.load(path).graph.initializer}
    graph = load_model(path).proto.graph
    kept = [node for node in graph.node if node.op_type == "BatchNormalization"]
    assert (len(kept) > 0) == (name == "densenet121")
    kept_channels = sum(stored[node.input[1]].dims[0] for node in kept)
    others = sum(p.numel() for p in module.parameters()) - sum(2 * layer.num_features for layer in norms)
    folded_channels = sum(layer.num_features for layer in norms) - kept_channels
    assert space.elements == others + folded_channels + 4 * kept_channels
    assert space.bits == 32 * space.elements


def test_golden_outputs_are_those_of_torch(exported, live):
    """To float32 rounding."""
    _, module, _, x = exported
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(live.golden(x)[0], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_live_outputs_are_those_of_a_fresh_session_on_the_flipped_file(exported, live):
    """Bit for bit where the file is used as it is; to rounding where normalizations were made explicit."""
    name, _, path, x = exported
    model, space = onnx.load(path), FaultSpace.of(path)
    assert (live.strategy, live.fallback) == ("live", None)
    before = bits_of(live.golden(x))
    for faults, flips in patterns(space):
        flipped = naively_flipped(model, flips)
        outputs = live.run(x, faults)
        assert bits_of(outputs) != before
        assert bits_of(outputs) == bits_of(live.reference(flipped, x))
        if live.options.disabled == ():
            expected = ort_run(flipped, {"x": x}, prepack=False)
            if name == "densenet121":
                np.testing.assert_allclose(outputs[0], expected[0], rtol=1e-3, atol=1e-4 * np.abs(expected[0]).max())
            else:
                assert bits_of(outputs) == bits_of(expected)
        assert bits_of(live.golden(x)) == before


def test_rebuilt_outputs_are_those_of_a_default_session_on_the_flipped_file(exported):
    """Bit for bit in every network, by a rebuilt graph or, where that has no place for a tensor, a flipped file."""
    name, _, path, x = exported
    model, space = onnx.load(path), FaultSpace.of(path)
    session = FaultySession(path, space, strategy="rebuild", sample=x)
    assert session.strategy == "rebuild"
    assert (session.fallback is not None) == (name == "densenet121")
    before = bits_of(session.golden(x))
    assert before == bits_of(ort_run(model, {"x": x}))
    for faults, flips in patterns(space, count=2):
        assert bits_of(session.run(x, faults)) == bits_of(ort_run(naively_flipped(model, flips), {"x": x}))
    assert bits_of(session.golden(x)) == before


def test_a_campaigns_rates_leave_the_network_as_it_was(exported, live):
    """After patterns of up to thousands of flips the golden outputs have the same bits."""
    _, _, path, x = exported
    space = FaultSpace.of(path)
    before = bits_of(live.golden(x))
    for repeat, rate in enumerate((1e-7, 1e-6, 1e-5)):
        live.run(x, BitFlipRates(rate).draw(space, unit_rng(0, rate, repeat, 0)))
        assert bits_of(live.golden(x)) == before
