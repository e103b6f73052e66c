"""Mutations of protobuf's messages, found by their descriptors, and of how they are written."""

from google.protobuf.message import DecodeError, EncodeError
from onnx import ModelProto

from fuzz.mutators.raw import change_bytes

_INTEGERS = (
    0,
    1,
    -1,
    2,
    3,
    7,
    11,
    16,
    64,
    255,
    1000,
    2**20,
    2**31 - 1,
    2**31,
    2**40,
    2**62,
    2**63 - 1,
    -(2**31),
    -(2**63),
)
_FLOATS = (0.0, -0.0, 1.0, -1.0, 1e38, 1e-45, float("nan"), float("inf"), float("-inf"))
_TEXTS = (
    "",
    "x",
    "\0",
    "a\nb",
    "\x1b[31m",
    "../x",
    "/etc/passwd",
    "é",
    "ai.onnx",
    "local",
    "x" * 3000,
    "-1",
    "9" * 4400,
)
_MANY = (1, 1, 2, 60)
_MOST_PLACES = 5000
_LENGTH_DELIMITED = 2


def change_message(content, others, rng):
    """Return a model with one to three fields changed anywhere in it; some are changed as they are written, too."""
    try:
        model = ModelProto.FromString(content)
        other = ModelProto.FromString(rng.choice(others))
    except DecodeError:
        return change_bytes(content, others, rng)
    for _ in range(rng.choice((1, 1, 2, 3))):
        _change_field(model, other, rng)
    try:
        written = model.SerializeToString(deterministic=True)
    except (EncodeError, ValueError):  # of what was put into itself again and again
        return change_bytes(content, others, rng)
    return change_wire(written, others, rng) if rng.random() < 0.1 else written


def _change_field(model, other, rng):
    """Change one field of one message; kinds of messages are equally likely, however many there are of each."""
    by_kind = _by_kind(model)
    messages = by_kind[rng.choice(sorted(by_kind))]
    message = rng.choice(messages)
    fields = [field for field, _ in message.ListFields()]
    if not fields or rng.random() < 0.25:
        fields = list(message.DESCRIPTOR.fields)
    field = rng.choice(fields)
    if rng.random() < 0.1:
        message.ClearField(field.name)
    elif field.message_type is not None:
        theirs = [*by_kind.get(field.message_type.name, ()), *_by_kind(other).get(field.message_type.name, ())]
        _change_messages(message, field, theirs, rng)
    else:
        _change_scalars(message, field, by_kind, rng)


def _by_kind(model):
    """Return all messages in a model by the name of their kind."""
    found = {}
    waiting = [model]
    while waiting:
        message = waiting.pop()
        found.setdefault(message.DESCRIPTOR.name, []).append(message)
        for field, value in message.ListFields():
            if field.message_type is not None:
                waiting += value if field.is_repeated else [value]
    return found


def _change_messages(message, field, theirs, rng):
    """Change a field that holds a message or several: doubled, left out, moved, empty, or taken from elsewhere."""
    copy = field.message_type._concrete_class()
    if theirs and rng.random() < 0.8:
        copy.CopyFrom(rng.choice(theirs))
    if not field.is_repeated:
        getattr(message, field.name).CopyFrom(copy)
        return
    values = getattr(message, field.name)
    listed = list(values)
    place = rng.randrange(len(listed) + 1)
    roll = rng.randrange(4)
    if roll == 0 or place == len(listed):
        for _ in range(rng.choice(_MANY)):
            values.insert(place, copy)
    elif roll == 1:
        del values[place]
    elif roll == 2:
        moved = field.message_type._concrete_class()
        moved.CopyFrom(values[place])
        del values[place]
        values.insert(rng.randrange(len(values) + 1), moved)
    else:
        values[place].CopyFrom(copy)


