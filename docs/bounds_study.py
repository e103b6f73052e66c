"""The table of docs/protect.md on published ways to bound activations: whose thresholds, how many, and what they bring.

    python docs/bounds_study.py --cifar10 ../shared/data/cifar10 --work /tmp/bounds

ResNet-20 on CIFAR-10 under the same fault patterns: bounded at the largest values seen (ActMax, Ranger) per activation,
channel and neuron, by ClipAct, and by thresholds that torch trains while the weights stay: all of them at once, one per
neuron, as FitAct does (Ghavami, Sadati, Fang, Shannon, DATE 2022), or activation by activation from the last one, per
neuron there and one elsewhere, against the unbounded network's own outputs, as ProAct does (Mousavi, Ahmadilivani,
Raik, Jenihhin, Daneshtalab, 2024). The training is written anew after their descriptions; bounds shrink as long as that
costs at most a point on images that do not train them. Prints Markdown. Needs ``ftonnx[torch]``.
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from clipping_study import RATES, cell, load
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ftonnx.campaign import evaluate
from ftonnx.datasets import Dataset, stratified_subset
from ftonnx.export import find_activations, read_thresholds
from ftonnx.inject import OnnxModel, load_model
from ftonnx.mitigate import ActMax, ClipAct, ClipActSettings, Thresholds, largest_values, protect
from ftonnx.models import build

NAME = "resnet20-cifar"
HELD_OUT = 660
"""Training images that decide how small bounds may become."""
LOSS = 0.01
WEIGHT = 0.1
"""Of small bounds, beside the loss."""
PASS = 1024
"""Images that train between two looks at the accuracy."""
PASSES = {"fitact": 40, "proact": 8}
"""At most, for all bounds at once or for each activation."""
STEP = {"fitact": 0.001, "proact": 0.01}
"""By which a step may change a bound, as a share of the largest value."""
BATCH = 128
STEEPNESS = 20.0
"""Of the smooth bound: values at 0.8 T keep 98 per cent."""

Arrays = tuple[Tensor, Tensor]


class Bounded(nn.Module):
    """ReLU with a bound T, a trained share of the largest values seen: what exceeds it becomes 0.

    It is trained with a smooth bound, x sigmoid(k (1 - x / T)), and otherwise is what a CReLU is.
    """

    def __init__(self, largest: NDArray[np.float32]) -> None:
        """Begin at the largest values; a neuron that never fires stays at 0."""
        super().__init__()
        self.register_buffer("largest", torch.from_numpy(np.asarray(largest)))
        self.share = nn.Parameter(torch.ones(largest.shape))
        self.smooth = True

    @property
    def bound(self) -> Tensor:
        """T, in the shape of the largest values."""
        return self.largest * self.share.clamp(0.01, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Bound x."""
        if not self.smooth:
            return functional.relu(x) * (x <= self.bound)
        relative = functional.relu(x) / self.bound.clamp(min=1e-6)
        return functional.relu(x) * torch.sigmoid(STEEPNESS * (1 - relative))

    def cost(self) -> Tensor:
        """How large the bounds are: 1 at the beginning, 0 at best."""
        return self.share.square().mean()


def main() -> None:
    """Make the variants, run their campaigns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", type=Path, required=True, help="folder with train.npz, test.npz and resnet20.pth")
    parser.add_argument("--work", type=Path, required=True, help="folder for models and results; goes on where it is")
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model, train, test = load(NAME, options.cifar10)
    rates = RATES[NAME]
    print("| bounded by | thresholds, KiB | fault-free |", " | ".join(f"{rate:g}" for rate in rates), "|")
    print("|---|---|---|" + "---|" * len(rates))
    for name, proto in variants(model, train, options.cifar10, options.work):
        path = options.work / f"{name}.onnx"
        onnx.save(proto, path)
        result = evaluate(
            load_model(path), test, rates=rates, repeats=options.repeats, images_per_pattern="paper",
            results=options.work / name,
        )  # fmt: skip
        stored = sum(threshold.size for threshold in read_thresholds(proto).values()) * 4 / 1024
        cells = " | ".join(cell(rate.top1) for rate in result.rates)
        print(f"| {name} | {stored:.1f} | {100 * result.golden['top1']:.1f} | {cells} |", flush=True)


def variants(model: OnnxModel, train: Dataset, cifar10: Path, work: Path) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Yield (name, model)."""
    yield "nothing", model.proto
    for form, name in (("clamp", "Ranger"), ("zero", "ActMax")):
        for scope in ("node", "channel", "neuron", "hybrid"):
            yield f"{name} per {scope}", protect(model, train, ActMax(scope=scope, on_exceed=form)).proto
    few = stratified_subset(train, 256, seed=0)
    search = ClipActSettings(iterations=4, rates=RATES[NAME][1:])
    for scope in ("node", "hybrid"):
        method = ClipAct(scope=scope, settings=search)
        yield f"ClipAct per {scope}", protect(model, few, method, results=work / f"search-{scope}").proto
    for name, scope in (("FitAct", "neuron"), ("ProAct", "hybrid")):
        yield name, protect(model, None, trained(name.lower(), scope, model, train, cifar10)).proto


