"""The protections, each one class in one file, and the registry by which a name finds its class.

A new one is a file here and a line in ``PROTECTIONS``. Not aware of where models and data come from.
"""

from collections.abc import Mapping
from typing import Any, Final

from ftonnx.errors import UsageError
from ftonnx.mitigate.points import ClipActSettings
from ftonnx.mitigate.protections.actmax import ActMax, Ranger
from ftonnx.mitigate.protections.base import Protected, Protection, Work
from ftonnx.mitigate.protections.clipact import ClipAct
from ftonnx.mitigate.protections.relu6 import ReLU6
from ftonnx.mitigate.thresholds import check_scope
from ftonnx.words import near

__all__ = [
    "METHODS",
    "PROTECTIONS",
    "ActMax",
    "ClipAct",
    "Protected",
    "Protection",
    "Ranger",
    "ReLU6",
    "Work",
    "protection",
    "protection_from_dict",
]

PROTECTIONS: Final[dict[str, type[Protection]]] = {
    "relu6": ReLU6,
    "actmax": ActMax,
    "ranger": Ranger,
    "clipact": ClipAct,
}
"""The class of each protection by its name."""

METHODS: Final = tuple(PROTECTIONS)


def protection(
    method: str,
    *,
    scope: str = "node",
    settings: ClipActSettings | None = None,
    on_exceed: str | None = None,
) -> Protection:
    """Return a protection by its name, with what it takes of the options of all of them.

    Args:
        method: one of ``METHODS``.
        scope: what has a threshold of its own, one of ``SCOPES``.
        settings: of the ClipAct search; ActMax takes the batch size.
        on_exceed: what a value above a threshold becomes, ``zero`` or the threshold (``clamp``); by default what the
            method is known by: a clamp for ReLU6 and Ranger, else zero.

    Raises:
        UsageError: the method, the scope or the form is not known.

    >>> protection("actmax", scope="channel")
    ActMax(scope='channel', batch_size=128, on_exceed='zero')
    """
    chosen = _class_of(method)
    # also where it is not used: a slip of the pen is no option
    check_scope(scope)
    search = settings or ClipActSettings()
    return chosen.with_options(scope=scope, settings=search, on_exceed=on_exceed)


def protection_from_dict(values: Mapping[str, Any]) -> Protection:
    """Return the protection of which these are the JSON values.

    Raises:
        UsageError: the method is not known, or a value makes no sense.

    >>> protection_from_dict({"method": "relu6"})
    ReLU6(on_exceed='clamp')
    """
    chosen = _class_of(str(values.get("method")))
    options = dict(values)
    options.pop("method")
    return chosen.from_dict(options)


def _class_of(method: str) -> type[Protection]:
    if method not in PROTECTIONS:
        raise UsageError(f"method {method!r} is not known: use {', '.join(METHODS)}{near(method, METHODS)}")
    return PROTECTIONS[method]
