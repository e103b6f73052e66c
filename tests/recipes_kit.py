"""Helpers for the tests of recipes: where the files are, and small scripts in place of programs that are not here."""

import os
import shutil
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np

import ftonnx
from ftonnx.models import resolve

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
IMAGES = 40


def stand_ins(folder, **scripts):
    """Write shell scripts named after programs, and return an environment in which they are found first."""
    programs = folder / "programs"
    programs.mkdir()
    for name, script in scripts.items():
        (programs / name).write_text(f"#!/usr/bin/env bash\nset -euo pipefail\n{script}\n")
        (programs / name).chmod(0o755)
    path = (programs, Path(sys.executable).parent, os.environ["PATH"])
    return os.environ | {"PATH": os.pathsep.join(map(str, path)), "TMPDIR": str(folder)}


def run(*command, folder, environment, **options):
    """Run a program to its end in a folder, whatever its exit code."""
    command = [str(part) for part in command]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=250, check=False, **options
    )


def model_and_images(folder):
    """Put the files into a folder that recipes name: model.onnx and test.npz."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(resolve("digits"), folder / "model.onnx")
    images, labels = next(iter(ftonnx.load_dataset("digits", split="test").batches(IMAGES)))
    pixels = (16 * images).astype(np.uint8)  # as they were stored: the model says how they are scaled
    np.savez(folder / "test.npz", images=pixels, labels=labels)


def free_port():
    """Return a port of this machine on which nothing listens."""
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