def trained(method: str, scope: str, model: OnnxModel, train: Dataset, cifar10: Path) -> Thresholds:
    """Return thresholds that torch makes smaller as long as that costs a point at most."""
    fitting, held_out = split(arrays(train))
    activations = find_activations(model.proto)
    largest = largest_values(model, train, activations, scope=scope, batch_size=BATCH)
    teacher = build(NAME, weights=cifar10 / "resnet20.pth").eval()
    least = accuracy(teacher, held_out) - LOSS
    network, bounds = bounded(cifar10, largest.values())
    groups = [bounds] if method == "fitact" else [[bound] for bound in reversed(bounds)]
    for group in groups:
        optimizer = torch.optim.Adam([bound.share for bound in group], lr=STEP[method])
        for _ in range(PASSES[method]):
            kept = [bound.share.detach().clone() for bound in group]
            fit(network, group, optimizer, fitting, teacher if method == "proact" else None)
            if accuracy(network, held_out) < least:
                for bound, share in zip(group, kept, strict=True):
                    bound.share.data = share
                break
        print(f"<!-- {method}: {accuracy(network, held_out):.4f}, least {least:.4f} -->", flush=True)
    values = {each.name: bound.bound.detach().numpy() for each, bound in zip(activations, bounds, strict=True)}
    return Thresholds(method=method, scope=scope, model=model.sha256, values=values)


def arrays(data: Dataset) -> Arrays:
    """Return all images and labels."""
    batches = list(data.batches(BATCH))
    images = np.concatenate([images for images, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    return torch.from_numpy(images), torch.from_numpy(labels)


def split(data: Arrays) -> tuple[Arrays, Arrays]:
    """Return the images that train and those that do not."""
    order = torch.randperm(len(data[1]), generator=torch.Generator().manual_seed(0))
    rest, held_out = order[HELD_OUT:], order[:HELD_OUT]
    return (data[0][rest], data[1][rest]), (data[0][held_out], data[1][held_out])


def bounded(cifar10: Path, largest: Iterable[NDArray[np.float32]]) -> tuple[nn.Module, list[Bounded]]:
    """Return the network with a bound in the place of every ReLU, in the order of the graph."""
    network = build(NAME, weights=cifar10 / "resnet20.pth").eval().requires_grad_(requires_grad=False)
    names = [name for name, module in network.named_modules() if isinstance(module, nn.ReLU)]
    # the network's own ReLU comes first, then those of its blocks
    names.sort(key=lambda name: name != "relu")
    bounds = []
    for name, values in zip(names, largest, strict=True):
        bound = Bounded(values)
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, bound)
        bounds.append(bound)
    return network, bounds


def fit(
    network: nn.Module, bounds: list[Bounded], optimizer: torch.optim.Optimizer, data: Arrays, teacher: nn.Module | None
) -> None:
    """Train bounds in one pass: small ones are worth something, beside labels or a teacher's outputs."""
    images, labels = data
    set_smooth(network, smooth=True)
    for rows in torch.randperm(len(labels))[:PASS].split(BATCH):
        outputs = network(images[rows])
        if teacher is None:
            loss = functional.cross_entropy(outputs, labels[rows])
        else:
            with torch.no_grad():
                wanted = teacher(images[rows]).log_softmax(1)
            loss = functional.kl_div(outputs.log_softmax(1), wanted, reduction="batchmean", log_target=True)
        loss = loss + WEIGHT * sum(bound.cost() for bound in bounds) / len(bounds)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def accuracy(network: nn.Module, data: Arrays) -> float:
    """Return the share of right answers, with bounds as they are deployed."""
    set_smooth(network, smooth=False)
    right = 0
    for images, labels in zip(*(each.split(BATCH) for each in data), strict=True):
        right += int((network(images).argmax(1) == labels).sum())
    return right / len(data[1])


def set_smooth(network: nn.Module, *, smooth: bool) -> None:
    """Let the bounds of a network be smooth, or hard."""
    for module in network.modules():
        if isinstance(module, Bounded):
            module.smooth = smooth


if __name__ == "__main__":
    main()
