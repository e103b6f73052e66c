"""One peer in its own process and environment: says "ready", then runs a batch per line of input and says the seconds.

Started by ``peers.py`` with the peers' Python; it knows nothing of ftonnx.
"""

import random
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torchvision import models

BITS = 32
FRACTION = 16


def main() -> None:
    """Serve the work named on the command line: NAME ARCHITECTURE BATCH PIXELS THREADS."""
    name, architecture, batch, pixels, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    random.seed(0)
    net = models.get_model(architecture, weights=None).eval()
    images = torch.randn(int(batch), 3, int(pixels), int(pixels))
    with torch.no_grad():
        work = WORKS[name](net, images)
        print("ready", flush=True)
        for _ in sys.stdin:
            start = time.perf_counter()
            work()
            print(time.perf_counter() - start, flush=True)


def eager(net: torch.nn.Module, images: torch.Tensor) -> Callable[[], object]:
    """No faults: what the peers build on."""
    return lambda: net(images)


def pytorchfi_single(net: torch.nn.Module, images: torch.Tensor) -> Callable[[], object]:
    """PyTorchFI: a random bit of a random convolution weight, in a copy of the model that it makes."""
    from pytorchfi.core import fault_injection
    from pytorchfi.weight_error_models import random_weight_location

    injector = fault_injection(net, len(images), input_shape=list(images.shape[1:]), use_cuda=False)

    def flip(weight: torch.Tensor, place: tuple[int, ...]) -> torch.Tensor:
        return flipped(weight[place].reshape(1), random.randrange(BITS))[0]

    def work() -> object:
        layer, *place = random_weight_location(injector)
        names = ("k", "dim1", "dim2", "dim3")
        corrupted = injector.declare_weight_fi(function=flip, layer_num=layer, **dict(zip(names, place, strict=True)))
        return corrupted(images)

    return work


def mrfi_single(net: torch.nn.Module, images: torch.Tensor) -> Callable[[], object]:
    """MRFI: a random bit of a random weight of a random convolution or linear layer; it keeps a clean copy itself."""
    from mrfi import MRFI, EasyConfig

    selector = {"method": "RandomPositionByNumber", "n": 1}
    injector = MRFI(net, EasyConfig({"faultinject": [mrfi_weights(selector, enabled=False)]}))
    layers = injector.get_weights_configs()
    modules = [module for module in net.modules() if len(module.FI_config.weights)]

    def work() -> object:
        index = random.randrange(len(layers))
        layers[index].enabled = True
        outputs = injector(images)
        layers[index].enabled = False  # MRFI restores a weight at its next injection only
        modules[index].weight.copy_(layers[index].weight_copy)
        return outputs

    return work


def mrfi_rate(net: torch.nn.Module, images: torch.Tensor) -> Callable[[], object]:
    """MRFI at 1e-6 per bit of all weights, Q15.16, only the hit elements converted."""
    from mrfi import MRFI, EasyConfig

    selector = {"method": "RandomPositionByRate", "rate": 1e-6 * BITS, "poisson": True}
    injector = MRFI(net, EasyConfig({"faultinject": [mrfi_weights(selector, enabled=True)]}))
    return lambda: injector(images)


def mrfi_weights(selector: dict[str, object], *, enabled: bool) -> dict[str, object]:
    """Return MRFI's settings for random flips of Q15.16 weights."""
    fixed = {"method": "FixPointQuantization", "integer_bit": 15, "decimal_bit": FRACTION, "layerwise": False}
    flip = {"method": "IntRandomBitFlip", "bit_width": BITS}
    where = {"module_type": ["Conv2d", "Linear"]}
    head = {"type": "weight", "name": ["weight"], "enabled": enabled}
    return head | where | {"quantization": fixed, "selector": selector, "error_mode": flip}


def naive_rate(net: torch.nn.Module, images: torch.Tensor) -> Callable[[], object]:
    """A naive loop: every tensor to Q15.16 and back, int(bits * rate) flips in each, at 1e-6."""
    clean = {name: tensor.clone() for name, tensor in net.named_parameters()}
    rng = np.random.default_rng(0)

    def work() -> object:
        for name, tensor in net.named_parameters():
            codes = (clean[name].double() * 2**FRACTION).round().clamp(-(2**31), 2**31 - 1).int().view(-1)
            positions = rng.integers(codes.numel() * BITS, size=int(codes.numel() * BITS * 1e-6))
            for position in positions.tolist():
                element, bit = divmod(position, BITS)
                codes[element] ^= -(2**31) if bit == BITS - 1 else 1 << bit
            tensor.copy_((codes.double() / 2**FRACTION).float().view_as(tensor))
        return net(images)

    return work


def flipped(values: torch.Tensor, bit: int) -> torch.Tensor:
    """Return float32 values with one bit of each flipped."""
    return (values.view(torch.int32) ^ (-(2**31) if bit == BITS - 1 else 1 << bit)).view(torch.float32)


WORKS = {
    "torch": eager,
    "pytorchfi": pytorchfi_single,
    "mrfi": mrfi_single,
    "mrfi-rate": mrfi_rate,
    "naive-rate": naive_rate,
}


if __name__ == "__main__":
    main()
