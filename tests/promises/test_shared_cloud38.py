"""Real satellite images with label maps, end to end: 38-Cloud read, a network trained for a moment, run with faults.

The data are not part of the repository: ``FTONNX_SHARED`` names their folder, by default ``../shared``.
"""

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from campaign_kit import cli_json

from ftonnx.datasets import load_dataset

SHARED = Path(os.environ.get("FTONNX_SHARED", Path(__file__).parents[3] / "shared")) / "data" / "cloud38"
EXAMPLES = Path(__file__).parents[2] / "examples"
ACCURACY = 0.9383
"""Of the network of the page, class mean."""

pytestmark = [
    pytest.mark.skipif(not SHARED.is_dir(), reason=f"the patches of 38-Cloud are not at {SHARED}"),
    pytest.mark.slow,
    pytest.mark.timeout(900),  # on a busy machine
]


@pytest.fixture(scope="module")
def clouds(tmp_path_factory):
    """The patches, unpacked."""
    folder = tmp_path_factory.mktemp("clouds")
    with zipfile.ZipFile(SHARED / "cloud38_12.zip") as archive:
        archive.extractall(folder)
    return folder


def test_patches_are_what_their_files_hold(clouds):
    """Against tifffile, file by file."""
    data = load_dataset(f"cloud38:{clouds}")
    root = clouds / "38-Cloud_training"
    names = sorted(file.name.removeprefix("gt_") for file in (root / "train_gt").iterdir())
    assert len(data) == len(names) == 12
    for name, (images, labels) in zip(names, data.batches(1), strict=True):
        for channel, band in enumerate(("red", "green", "blue", "nir")):
            stored = tifffile.imread(root / f"train_{band}" / f"{band}_{name}")
            np.testing.assert_allclose(images[0, channel], stored / 65535, rtol=1e-6)
        np.testing.assert_array_equal(labels[0], tifffile.imread(root / "train_gt" / f"gt_{name}") > 0)


def test_the_example_of_the_page_goes_from_training_to_maps_under_faults(clouds, tmp_path):
    """With two passes over the tiles, which is enough to be better than guessing."""
    pytest.importorskip("torch")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    script = ["bash", EXAMPLES / "clouds.sh", clouds, tmp_path]
    done = subprocess.run(script, env=os.environ | {"PATH": path, "EPOCHS": "2"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = cli_json(
        "inject", tmp_path / "clipped.onnx", "--data", f"npz:{tmp_path}", "--limit", 16, "--rate", 1e-4,
        "--repeats", 2, "--strategy", "live", "--results", tmp_path / "r",
    )  # fmt: skip
    assert found["task"]["name"] == "segmentation"
    assert found["golden"]["pixel_accuracy"] > 0.5
    maps = loaded("cloud_maps")
    maps.main(tmp_path / "test.npz", tmp_path / "maps.png", "1e-4", "1", "0", tmp_path / "r")
    from PIL import Image

    with Image.open(tmp_path / "maps.png") as painted:
        # eight tiles in four lines, with gaps of six pixels
        assert painted.size == (8 * 102 - 6, 4 * 102 - 6)


def test_the_network_of_the_page_finds_clouds(clouds, tmp_path):
    """As the page says, on the tiles that it was not trained on."""
    loaded("cloud_net").main(clouds, tmp_path)
    network = EXAMPLES / "cloud_net.onnx"
    found = cli_json("inject", network, "--data", f"npz:{tmp_path}", "--rate", 0, "--repeats", 1, "--strategy", "live")
    assert found["golden"]["class_accuracy"] == pytest.approx(ACCURACY, abs=1e-3)
    assert network.stat().st_size < 200_000


def loaded(name):
    """A file of the examples as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
