"""Embedding the evaluator: your batches in, accuracy under faults out, one run explained.

python examples/embed.py
"""

import numpy as np

import ftonnx

generator = np.random.default_rng(0)
model = ftonnx.load_model("digits")  # or the path of your own
digits = ftonnx.load_dataset("digits", split="test").completed(model.metadata)  # preprocessed as the model says
batches = [  # anything that gives (images, labels) again and again will do: here noisy images in batches of 60
    (images + 0.05 * generator.standard_normal(images.shape, np.float32), labels)
    for images, labels in digits.batches(60)
]

result = ftonnx.evaluate(model, batches, rates=[1e-7, 1e-6, 1e-5], repeats=8, batch_size=60, threads=1, seed=1)

print(f"fault-free: {result.golden['top1']:.1%}")
for rate in result.rates:
    print(f"{rate.rate:g}: {rate.top1.mean:.1%} ({rate.top1.low:.1%} to {rate.top1.high:.1%})")

unit = ftonnx.replay(result.results, rate=1e-6, repeat=0, batch=0)
for fault in unit.list():
    print(f"{fault.tensor}[{fault.index}] bit {fault.bit}: {fault.before:g} became {fault.after:g}")
