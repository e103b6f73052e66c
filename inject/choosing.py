"""What of a model becomes targets of a fault space, by role and name, and why there may be none."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import onnx

from ftonnx.errors import ModelError, UsageError
from ftonnx.inject.activations import Activation
from ftonnx.inject.chosen_names import ROLES, Names
from ftonnx.inject.formats import parse_format
from ftonnx.inject.graph import Site
from ftonnx.inject.left_out import Coverage, LeftOut
from ftonnx.inject.reasons import ATTRIBUTE, BIT, is_worth_a_word
from ftonnx.inject.roles import ACTIVATION
from ftonnx.inject.target import Target
from ftonnx.inject.tensors import element_count, numpy_type, words_of

__all__ = ["chosen_sites", "nothing_left", "stored_target", "without_bits"]

_NAMED: Final = 3


def chosen_sites(names: Names, sites: Sequence[Site], stored: Sequence[Site]) -> list[Site]:
    """Return what can flip, each with its role: by rules in graph order, then by name in the order of storage."""
    chosen = [site for site in sites if names.take(site)]
    taken = {id(site.tensor) for site in chosen}
    for site in stored:
        role = names.added_role(site.name)
        if role is None or id(site.tensor) in taken:
            continue
        # an empty tensor has no bit
        if element_count(site.tensor):
            chosen.append(site._replace(role=role))
    return chosen


def without_bits(target: Target) -> LeftOut:
    """Say of a target that none of its bits was chosen."""
    return LeftOut(
        tensor=target.tensor,
        shape=target.shape,
        dtype=target.format.dtype.name,
        elements=target.elements,
        bits=target.elements * target.format.bits,
        reason=BIT,
        node=target.node,
        op_type=target.op_type,
    )


def stored_target(site: Site, format_name: str) -> Target:
    """Return the target that a stored tensor is.

    Raises:
        ModelError: its type has no known bits, or it holds NaN or Inf.
    """
    tensor = site.tensor
    try:
        form = parse_format(format_name, numpy_type(tensor))
    except UsageError as error:
        raise ModelError(f"tensor {site.name!r}: {error}") from None
    if not _finite(tensor):
        raise ModelError(f"tensor {site.name!r} holds NaN or Inf before any fault; repair the model or --exclude it")
    return Target(
        tensor=site.name,
        role=site.role,
        node=site.node,
        op_type=site.op_type,
        shape=tuple(tensor.dims),
        format=form,
    )


def _finite(tensor: onnx.TensorProto) -> bool:
    dtype = numpy_type(tensor)
    if dtype.name.startswith(("int", "uint")):
        return True
    values = words_of(tensor).view(dtype)
    return bool(np.isfinite(values).all())


def nothing_left(
    name: str,
    sites: Sequence[Site | Activation],
    names: Names,
    rest: Sequence[LeftOut],
    absent: Sequence[LeftOut],
) -> str:
    """Say why no tensor can flip.

    Args:
        name: of the model.
        sites: what rules found, activations where they were asked for.
        names: what was asked for.
        rest: what the model stores.
        absent: what it computes and cannot flip, whatever is asked for.
    """
    present = {site.role for site in sites}
    meant = [each for each in absent if names.means(each.tensor)]
    lost = ", ".join(f"{each.tensor!r} ({each.reason})" for each in meant[:_NAMED])
    if names.roles == (ACTIVATION,) and ACTIVATION not in present:
        return f"{name} computes no tensor that can flip{lost and ': '}{lost}"
    if not sites:
        return f"{name} stores no weights or biases that ftonnx knows, so there is no bit to flip{_elsewhere(rest)}"
    found = [role for role in (*ROLES, ACTIVATION) if role in present]
    because = f"; what it computes besides cannot flip: {lost}" if lost else ""
    return (
        f"no tensor of {name} is left with targets {', '.join(names.roles)} and the given --include/--exclude; "
        f"it has {len(sites)} tensors with the roles {', '.join(found)}{because}"
    )


def _elsewhere(rest: Sequence[LeftOut]) -> str:
    """Say where a model without targets keeps its numbers, and which of them can be added; empty where it has none."""
    if not rest:
        return ""
    coverage = Coverage.of(0, rest)
    reasons = ", ".join(f"{group.reason} {coverage.part(group)}" for group in coverage.groups)
    doubtful = [group for group in coverage.groups if is_worth_a_word(group.reason)]
    if not doubtful:
        return f"; it stores {coverage.elements} numbers: {reasons}"
    advice = "attributes of operators cannot flip"
    tensors = [group for group in doubtful if not group.reason.startswith(ATTRIBUTE)]
    if tensors:
        advice = f"`include={tensors[0].largest[0]}=weight` would add one"
    return f"; it stores {coverage.elements} numbers: {reasons}; {advice}"
