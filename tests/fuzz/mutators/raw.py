"""Mutations of bytes, whatever they mean."""

_ODD = (
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80" * 9 + b"\x01",
    b"\n",
    b"\x1b[31m",
    b"\xed\xa0\x80",
)
"""Smallest and largest numbers, long varints, control characters, half a character."""


def change_bytes(content, others, rng):
    """Return bytes with one to four places changed; what is mutated may be empty."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        rng.choice(_CHANGES)(data, others, rng)
    return bytes(data)


def _place(data, rng):
    """Return a place, more often near the begin, where most formats have their structure."""
    most = len(data) if rng.random() < 0.6 else min(len(data), 256)
    return rng.randrange(most + 1)


def _flip(data, _, rng):
    if data:
        data[min(_place(data, rng), len(data) - 1)] ^= 1 << rng.randrange(8)


def _overwrite(data, _, rng):
    place = _place(data, rng)
    piece = rng.choice((rng.randbytes(rng.randint(1, 8)), rng.choice(_ODD)))
    data[place : place + len(piece)] = piece


def _insert(data, _, rng):
    place = _place(data, rng)
    data[place:place] = rng.choice((rng.randbytes(rng.randint(1, 8)), rng.choice(_ODD)))


def _delete(data, _, rng):
    place = _place(data, rng)
    del data[place : place + rng.choice((1, 2, 8, 64, 1024))]


def _repeat(data, _, rng):
    place = _place(data, rng)
    piece = data[place : place + rng.choice((1, 4, 16, 256))]
    data[place:place] = piece * rng.choice((1, 1, 2, 50))


def _truncate(data, _, rng):
    del data[_place(data, rng) :]


def _splice(data, others, rng):
    other = rng.choice(others)
    place = _place(data, rng)
    start = rng.randrange(len(other) + 1)
    data[place : place + rng.choice((0, 16, 256))] = other[start : start + rng.choice((4, 64, 1024))]


_CHANGES = (_flip, _flip, _overwrite, _insert, _delete, _repeat, _truncate, _splice)
