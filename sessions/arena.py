"""The arena of the process, from which sessions on the CPU may take their memory."""

import functools
from typing import Final

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from ftonnx.sessions.options import SessionOptions, has_shared_arena
from ftonnx.sessions.running import open_session

__all__ = ["shrink_arena"]

_SHRINKING: Final = "memory.enable_memory_arena_shrinkage"
_WHERE: Final = "cpu:0"


def shrink_arena() -> None:
    """Return to the system what the sessions of the shared arena have given back to it; later runs ask for it anew.

    ONNX Runtime does so after a run only, and the smallest will do.
    """
    if not has_shared_arena():
        return
    session = open_session(_smallest_model(), SessionOptions(threads=1, shared_arena=True))
    shrinking = ort.RunOptions()
    shrinking.add_run_config_entry(_SHRINKING, _WHERE)
    one = np.zeros(1, np.float32)
    session.run(None, {"x": one}, shrinking)


@functools.cache
def _smallest_model() -> bytes:
    node = helper.make_node("Identity", ["x"], ["y"])
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1,))
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1,))
    graph = helper.make_graph([node], "smallest", [given], [made])
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString()
