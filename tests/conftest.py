"""Settings of the whole test suite."""

import os

os.environ.setdefault("FTONNX_CACHE", "off")  # a test must not depend on what an earlier run left behind
