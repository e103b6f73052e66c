"""Where ONNX Runtime keeps each stored element, and the memory that is flipped.

Reads downward: a draft says what is to be optimized, a blueprint is what became of it, a memory is a blueprint filled
with values. Not aware of how models are run.
"""
