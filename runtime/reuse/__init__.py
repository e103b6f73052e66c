"""Batches whose golden run is kept, so that runs with faults start where the faults do.

Not aware of how a model is opened: strategies open stretches of it.
"""
