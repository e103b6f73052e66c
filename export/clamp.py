"""The clamped activations: plain ONNX ``Clip(X, 0, T)``, or ``Clip(X, , T)`` where negative values belong to it.

Where T is one value per channel or neuron, which no Clip takes, ``Min(Y, T)`` stands behind the activation. What
exceeds T becomes T (Chen, Li and Pattabiraman, "A Low-cost Fault Corrector for Deep Neural Networks through Range
Restriction", DSN 2021). A Clip or a Min is known as one of ours by the name of its upper limit, its threshold's.
"""

from typing import Final

import onnx

from ftonnx.errors import UsageError
from ftonnx.export.crelu import CLIP_ABOVE, CRELU, DOMAIN
from ftonnx.words import near

__all__ = [
    "CLAMP",
    "LOWER",
    "MIN_UPPER",
    "ON_EXCEED",
    "UPPER",
    "ZERO_NAME",
    "check_on_exceed",
    "is_clamp",
    "threshold_input",
    "threshold_name",
]

ON_EXCEED: Final = ("zero", "clamp")
"""What a value above the threshold becomes: 0, or the threshold."""

CLAMP: Final = "Clamp"
"""What the name of a Clip or Min ends with that stands behind an activation."""
ZERO_NAME: Final = "ftonnx/clamp.min"
"""The stored 0.0 that all clamps of a model share."""

LOWER: Final = 1
"""Place of a Clip's lower limit among its inputs."""
UPPER: Final = 2
"""Place of its upper limit, the threshold."""
MIN_UPPER: Final = 1
"""Place of the threshold among the inputs of a Min."""

_PLACES: Final = {"Clip": UPPER, "Min": MIN_UPPER}


def check_on_exceed(on_exceed: str) -> None:
    """Raise UsageError for what is neither ``zero`` nor ``clamp``."""
    if on_exceed not in ON_EXCEED:
        raise UsageError(
            f"on_exceed {on_exceed!r} is not known: use {', '.join(ON_EXCEED)}{near(str(on_exceed), ON_EXCEED)}"
        )


def threshold_name(activation: str) -> str:
    """Return the name of the stored tensor, or input, that holds an activation's threshold.

    >>> threshold_name("conv1/relu")
    'conv1/relu.threshold'
    """
    return f"{activation}.threshold"


def is_clamp(name: str, upper: str) -> bool:
    """Say whether a Clip or a Min is a clamped activation, or stands behind one.

    Args:
        name: the node's name, or its output's where it has none.
        upper: name of its upper limit.

    >>> is_clamp("relu1", "relu1.threshold"), is_clamp("gelu/Clamp", "gelu.threshold"), is_clamp("clip", "six")
    (True, True, False)
    """
    behind = name.removesuffix(f"/{CLAMP}")
    return upper in (threshold_name(name), threshold_name(behind))


def threshold_input(node: onnx.NodeProto) -> str | None:
    """Return the name of a clipped activation's threshold; None for any other node."""
    if node.domain == DOMAIN and node.op_type in (CRELU, CLIP_ABOVE):
        return node.input[1]
    place = _PLACES.get(node.op_type, len(node.input))
    if len(node.input) <= place:
        return None
    upper = node.input[place]
    return upper if is_clamp(node.name or node.output[0], upper) else None
