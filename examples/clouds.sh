#!/usr/bin/env bash
# From the patches of 38-Cloud to a network that finds clouds, as FP32 model, clipped, and int8: what made cloud_net.onnx.
#
#     bash examples/clouds.sh DATA FOLDER
#
# EPOCHS=2 for a try.
set -euo pipefail

examples=$(cd "$(dirname "$0")" && pwd)
python "$examples/cloud_net.py" "$1" "$2"
cd "$2"

ftonnx finetune "$examples/cloud_net.py:cloud_net" --data npz:. --hold-out 0.2 --batch-size 8 --learning-rate 3e-3 \
    --epochs "${EPOCHS:-100}" --patience 12 --stop-after 40 --threads 1 --device cpu -o cloud_net.pth --chart training.svg
ftonnx export "$examples/cloud_net.py:cloud_net" --weights cloud_net.pth -o net.onnx
ftonnx protect net.onnx --method actmax --data npz:. --split train -o clipped.onnx
ftonnx quantize clipped.onnx --data npz:. --split train -o int8.onnx
