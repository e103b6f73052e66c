"""The ClipAct search of ``ftonnx protect`` against the straightforward procedure on the same ``live`` session.

    python benchmarks/clipact.py [--rounds 1] [--images 32]

ResNet-18 in its CIFAR form (32 px, random weights; the labels are the network's own answers), all 17 activations, five
rates, four thresholds per iteration, three iterations. The straightforward procedure runs the whole network for each of
the four thresholds of every iteration at every rate; it is written out below. Both must find the same thresholds.
``ratio`` is the search's time over the procedure's, ``faster`` its inverse, ``accuracies`` how many of the thresholds'
accuracies at the rates were needed in full, of how many, ``answers`` how many of the single images' under them.
Needs ``ftonnx[torch]``.

With random weights one class is nearly always the answer, whatever the faults, so most thresholds tie and few need to
be measured. In the case ``balanced`` the last bias is shifted so that all classes are answered: every fault then
shows, many thresholds come close to the best one, and the search can leave out the least.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import onnx
from lines import options_of, print_line
from nets import fp32, images_for
from numpy.typing import NDArray
from pairing import compared, interleaved

from ftonnx.datasets import as_dataset
from ftonnx.export import Activation, clip_activations, feeding_tensors, find_activations, thresholds_as_inputs
from ftonnx.inject import BitFlipRates, FaultSpace, OnnxModel, load_model, unit_rng
from ftonnx.mitigate.clipact import ClipActSettings, search_thresholds
from ftonnx.mitigate.thresholds import largest_values
from ftonnx.runtime import FaultySession
from ftonnx.stats.curves import auc_weights

RATES: Final = (1e-7, 1e-6, 3e-6, 1e-5, 3e-5)
ITERATIONS: Final = 3
GOAL: Final = 1 / 6

Thresholds = Mapping[str, NDArray[np.float32]]


def main() -> None:
    """Run both in turn, compare what they find, print one line."""
    parser = options_of(__doc__, rounds=1, quick=1, threads=False)
    parser.add_argument("--model", default="resnet18-cifar", help="network, resnet18-cifar by default")
    parser.add_argument("--images", type=int, default=32, help="images, in one batch")
    parser.add_argument("--activations", type=int, help="only the first so many")
    options = parser.parse_args()
    model, images = load_model(fp32(options.model)), images_for(options.model, options.images)
    for case, each in (("clipact", model), ("clipact-balanced", balanced(model, images))):
        measure(f"{options.model}-{case}", each, images, options.activations, options.rounds)


def measure(case: str, model: OnnxModel, images: NDArray[np.float32], first: int | None, rounds: int) -> None:
    """Compare both on one network, in all or the ``first`` so many activations."""
    labels = FaultySession(model, sample=images).golden(images)[0].argmax(axis=1)
    data, activations = as_dataset([(images, labels)]), find_activations(model.proto)[:first]
    largest = largest_values(model, data, activations, scope="node", batch_size=len(images))
    settings = ClipActSettings(iterations=ITERATIONS, rates=RATES, batch_size=len(images))
    found: dict[str, list[Thresholds]] = {"search": [], "straightforward": []}
    accuracies: list[float | None] = []
    answers: list[bool] = []

    def search() -> None:
        thresholds, evaluations = search_thresholds(model, data, activations, largest, settings)
        found["search"].append(thresholds)
        accuracies[:] = [value for evaluation in evaluations for value in evaluation.accuracy]
        answers[:] = [mark != "?" for evaluation in evaluations for mark in evaluation.images]

    def whole_networks() -> None:
        found["straightforward"].append(straightforward(model, images, labels, activations, largest))

    seconds = interleaved({"search": search, "straightforward": whole_networks}, rounds, warm_up=0)
    require_equal([*found["search"], *found["straightforward"]])
    figures = compared(seconds["straightforward"], seconds["search"])
    print_line(
        case,
        figures,
        "four full-network evaluations per iteration",
        GOAL,
        faster=round(1 / figures["ratio"], 2),
        search_seconds=round(float(np.median(seconds["search"])), 2),
        activations=len(activations),
        images=len(images),
        accuracies=f"{sum(value is not None for value in accuracies)} of {len(accuracies)}",
        answers=f"{sum(answers)} of {len(answers)}",
        thresholds_equal=True,
    )


def balanced(model: OnnxModel, images: NDArray[np.float32]) -> OnnxModel:
    """Return the network with its last bias shifted so that the mean of every class's score is 0."""
    scores = FaultySession(model, sample=images).golden(images)[0]
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    bias = next(tensor for tensor in proto.graph.initializer if tensor.name == proto.graph.node[-1].input[2])
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) - scores.mean(axis=0), bias.name))
    return load_model(proto)


def straightforward(
    model: OnnxModel,
    images: NDArray[np.float32],
    labels: NDArray[np.int64],
    activations: Sequence[Activation],
    largest: Thresholds,
) -> Thresholds:
    """Search as the paper's section III-B says, one full-network evaluation after the other."""
    exposed, inputs = thresholds_as_inputs(clip_activations(model.proto, largest)[0])
    opened = model.with_proto(exposed)
    space = FaultSpace.of(opened)
    session = FaultySession(opened, space, strategy="live", sample=images, extra=inputs)
    weights, chosen = auc_weights(RATES, "log"), dict(largest)

    def worth(activation: Activation, threshold: np.float32) -> float:
        session.extra[f"{activation.name}.threshold"] = np.asarray(threshold)
        part = space.only(feeding_tensors(model.proto, activation))
        assert part is not None  # every activation of these networks has weights before it
        accuracy = []
        for rate in RATES:
            faults = space.widen(BitFlipRates(rate).draw(part, unit_rng(0, rate, 0, 0)), part)
            scores = session.run(images, faults)[0]
            right = np.isfinite(scores).all(axis=1) & (scores.argmax(axis=1) == labels)
            accuracy.append(right.sum() / len(labels))
        return float(np.dot(weights, accuracy))

    for activation in activations:
        low, high = np.float32(0), np.float32(largest[activation.name])
        best = (-1.0, high)
        for _ in range(ITERATIONS):
            step = (float(high) - float(low)) / 3
            grid = [low, np.float32(float(low) + step), np.float32(float(low) + 2 * step), high]
            tried = [(worth(activation, threshold), threshold) for threshold in grid]
            best = max(best, *tried)
            at = tried.index(max(tried))
            low, high = grid[max(at - 1, 0)], grid[min(at + 1, 3)]
        chosen[activation.name] = np.asarray(best[1])
        session.extra[f"{activation.name}.threshold"] = chosen[activation.name]
    return chosen


def require_equal(found: Sequence[Thresholds]) -> None:
    """Raise where two searches found different thresholds."""
    for other in found[1:]:
        different = [name for name, value in found[0].items() if value != other[name]]
        if different:
            raise SystemExit(f"the searches found different thresholds for {', '.join(different)}")


if __name__ == "__main__":
    main()
