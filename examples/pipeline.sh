#!/usr/bin/env bash
# From a torch network to a verdict: export, protect, quantize, measure, compare, report, gate.
#
#     bash examples/pipeline.sh [FOLDER]
#
# The embedded digits stand for your network. Set, for example,
#     ARCH=resnet50 WEIGHTS=resnet50.pth DATA=folder:/data/images RATES="1e-7 1e-6" GOALS="--max-drop 1e-7:0.02"
# With folders train, val and test in the data, thresholds, ranges and accuracies come from images of their own; without, from all of them, which is said.
# The exit code is the gate's: 0 PASS, 1 FAIL, 3 INCONCLUSIVE.
set -euo pipefail

folder=${1:-fault-tolerance}
data=${DATA:-digits}
read -ra rates <<<"${RATES:-1e-5 1e-4}"
read -ra goals <<<"${GOALS:---min-accuracy 1e-5:0.90 --max-sdc 1e-5:0.08}"
mkdir -p "$folder" && cd "$folder"

ftonnx export "${ARCH:-digits}" ${WEIGHTS:+--weights "$WEIGHTS"} -o plain.onnx --force
ftonnx protect plain.onnx --method actmax --data "$data" -o clipped.onnx --force
ftonnx quantize clipped.onnx --data "$data" -o int8.onnx --force

for model in plain clipped int8; do
    ftonnx inject "$model.onnx" --data "$data" "${rates[@]/#/--rate=}" --results "$model"
done

ftonnx compare plain clipped int8
ftonnx report plain clipped int8 -o report.html --force
ftonnx gate int8.onnx --data "$data" "${goals[@]}" --results gate --junit gate.xml --markdown gate.md --force
