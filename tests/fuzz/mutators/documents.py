"""Mutations of texts: JSON by its values, everything else by lines and words."""

import json
import re

from fuzz.mutators.raw import change_bytes

ODD_VALUES = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**400, 0.5, -0.0, 1e308, 5e-324, float("nan"),
    float("inf"), "", "NaN", "\0", "\ud800", "a\nb", "\x1b[31m", "=1+1", "../../x", "/", "é" * 300, "x" * 5000, "1e999",
    "\u0661", [], [[]], {}, [None], {"": {}}, [0] * 200,
)  # fmt: skip
"""Values where others were expected."""

_ODD_WORDS = (
    "", "0", "-1", "1e999", "-0.0", "nan", "inf", "9" * 20, "9" * 5000, "0x10", "1_000", "true", "null", "''", '"',
    "'''", "[", "]", "{}", "=", ",", ",,", ";", "\t", "\0", "\n", "\r", "\r\n", "#", "\\", "\\u0000", "\ufeff", "é",
    "\u0661", "..", "../../x", "/", "%s", "x" * 5000, "2020-01-01", "[" * 3000, "\x85", "\u2028", "\udcff", "=1+1",
    "C:\\x", "~", "$HOME", ":", "*",
)  # fmt: skip

_WORD = re.compile(r"[\w.+-]+")


def change_json(content, others, rng):
    """Return a JSON text of which some values were replaced, exchanged, repeated, renamed or left out."""
    try:
        text = content.decode()
        for _ in range(rng.choice((1, 1, 2, 3))):
            holder = [json.loads(text)]
            _change_value(holder, rng)
            text = json.dumps(holder[0]) if holder else ""
        return text.encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):  # no JSON, or in what was put into itself
        return change_bytes(content, others, rng)


def _change_value(holder, rng):
    places = _places(holder)
    if not places:
        return
    container, key = rng.choice(places)
    roll = rng.randrange(7)
    if roll == 0:
        del container[key]
    elif roll == 1:
        other, other_key = rng.choice(places)
        container[key], other[other_key] = other[other_key], container[key]
    elif roll == 2 and isinstance(container, list):
        container.insert(key, container[key])
    elif roll == 3 and isinstance(container, dict):
        container[rng.choice(("", "x", "\ud800", key + "x", key.upper()))] = container.pop(key)
    elif roll == 4 and isinstance(container[key], int | float):
        container[key] = rng.choice((-container[key], container[key] + 1, container[key] * 1000, str(container[key])))
    elif roll == 5:
        container[key] = _nested(container[key], rng.choice((1, 2, 500)))
    else:
        container[key] = rng.choice(ODD_VALUES)


def _places(holder):
    """Return all (container, key), the outermost value first."""
    found = []
    waiting = [holder]
    while waiting:
        container = waiting.pop()
        items = container.items() if isinstance(container, dict) else enumerate(container)
        for key, value in items:
            found.append((container, key))
            if isinstance(value, dict | list):
                waiting.append(value)
    return found


def _nested(value, depth):
    for _ in range(depth):
        value = [value]
    return value


def change_text(content, others, rng):
    """Return a text with some lines or words changed."""
    text = content.decode("utf-8", "surrogateescape")
    for _ in range(rng.choice((1, 1, 2, 3))):
        text = rng.choice((_change_lines, _change_word, _change_word, _insert_word))(text, others, rng)
    return text.encode("utf-8", "surrogatepass")


def _change_lines(text, others, rng):
    lines = text.splitlines(keepends=True) or [""]
    place = rng.randrange(len(lines))
    roll = rng.randrange(5)
    if roll == 0:
        del lines[place]
    elif roll == 1:
        lines[place:place] = [lines[place]] * rng.choice((1, 1, 100))
    elif roll == 2:
        other = rng.randrange(len(lines))
        lines[place], lines[other] = lines[other], lines[place]
    elif roll == 3:
        lines[place] = lines[place].rstrip("\r\n")
    else:
        theirs = rng.choice(others).decode("utf-8", "surrogateescape").splitlines(keepends=True)
        lines.insert(place, rng.choice(theirs or [""]))
    return "".join(lines)


def _change_word(text, _, rng):
    words = list(_WORD.finditer(text))
    if not words:
        return rng.choice(_ODD_WORDS)
    word = rng.choice(words)
    theirs = rng.choice(words).group()
    instead = rng.choice((rng.choice(_ODD_WORDS), theirs, word.group() + rng.choice(_ODD_WORDS)))
    return text[: word.start()] + instead + text[word.end() :]


def _insert_word(text, _, rng):
    place = rng.randrange(len(text) + 1)
    return text[:place] + rng.choice(_ODD_WORDS) + text[place:]
