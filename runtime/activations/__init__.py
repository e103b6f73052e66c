"""Faults in computed tensors: the graph flips the bits itself, at the places that every run is told.

Not aware of strategies for stored values, which it wraps.
"""
