"""Mutations inside of containers, which are closed again as they should be: check sums and lengths are right."""

import io
import json
import struct
import warnings
import zipfile
import zlib
from pathlib import PurePath

from fuzz.mutators.documents import change_json
from fuzz.mutators.raw import change_bytes

_PNG_HEAD = 8
_NPY_HEAD = 10
_SHAPES = (
    b"()",
    b"(0,)",
    b"(-1,)",
    b"(1099511627776,)",
    b"(2, 3)",
    b"(1, 1, 1, 1, 1)",
    b"(4611686018427387904, 4)",
    b"(3,",
)
_TYPES = (
    b"<f4",
    b">f4",
    b"<f2",
    b"<f8",
    b"|O",
    b"<U9",
    b"<U99999999",
    b"|S0",
    b"|b1",
    b"<c16",
    b"<M8[ns]",
    b"<i8",
    b"|u1",
    b"|V3",
)


def change_zip(content, others, rng):
    """Return an archive of which one member was changed, renamed, left out or doubled."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return change_bytes(content, others, rng)
    if members:
        _change_member(members, rng)
    written = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(written, "w", rng.choice((0, 8))) as archive:
        # of names that stand there twice
        warnings.simplefilter("ignore")
        for name, data in members:
            archive.writestr(name, data)
    return written.getvalue()


def _change_member(members, rng):
    place = rng.randrange(len(members))
    name, data = members[place]
    roll = rng.random()
    if roll < 0.1:
        del members[place]
    elif roll < 0.2:
        members.append((name, rng.choice(members)[1]))
    elif roll < 0.3:
        members[place] = (rng.choice(("labels.npy", "classes.npy", "images", "../x.npy", "é.npy", f"x{name}")), data)
    else:
        change = change_npy if PurePath(name).suffix == ".npy" else change_bytes
        members[place] = (name, change(data, [each for _, each in members], rng))


def change_npy(content, others, rng):
    """Return an array whose header says another shape or type, or whose values are others."""
    if len(content) < _NPY_HEAD or rng.random() < 0.3:
        return change_bytes(content, others, rng)
    end = _NPY_HEAD + struct.unpack_from("<H", content, 8)[0]
    header = content[_NPY_HEAD:end].rstrip()
    for mark, close, odd in ((b"'shape': ", b"}", _SHAPES), (b"'descr': '", b"'", _TYPES)):
        if rng.random() < 0.6 and mark in header:
            before, _, after = header.partition(mark)
            _, found, rest = after.partition(close)
            header = before + mark + rng.choice(odd) + found + rest
    if rng.random() < 0.3:
        header = change_bytes(header, [header], rng)
    return content[:8] + struct.pack("<H", len(header) + 1) + header + b"\n" + content[end:]


def change_png(content, others, rng):
    """Return an image with one chunk changed, left out or doubled, and right check sums."""
    chunks = []
    place = _PNG_HEAD
    while place + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        chunks.append((kind, content[place + 8 : place + 8 + length]))
        place += 12 + length
    if not chunks:
        return change_bytes(content, others, rng)
    chosen = rng.randrange(len(chunks))
    kind, data = chunks[chosen]
    roll = rng.random()
    if roll < 0.1:
        del chunks[chosen]
    elif roll < 0.2:
        chunks.insert(chosen, (kind, data))
    elif roll < 0.3:
        chunks.insert(chosen, (rng.choice((b"PLTE", b"tRNS", b"iCCP", b"tEXt", b"zTXt", b"acTL")), rng.randbytes(12)))
    elif kind == b"IDAT" and roll < 0.6:
        chunks[chosen] = (kind, zlib.compress(rng.randbytes(rng.choice((0, 40, 4000)))))
    else:
        chunks[chosen] = (kind, change_bytes(data, [data], rng))
    written = [content[:_PNG_HEAD]]
    for kind, data in chunks:
        written.append(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
    return b"".join(written)


def change_safetensors(content, others, rng):
    """Return tensors whose header, a JSON text, says something else."""
    if len(content) < 8:
        return change_bytes(content, others, rng)
    (length,) = struct.unpack_from("<Q", content)
    header = change_json(content[8 : 8 + length], others, rng)
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def read_json(content):
    """Return a JSON object, None for everything else."""
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
