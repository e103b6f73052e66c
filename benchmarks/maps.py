"""Label maps: what judging them costs beside inference, and what a campaign over many of them holds in memory.

    python benchmarks/maps.py [--rounds 7 | --quick] [--model cloud_net]... [--images 986] [--threads 1]

``judging-*``: seconds of judging a batch in which every image changed, over seconds of its fault-free run. Networks:
``cloud_net``, the small U-Net of examples/cloud_net.py (random weights, 96 px, 2 classes), and ``swin_unet``, the
paper's (224 px, 8 classes; its export takes minutes). ``memory-maps``: the peak of ``ftonnx inject`` over so many
images with scores of 224 x 224 pixels and 8 classes, above that over 64 of them, in bytes of the further images'
scores; what grows is the data. Needs ``ftonnx[torch]`` to make the networks.
"""

import sys
import tempfile
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from lines import options_of, print_line
from memory import peak_of
from nets import fp32, images_for
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from pairing import paired

from ftonnx.sessions import SessionOptions, open_session
from ftonnx.tasks import Segmentation

GOAL: Final = 0.1
BATCH: Final = 4
SIDE: Final = 224
CLASSES: Final = 8
FEW: Final = 64


def main() -> None:
    """Measure every network, then memory."""
    parser = options_of(__doc__, rounds=7, quick=2)
    parser.add_argument("--model", action="append", help="cloud_net or swin_unet, both by default (repeatable)")
    parser.add_argument("--images", type=int, default=986, help="of the campaign, 986 by default")
    options = parser.parse_args()
    for name in options.model or ("cloud_net", "swin_unet"):
        judge(name, options)
    hold(options)


def judge(name: str, options: Namespace) -> None:
    """Print what judging costs beside a network's inference."""
    session = open_session(fp32(name).read_bytes(), SessionOptions(threads=options.threads))
    feeds = {session.get_inputs()[0].name: images_for(name, BATCH)}
    (golden,) = session.run(None, feeds)
    rng = np.random.default_rng(1)
    labels = rng.integers(0, golden.shape[1], (BATCH, *golden.shape[2:]))
    judged = Segmentation().judge({"scores": golden}, labels)
    other = {"scores": golden + golden.std() * rng.standard_normal(golden.shape, np.float32)}
    figures = paired(partial(session.run, None, feeds), partial(judged.count, other), options.rounds)
    facts = {"pixels": int(np.prod(golden.shape[2:])), "classes": golden.shape[1], "threads": options.threads}
    print_line(f"judging-{name}", figures, "the fault-free run", GOAL, batch=BATCH, **facts)


def hold(options: Namespace) -> None:
    """Print how much the peak grows with the number of images."""
    with tempfile.TemporaryDirectory(prefix="ftonnx-") as name:
        folder = Path(name)
        onnx.save(convolution(), folder / "model.onnx")
        few = peak_of(campaign(folder, min(FEW, options.images - 1), options.threads), "off").resident
        many = peak_of(campaign(folder, options.images, options.threads), "off").resident
    more = options.images - min(FEW, options.images - 1)
    scores = more * CLASSES * SIDE**2 * 4
    ratio = round((many - few) / scores, 3)
    figures = {"ratio": ratio, "low": ratio, "high": ratio, "n": 1}
    print_line(
        "memory-maps", figures, "the further images' scores", images=options.images,
        peak_mb=round(many / 1e6), scores_mb=round(scores / 1e6), data_mb=round(more * SIDE**2 * 5 / 1e6),
    )  # fmt: skip


def campaign(folder: Path, count: int, threads: int) -> list[str]:
    """Return the command of a campaign over so many images, whose data are written."""
    data = folder / f"{count}.npz"
    np.savez(data, images=pixels(count), labels=np.zeros((count, SIDE, SIDE), np.uint8))
    command = [sys.executable, "-m", "ftonnx", "inject", str(folder / "model.onnx"), "--data", f"npz:{data}"]
    command += ["--rate", "1e-3", "--repeats", "1", "--task", f"segmentation:classes={CLASSES}"]
    return [*command, "--threads", str(threads), "--results", str(folder / f"results-{count}")]


def pixels(count: int) -> NDArray[np.float32]:
    """Return random images of one channel."""
    return np.random.default_rng(0).standard_normal((count, 1, SIDE, SIDE), np.float32)


def convolution() -> onnx.ModelProto:
    """Return a network of one convolution, from one channel to scores."""
    weights = np.random.default_rng(2).normal(size=(CLASSES, 1, 3, 3)).astype(np.float32)
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", CLASSES, SIDE, SIDE])
    node = helper.make_node("Conv", ["x", "w"], ["scores"], "conv", pads=[1, 1, 1, 1])
    graph = helper.make_graph([node], "maps", [image], [scores], [numpy_helper.from_array(weights, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


if __name__ == "__main__":
    main()
