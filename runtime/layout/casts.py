"""What becomes of stored elements that the optimizer writes in another way, and that are flipped as in the file."""

from ftonnx.runtime.layout.half_bytes import HalfBytes, half_bytes
from ftonnx.runtime.layout.widening import Widening, widening

__all__ = ["Cast", "cast_between", "fits"]

Cast = Widening | HalfBytes


def cast_between(stored: int, held: int) -> Cast | None:
    """Return how elements of one type are held as another; None where they are the same, or cannot be followed.

    Args:
        stored: number of the type in the file.
        held: number of the type in the optimized graph.
    """
    return widening(stored, held) or half_bytes(stored, held)


def fits(stored: int, held: int) -> bool:
    """Say whether elements of one type can be followed into an initializer of another, or of the same."""
    return stored == held or cast_between(stored, held) is not None
