"""The embedded network and its data, run by ONNX Runtime alone."""

import onnxruntime as ort

from ftonnx.datasets import load_dataset


def logits(path, images):
    """Return what a file answers in a fresh session."""
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"input": images})[0]


def split(name):
    """Return all images and labels of a split of the digits."""
    data = load_dataset("digits", split=name)
    return next(data.batches(len(data)))
