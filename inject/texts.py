"""Texts in models: protobuf takes any bytes for a text, and gives them back as bytes, which nothing else takes."""

import functools
from typing import NamedTuple

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from ftonnx.errors import ModelError

__all__ = ["require_texts"]


class _Fields(NamedTuple):
    """Fields of one kind of message: with a text, several texts, a message, several messages."""

    text: tuple[str, ...]
    texts: tuple[str, ...]
    message: tuple[str, ...]
    messages: tuple[str, ...]


def require_texts(model: Message) -> None:
    """Refuse a model in which a name or another text is not UTF-8.

    Raises:
        ModelError: it has one; the message says where.
    """
    waiting = [model]
    while waiting:
        message = waiting.pop()
        fields = _fields_of(message.DESCRIPTOR)
        for name in fields.text:
            _require_text(message, name, getattr(message, name))
        for name in fields.texts:
            for value in getattr(message, name):
                _require_text(message, name, value)
        waiting += [getattr(message, name) for name in fields.message if message.HasField(name)]
        for name in fields.messages:
            waiting += getattr(message, name)


def _require_text(message: Message, field: str, value: str | bytes) -> None:
    if isinstance(value, bytes):
        kind = message.DESCRIPTOR.name
        raise ModelError(
            f"it has a text that is not UTF-8, {value[:60]!r} as {field} of a {kind}; rename that, or export it again"
        )


@functools.cache
def _fields_of(kind: Descriptor) -> _Fields:
    texts = [field for field in kind.fields if field.type == field.TYPE_STRING]
    messages = [field for field in kind.fields if field.message_type is not None]
    return _Fields(
        text=tuple(field.name for field in texts if not field.is_repeated),
        texts=tuple(field.name for field in texts if field.is_repeated),
        message=tuple(field.name for field in messages if not field.is_repeated),
        messages=tuple(field.name for field in messages if field.is_repeated),
    )
