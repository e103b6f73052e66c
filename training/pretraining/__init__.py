"""Self-supervised pretraining: one method per file, with views, the loop around them, and the checkpoint.

Heads, losses and the transforms that make views are lightly's (the extra ``ftonnx[ssl]``), but for SSQL's.
"""
