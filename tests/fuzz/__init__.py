"""Mutated inputs for everything that reads what strangers wrote: ``python -m tests.fuzz --minutes 5``.

Targets say what is read, mutators what becomes of it; children run the cases under limits, and findings are kept.
Not aware of what the inputs mean.
"""
