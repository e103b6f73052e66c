"""How much work something is, in a measure that no busy machine changes."""

import sys


def calls_of(action):
    """Return how many calls of functions something takes."""
    count = 0

    def note(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count
