"""``python -m tests.fuzz``, from the repository's root."""

import os
import sys
from pathlib import Path

os.environ |= {"FTONNX_CACHE": "off", "ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
# the rooms of the repository's root are no modules of their own, the kits beside this folder are
sys.path[0] = str(Path(__file__).parents[1])

from fuzz.command import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
