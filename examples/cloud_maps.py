"""What faults do to label maps: `python cloud_maps.py DATA OUT.png RATE REPEAT BATCH RESULTS...`.

DATA is the archive that campaigns ran on, RESULTS their folders. The rows of the picture are the images of a batch
(their first three channels), their labels, what the first campaign's network sees without faults, and what each one's
sees with the faults of the unit: the same ones where models have the same fault space.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

import ftonnx

COLOURS = np.array([[38, 70, 83], [244, 241, 222]], np.uint8)
GAP = 6


def seen(model, images):
    """The class of every pixel."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {session.get_inputs()[0].name: images})
    return np.nan_to_num(scores, nan=-np.inf).argmax(axis=1)


def picture(image):
    """Channels 0 to 2 as bytes, the brightest pixel white."""
    bright = image[:3] / image[:3].max()
    return (255 * bright.transpose(1, 2, 0)).astype(np.uint8)


def faulty(results, rate, repeat, batch, images):
    """The class of every pixel under a recorded unit's faults."""
    unit = ftonnx.replay(results, rate=rate, repeat=repeat, batch=batch)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "faulty.onnx"
        unit.save_model(model)
        return seen(model, images)


def main(data, out, rate, repeat, batch, *results):
    """Replay the unit of every campaign, and paint all of them."""
    rate, repeat, batch = float(rate), int(repeat), int(batch)
    first = ftonnx.CampaignResult.open(results[0])
    size = first.settings.images_per_pattern
    with np.load(data) as archive:
        rows = slice(batch * size, (batch + 1) * size)
        images, labels = archive["images"][rows], archive["labels"][rows]
    maps = [labels, seen(first.model.path, images)]
    maps += [faulty(each, rate, repeat, batch, images) for each in results]
    lines = [[picture(image) for image in images]] + [list(COLOURS[each]) for each in maps]
    frame = ((0, GAP), (0, GAP), (0, 0))
    painted = [np.concatenate([np.pad(tile, frame, constant_values=255) for tile in line], 1) for line in lines]
    Image.fromarray(np.concatenate(painted)[:-GAP, :-GAP]).save(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
