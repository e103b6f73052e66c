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
    number = _SPLITS.index(name)
    with np.load(_DATA, allow_pickle=False) as stored:
        chosen = stored["split"] == number
        pixels = stored["images"][chosen]
        classes = stored["labels"][chosen]
    images = torch.from_numpy(pixels.astype(np.float32))
    labels = torch.from_numpy(classes.astype(np.int64))
    return Split(images=images * SCALE, labels=labels)


def train(split: Split, *, epochs: int, seed: int) -> DigitsNet:
    """Train a fresh network with AdamW and a one-cycle schedule; the same seed gives the same network.

    Args:
        split: Training images.
        epochs: Passes over them.
        seed: Seeds initial weights, order and shifts.
    """
    # for the initial weights, which come from the global generator
    torch.manual_seed(seed)
    net = digits()
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-2)
    count = len(split.labels)
    batches = count // _BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=5e-3,
        total_steps=epochs * batches,
    )
    for _ in range(epochs):
        order = torch.randperm(count, generator=rng)
        # whole batches only: the few images left over are others in every epoch
        whole = order[: batches * _BATCH]
        for chosen in whole.view(-1, _BATCH):
            images = _shifted(split.images[chosen], rng)
            labels = split.labels[chosen]
            logits = net(images)
            loss = functional.cross_entropy(logits, labels, label_smoothing=0.05)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return net.eval()


def _shifted(images: Tensor, rng: torch.Generator) -> Tensor:
    """Each image moved by -1, 0 or 1 pixel along both axes, zeros moving in."""
    # one pixel on every side, of which a window of 8 x 8 is cut
    padded = functional.pad(images, (1, 1, 1, 1))
    count = len(images)
    offsets = torch.randint(0, 3, (count, 2), generator=rng)
    moved = []
    for image, offset in zip(padded, offsets.tolist(), strict=True):
        top = offset[0]
        left = offset[1]
        window = image[:, top : top + 8, left : left + 8]
        moved.append(window)
    return torch.stack(moved)


def accuracy(net: nn.Module, split: Split) -> float:
    """Top-1 accuracy, 0 to 1."""
    with torch.no_grad():
        logits = net(split.images)
    predictions = logits.argmax(1)
    hits = predictions == split.labels
    return float(hits.float().mean())


def export(net: DigitsNet, output: Path) -> None:
    """Write one ONNX file with a dynamic batch and its preprocessing in the metadata.

    Args:
        net: The trained network, in eval mode.
        output: File to write.
    """
    traced = _traced(net)
    model = _without_traces(traced)
    metadata = {
        "ftonnx.architecture": "digits",
        "ftonnx.classes": str(net.linear.out_features),
        "ftonnx.preprocess": '{"scale": 0.0625}',
        "ftonnx.torch": torch.__version__,
    }
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString(deterministic=True)
    output.write_bytes(content)


def _traced(net: DigitsNet) -> onnx.ModelProto:
    # two images, since torch takes an axis of one for a fixed size
    example = torch.zeros(2, 1, 8, 8)
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():
        # the exporter's own deprecations
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            net,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: batch},),
            input_names=["input"],
            output_names=["logits"],
            opset_version=_OPSET,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("the dynamo exporter returned no program")
    return program.model_proto


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without doc strings and the exporter's metadata, which quote paths and stack traces."""
    # the exporter's own model stays whole
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    graph = bare.graph
    parts = [
        bare,
        graph,
        *graph.node,
        *graph.input,
        *graph.output,
        *graph.value_info,
        *graph.initializer,
    ]
    for part in parts:
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
    # sums in a fixed order
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    training = read_split("train")
    net = train(training, epochs=options.epochs, seed=options.seed)
    export(net, options.output)
    for name in ("val", "test"):
        split = read_split(name)
        reached = accuracy(net, split)
        sys.stdout.write(f"{name} accuracy {reached:.4f}\n")


if __name__ == "__main__":
    main()
