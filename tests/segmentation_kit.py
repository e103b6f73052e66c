"""Small segmentation networks and data for tests, and counts by a loop over pixels."""

import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def naive_counts(outputs, golden, labels, classes, changed, ignore=255):
    """Count one pixel at a time; returns a dict in the task's order."""
    names = ["n", "pixels", "correct", "area", "same", "sdc", "masked", "due"]
    names += [f"{kind}{k}" for kind in ("labels", "predicted", "hits") for k in range(classes)]
    counts = dict.fromkeys(names, 0)
    for scores, gold, marks in zip(outputs, golden, labels, strict=True):
        counts["n"] += 1
        counts["masked"] += scores.tobytes() == gold.tobytes()
        finite = all(math.isfinite(score) for score in scores.ravel().tolist())
        counts["due"] += not finite
        other, area = 0, 0
        for y, x in np.ndindex(marks.shape):
            area += 1
            mark = int(marks[y, x])
            if mark != ignore:
                counts["pixels"] += 1
                counts[f"labels{mark}"] += 1
            if not finite:
                continue
            seen = best(scores[:, y, x].tolist())
            if mark != ignore:
                counts[f"predicted{seen}"] += 1
                counts["correct"] += seen == mark
                counts[f"hits{mark}"] += seen == mark
            other += seen != best(gold[:, y, x].tolist())
        counts["area"] += area
        counts["same"] += area - other if finite else 0
        counts["sdc"] += other > changed * area
    return counts


def best(scores):
    """Return the number of the highest score, of equal ones the lowest."""
    return max(range(len(scores)), key=lambda k: (scores[k], -k))


def segmenter(classes=3, channels=3, *, hidden=6, seed=5, sides=("h", "w")):
    """Return a network of two convolutions that keeps the size of images."""
    rng = np.random.default_rng(seed)
    shapes = {"w1": (hidden, channels, 3, 3), "b1": (hidden,), "w2": (classes, hidden, 1, 1), "b2": (classes,)}
    stored = [numpy_helper.from_array(rng.normal(0, 0.4, s).astype(np.float32), n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "w2", "b2"], ["scores"], "second"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", channels, *sides])]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", classes, *sides])]
    graph = helper.make_graph(nodes, "segmenter", inputs, outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def labelled(model, images, *, wrong=0.1, ignored=0.05, seed=6):
    """Return the classes that a network sees, some of them changed and some of them without a label."""
    import onnxruntime as ort

    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"x": images})
    rng = np.random.default_rng(seed)
    labels = scores.argmax(axis=1)
    others = rng.integers(0, scores.shape[1], labels.shape)
    labels = np.where(rng.random(labels.shape) < wrong, others, labels)
    return np.where(rng.random(labels.shape) < ignored, 255, labels)


def write_campaign(folder, *, images=20, side=(12, 10), classes=3):
    """Write a network and its data; return the names of both, model and data."""
    rng = np.random.default_rng(7)
    model = segmenter(classes)
    pixels = rng.normal(size=(images, 3, *side)).astype(np.float32)
    labels = labelled(model, pixels)
    onnx.save(model, folder / "segmenter.onnx")
    np.savez(folder / "maps.npz", images=pixels, labels=labels)
    return model, pixels, labels
