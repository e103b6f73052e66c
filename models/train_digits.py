"""Train and export the embedded model: ``python -m ftonnx.models.train_digits -o OUT`` (needs torch).

Trains on the digits' train split and reports the accuracy on val and test at the end. Runs on one CPU thread
with fixed seeds, in well under a minute.
"""

import argparse
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from ftonnx.models.digits import DigitsNet, digits

__all__ = ["Split", "accuracy", "export", "main", "read_split", "train"]

SCALE = 1 / 16
# by path, since rooms do not import each other
_DATA = Path(__file__).parents[1] / "datasets" / "digits.npz"
_SPLITS = ("train", "val", "test")
_OPSET = 20
_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One split of the digits.

    Attributes:
        images: ``(images, 1, 8, 8)`` float32, scaled to 0 to 1.
        labels: ``(images,)`` int64.
    """

    images: Tensor
    labels: Tensor


def read_split(name: str) -> Split:
    """The split ``train``, ``val`` or ``test`` of the embedded digits."""
    with np.load(_DATA, allow_pickle=False) as stored:
        chosen = stored["split"] == _SPLITS.index(name)
        images = torch.from_numpy(stored["images"][chosen].astype(np.float32))
        labels = torch.from_numpy(stored["labels"][chosen].astype(np.int64))
    return Split(images=images * SCALE, labels=labels)


def train(split: Split, *, epochs: int, seed: int) -> DigitsNet:
    """Train a fresh network with AdamW and a one-cycle schedule; the same seed gives the same network.

    Args:
        split: Training images.
        epochs: Passes over them.
        seed: Seeds initial weights, order and shifts.
    """
    torch.manual_seed(seed)
    net = digits()
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-2)
    steps = epochs * (len(split.labels) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=steps)
    for _ in range(epochs):
        order = torch.randperm(len(split.labels), generator=rng)
        for chosen in order[: len(order) // _BATCH * _BATCH].view(-1, _BATCH):
            logits = net(_shifted(split.images[chosen], rng))
            loss = functional.cross_entropy(logits, split.labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return net.eval()


def _shifted(images: Tensor, rng: torch.Generator) -> Tensor:
    """Each image moved by -1, 0 or 1 pixel along both axes, zeros moving in."""
    padded = functional.pad(images, (1, 1, 1, 1))
    offsets = torch.randint(0, 3, (len(images), 2), generator=rng).tolist()
    moved = [image[:, y : y + 8, x : x + 8] for image, (y, x) in zip(padded, offsets, strict=True)]
    return torch.stack(moved)


def accuracy(net: nn.Module, split: Split) -> float:
    """Top-1 accuracy, 0 to 1."""
    with torch.no_grad():
        hits = net(split.images).argmax(1) == split.labels
    return float(hits.float().mean())


def export(net: DigitsNet, output: Path) -> None:
    """Write one ONNX file with a dynamic batch and its preprocessing in the metadata.

    Args:
        net: The trained network, in eval mode.
        output: File to write.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            net,
            (torch.zeros(2, 1, 8, 8),),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["input"],
            output_names=["logits"],
            opset_version=_OPSET,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("the dynamo exporter returned no program")
    model = _without_traces(program.model_proto)
    onnx.helper.set_model_props(
        model,
        {
            "ftonnx.architecture": "digits",
            "ftonnx.classes": str(net.linear.out_features),
            "ftonnx.preprocess": '{"scale": 0.0625}',
            "ftonnx.torch": torch.__version__,
        },
    )
    onnx.checker.check_model(model, full_check=True)
    output.write_bytes(model.SerializeToString(deterministic=True))


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without doc strings and the exporter's metadata, which quote paths and stack traces."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    graph = bare.graph
    values = [*graph.input, *graph.output, *graph.value_info]
    for part in (bare, graph, *graph.node, *values, *graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    return bare


def main() -> None:
    """Parse the command line, train, report and export."""
    parser = argparse.ArgumentParser(description="Train the embedded model and export it to ONNX.")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)  # sums in a fixed order
    torch.use_deterministic_algorithms(True)
    net = train(read_split("train"), epochs=options.epochs, seed=options.seed)
    export(net, options.output)
    for name in ("val", "test"):
        sys.stdout.write(f"{name} accuracy {accuracy(net, read_split(name)):.4f}\n")


if __name__ == "__main__":
    main()
