"""Faults in computed tensors: the graph flips the bits itself, at the places that every run is told.

Wraps strategies for stored values, which are not aware of it.
"""
