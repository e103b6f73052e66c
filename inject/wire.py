"""The fields of a model's bytes, counted before protobuf makes objects of them.

An empty message takes two bytes in a file and a hundred and more in memory, so that a size in bytes says little. The
format is protobuf's wire format: a field is a tag (its number and wire type, a varint) and what it holds; what holds a
message is gone into, what holds bytes is jumped over.
"""

import functools
from typing import Final

from google.protobuf.descriptor import Descriptor
from onnx import ModelProto

from ftonnx.errors import ModelError
from ftonnx.limits import FIELDS

__all__ = ["check_fields"]

_VARINT: Final = 0
_FIXED64: Final = 1
_DELIMITED: Final = 2
_FIXED32: Final = 5


def check_fields(data: bytes) -> None:
    """Refuse bytes of so many fields that reading them would take without measure.

    Bytes that are no protobuf are counted as far as they can be: protobuf says better what is wrong with them.

    Args:
        data: of an ONNX file.

    Raises:
        ModelError: there are too many.
    """
    most = FIELDS.most
    fields = 0
    pending = [(0, len(data), ModelProto.DESCRIPTOR)]
    while pending:
        at, end, kind = pending.pop()
        messages = _messages_in(kind)
        while at < end:
            fields += 1
            if fields > most:
                raise ModelError(f"it has over {most:,} fields: {FIELDS.said}")
            tag, at = _varint(data, at)
            wire_type = tag & 7
            if wire_type == _DELIMITED:
                size, at = _varint(data, at)
                inner = messages.get(tag >> 3)
                if inner is not None:
                    pending.append((at, min(at + size, end), inner))
                at += size
            elif wire_type == _VARINT:
                _, at = _varint(data, at)
            elif wire_type == _FIXED32:
                at += 4
            elif wire_type == _FIXED64:
                at += 8


@functools.cache
def _messages_in(kind: Descriptor) -> dict[int, Descriptor]:
    """Return what kinds of messages the fields of a kind hold, by number; other fields are left out."""
    return {field.number: field.message_type for field in kind.fields if field.message_type is not None}


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at a position, and the position behind it; what is cut short ends there."""
    value = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return value, at
