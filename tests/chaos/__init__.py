"""Commands that are killed, interrupted, or run on full disks: nothing is lost, half written, or left behind.

``python -m tests.chaos kills --count 1000`` from the repository's root; also ``interrupts`` and ``full-disk``. The same
seed makes the same moments; what happens at them is the machine's.
"""
