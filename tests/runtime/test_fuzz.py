"""Damaged files through whole sessions, in a child process: native code may crash, and must not."""

import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import logging, random, sys, warnings
sys.path.insert(0, sys.argv[1])
from onnx_zoo import random_floats, small_cnn
import onnx
from ftonnx.errors import FtonnxError
from ftonnx.inject import BitFlipRates, FaultSpace, load_model, unit_rng
from ftonnx.runtime import FaultySession

logging.disable(logging.CRITICAL)
warnings.simplefilter("error")
rng, path = random.Random(int(sys.argv[2])), sys.argv[3]
model = small_cnn()
raw = model.SerializeToString()
weights = [tensor.raw_data for tensor in model.graph.initializer]
holes = [(raw.index(w), raw.index(w) + len(w)) for w in weights]
structure = [i for i in range(len(raw)) if not any(a <= i < b for a, b in holes)]
seen = {"refused": 0, "ran": 0}
for case in range(int(sys.argv[4])):
    data = bytearray(raw)
    for _ in range(rng.choice([1, 1, 2])):
        data[rng.choice(structure)] ^= 1 << rng.randrange(8)
    with open(path, "wb") as file:
        file.write(data)
    try:
        loaded = load_model(path)
        space = FaultSpace.of(loaded)
        session = FaultySession(loaded, space, threads=1, sample=random_floats(2, 3, 8, 8))
        session.run(random_floats(2, 3, 8, 8), BitFlipRates(1e-3).draw(space, unit_rng(0, 1e-3, 0, case)))
        seen["ran"] += 1
    except FtonnxError as error:
        assert str(error) and "\\n" not in str(error), repr(error)
        seen["refused"] += 1
print(seen["refused"], seen["ran"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_sessions_on_damaged_files_never_crash(tmp_path, seed):
    """Each damaged model is refused with one line, or runs with faults."""
    cases = 250
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(Path(__file__).parents[1]), str(seed), str(tmp_path / "m.onnx"), str(cases)],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    refused, ran = map(int, done.stdout.split())
    assert refused + ran == cases
    assert min(refused, ran) > 10