def _change_scalars(message, field, by_kind, rng):
    """Change a field that holds a number, a text or bytes, or several of them."""
    if not field.is_repeated:
        setattr(message, field.name, _odd(field, getattr(message, field.name), by_kind, rng))
        return
    values = getattr(message, field.name)
    place = rng.randrange(len(values) + 1)
    roll = rng.randrange(4)
    if place == len(values) or roll == 0:
        values.extend(
            [_odd(field, values[0] if values else field.default_value or _zero(field), by_kind, rng)]
            * rng.choice(_MANY)
        )
    elif roll == 1:
        del values[place]
    else:
        values[place] = _odd(field, values[place], by_kind, rng)


def _zero(field):
    return {field.CPPTYPE_STRING: b"" if field.type == field.TYPE_BYTES else ""}.get(field.cpp_type, 0)


def _odd(field, value, by_kind, rng):
    """Return another value for a field that has one: near to it, out of all bounds, or one of another field's."""
    if field.type == field.TYPE_BYTES:
        return rng.choice(
            (change_bytes(value[:4096], [value[:4096]], rng) + value[4096:], value[:-1], value + b"\0", b"")
        )
    if field.type == field.TYPE_STRING:
        return rng.choice((rng.choice(_TEXTS), _some_text(by_kind, rng), _some_text(by_kind, rng)))
    if field.enum_type is not None:
        return rng.choice(field.enum_type.values).number
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return rng.choice((*_FLOATS, -value, value * 2))
    near = (value + 1, value - 1, -value, value ^ 1 << rng.randrange(31))
    return _fitting(rng.choice((rng.choice(_INTEGERS), rng.choice(near))), field)


def _fitting(number, field):
    bits = 31 if field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_UINT32) else 63
    unsigned = field.cpp_type in (field.CPPTYPE_UINT32, field.CPPTYPE_UINT64)
    return min(max(number, 0 if unsigned else -(2**bits)), 2**bits - 1)


def _some_text(by_kind, rng):
    """Return a text that stands somewhere in the model, such as the name of another tensor."""
    message = rng.choice(by_kind[rng.choice(sorted(by_kind))])
    texts = [""]
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING:
            texts += value if field.is_repeated else [value]
    return rng.choice(texts)


def change_wire(content, others, rng):
    """Return a model with one field written otherwise: its tag, its length, its content; or doubled, or left out."""
    places = _wire_places(content, ModelProto.DESCRIPTOR)
    if not places:
        return change_bytes(content, others, rng)
    data = bytearray(content)
    start, head, end = rng.choice(places)
    roll = rng.randrange(5)
    if roll == 0:
        data[start:head] = change_bytes(bytes(data[start:head]), [b""], rng)
    elif roll == 1:
        data[start:head] = data[start : start + 1] + _varint(
            max(0, end - head + rng.choice((-1, 1, 7, 2**20, 2**31, 2**62)))
        )
    elif roll == 2 and end - head < 64:
        data[head:end] = change_bytes(bytes(data[head:end]), [b""], rng)
    elif roll == 3:
        data[start:start] = data[start:end]
    else:
        del data[start:end]
    return bytes(data)


def _wire_places(data, descriptor):
    """Return where fields are written: start of the tag, start and end of the content."""
    found = []
    waiting = [(0, len(data), descriptor)]
    while waiting and len(found) < _MOST_PLACES:
        place, end, kind = waiting.pop()
        while place < end:
            start = place
            key, place = _read_varint(data, place, end)
            field = kind.fields_by_number.get(key >> 3)
            if key & 7 == _LENGTH_DELIMITED:
                length, place = _read_varint(data, place, end)
                head, place = place, min(place + length, end)
                if field is not None and field.message_type is not None:
                    waiting.append((head, place, field.message_type))
            elif key & 7 == 0:
                head = place
                _, place = _read_varint(data, place, end)
            else:
                head, place = place, place + (4 if key & 7 == 5 else 8)
            found.append((start, head, min(place, end)))
    return found


def _read_varint(data, place, end):
    r"""Return a number and where it ends.

    >>> _read_varint(b"\xac\x02", 0, 2)
    (300, 2)
    """
    number = shift = 0
    while place < end:
        byte = data[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return number, place


def _varint(number):
    r"""Write a number.

    >>> _varint(300)
    b'\xac\x02'
    """
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
