"""How large what comes from strangers may be: all that is limited, and the variables by which a user raises it.

Sizes are compared with these limits before anything is read, allocated or gone through.
"""

import os
from dataclasses import dataclass
from typing import Final

from ftonnx.errors import UsageError

__all__ = [
    "ARCHIVE_BYTES",
    "CONSTANT_WAYS",
    "FIELDS",
    "LIMITS",
    "MODEL_BYTES",
    "NAME_LENGTH",
    "NODES",
    "UNTRUSTED_BYTES",
    "UNTRUSTED_SECONDS",
    "Limit",
]

_PREFIX: Final = "FTONNX_LIMIT_"
_MOST_DIGITS: Final = 18


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit, in whose place an environment variable sets another.

    Attributes:
        name: of the variable, after ``FTONNX_LIMIT_``.
        usual: the limit where it is not set.
        what: is limited.
    """

    name: str
    usual: int
    what: str

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"{_PREFIX}{self.name}"

    @property
    def most(self) -> int:
        """The limit.

        Raises:
            UsageError: the variable holds something else than a whole number.
        """
        said = os.environ.get(self.variable)
        if said is None:
            return self.usual
        if not (said.isascii() and said.isdecimal()) or len(said) > _MOST_DIGITS:
            raise UsageError(f"{self.variable}: a whole number was expected, got {said[:_MOST_DIGITS]!r}")
        return int(said)

    @property
    def said(self) -> str:
        """The end of a message about what is beyond the limit.

        >>> Limit("NODES", 25_000, "nodes").said
        'the limit is 25,000, and FTONNX_LIMIT_NODES=N sets another'
        """
        return f"the limit is {self.most:,}, and {self.variable}=N sets another"


MODEL_BYTES: Final = Limit("MODEL_BYTES", 2**33, "bytes of a model, external data included")
NODES: Final = Limit("NODES", 25_000, "nodes of a model, subgraphs included, and of it inlined")
FIELDS: Final = Limit("FIELDS", 2_000_000, "fields of a model's protobuf, in all its messages")
NAME_LENGTH: Final = Limit("NAME_LENGTH", 10_000, "letters of one name in a model")
CONSTANT_WAYS: Final = Limit("CONSTANT_WAYS", 500_000, "ways from stored tensors to what is computed with them")
ARCHIVE_BYTES: Final = Limit("ARCHIVE_BYTES", 2**34, "bytes of the arrays in an archive (.npz), unpacked")
UNTRUSTED_BYTES: Final = Limit("UNTRUSTED_BYTES", 2**33, "bytes of address space of a command with `--untrusted`")
UNTRUSTED_SECONDS: Final = Limit("UNTRUSTED_SECONDS", 120, "seconds that a command with `--untrusted` may take")

LIMITS: Final = (
    MODEL_BYTES,
    NODES,
    FIELDS,
    NAME_LENGTH,
    CONSTANT_WAYS,
    ARCHIVE_BYTES,
    UNTRUSTED_BYTES,
    UNTRUSTED_SECONDS,
)
"""All of them, in the order of the table in ``docs/limits.md``."""
