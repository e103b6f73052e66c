"""A model whose weights are stored in half precision, as many accelerators keep them.

python half.py MODEL.onnx HALF.onnx

Each float32 weight becomes a float16 one behind a Cast: memory holds 16 bits per weight, arithmetic stays in float32.
"""

import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import ftonnx

source, target = sys.argv[1:]
model = ftonnx.load_model(source).proto  # a file, or the name of an embedded model
casts = []
for tensor in model.graph.initializer:
    if tensor.data_type == TensorProto.FLOAT:
        name = tensor.name
        stored = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(stored, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], name=f"cast_{name}", to=TensorProto.FLOAT))
nodes = [*casts, *model.graph.node]
del model.graph.node[:]
model.graph.node.extend(nodes)
onnx.save(model, target)
print(f"{target}: {len(casts)} tensors in half precision")
