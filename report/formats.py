"""Numbers as the report writes them."""

import numpy as np

from ftonnx.words import interval, number, percent, shape_text

__all__ = ["interval", "number", "percent", "rate_text", "shape_text"]


def rate_text(rate: float) -> str:
    """Return a fault rate in its shortest form, with five digits at most.

    >>> rate_text(1e-06), rate_text(0.00025), rate_text(5.584146385046996e-07), rate_text(0.0)
    ('1e-6', '2.5e-4', '5.5841e-7', '0')
    """
    return np.format_float_scientific(rate, precision=4, trim="-", exp_digits=1) if rate else "0"
