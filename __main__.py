"""``python -m ftonnx``."""

import sys

from ftonnx.cli import main

sys.exit(main())
