"""Which tensors a user chooses: by role, by patterns of names, and by name with a role."""

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ftonnx.errors import UsageError
from ftonnx.inject.activations import Activation
from ftonnx.inject.graph import Site
from ftonnx.inject.roles import ACTIVATION
from ftonnx.words import near

__all__ = ["ROLES", "Names"]

ROLES: Final = ("weight", "bias", "scale", "zero_point")
"""The roles of stored tensors; computed ones have another, ``ACTIVATION``."""

_KNOWN: Final = (*ROLES, ACTIVATION)


class _Added(NamedTuple):
    """Names of tensors that are added, and as what."""

    pattern: str
    role: str


@dataclass(frozen=True, slots=True)
class Names:
    """A choice of tensors.

    Attributes:
        roles: what can flip of what rules find.
        include: patterns of names; where there are some, only these of what rules find.
        exclude: patterns of names that cannot flip.
        added: patterns of names that can flip besides, whatever rules say, each with a role.
    """

    roles: tuple[str, ...]
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    added: tuple[_Added, ...]

    @classmethod
    def of(cls, roles: Sequence[str], include: Sequence[str], exclude: Sequence[str]) -> "Names":
        """Read a choice; an included pattern that ends with ``=`` and a role adds.

        Raises:
            UsageError: a role is not known, or there is none.
        """
        unknown = sorted(set(roles) - set(_KNOWN))
        if unknown or not roles:
            got = ", ".join(unknown) or "none"
            hint = near(unknown[0], _KNOWN) if unknown else ""
            raise UsageError(f"targets are chosen from {', '.join(_KNOWN)}; got {got}{hint}")
        plain = []
        added = []
        for pattern in include:
            name, equals, role = pattern.rpartition("=")
            # a name may have a = of its own
            if equals and role in ROLES:
                added.append(_Added(name, role))
            else:
                plain.append(pattern)
        return cls(tuple(roles), tuple(plain), tuple(exclude), tuple(added))

    def take(self, site: Site | Activation) -> bool:
        """Say whether a site that a rule found can flip."""
        return site.role in self.roles and self.means(site.name)

    def means(self, name: str) -> bool:
        """Say whether a name is one of those that are included, all where none are, and not excluded."""
        if self.include and not _matches_one(name, self.include):
            return False
        return not _matches_one(name, self.exclude)

    def added_role(self, name: str) -> str | None:
        """Return the role with which any other stored tensor is added; None where it is not."""
        if _matches_one(name, self.exclude):
            return None
        for pattern, role in self.added:
            if fnmatch.fnmatchcase(name, pattern):
                return role
        return None

    def check(self, sites: Sequence[Site | Activation], stored: Sequence[Site]) -> None:
        """Refuse patterns that cannot do what they say.

        Args:
            sites: what rules found, activations too.
            stored: everything that the model stores.

        Raises:
            UsageError: a pattern matches only what no rule finds, or one that adds matches nothing.
        """
        for pattern in self.include:
            _check_plain(pattern, sites, stored)
        for pattern, role in self.added:
            if _first(pattern, stored) is None:
                raise UsageError(
                    f"`include='{pattern}={role}'` adds nothing: the model stores no tensor of such a name"
                )


def _check_plain(pattern: str, sites: Sequence[Site | Activation], stored: Sequence[Site]) -> None:
    if _first(pattern, sites) is not None:
        return
    other = _first(pattern, stored)
    if other is not None:
        raise UsageError(
            f"`include='{pattern}'` matches only tensors that are no weights by rule, such as {other.name!r}; "
            f"`include='{pattern}=weight'` adds them, or another role of {', '.join(ROLES)}"
        )
    name, equals, role = pattern.rpartition("=")
    if equals and _first(name, stored) is not None:
        hint = near(role, ROLES)
        raise UsageError(f"`include='{pattern}'` names no role, of {', '.join(ROLES)}{hint}")


def _first(pattern: str, sites: Iterable[Site | Activation]) -> Site | Activation | None:
    for site in sites:
        if fnmatch.fnmatchcase(site.name, pattern):
            return site
    return None


def _matches_one(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
