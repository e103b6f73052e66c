"""The lines of a study's file that messages name."""

import json
import random

import pytest

from ftonnx.errors import UsageError
from ftonnx.studies import Study
from ftonnx.studies.lines import lines_of
from ftonnx.words import parsed_toml

FILE = """\
# a study
study = {name = "a", seed = 0}
campaign.threads = 1
campaign.format = "auto"

[models]
net = "digits"
'other' = {file = "digits"}    # the same

[data.digits]
spec = \"\"\"
digits\"\"\"
limit = 20
[data.digits.tuning]
spec = "digits"
split = "val"

[faults]
rates.rate = [
    1e-6,
    1e-5,   # more
]
"many" = {rate = 1e-4}

[matrix]
protect = ["none",
           "actmax", "relu6"]

[[exclude]]
model = "net"
protect = "relu6"

[[exclude]]
model = "other"
protect = ["actmax",
           "ranger"]
"""


def test_the_file_is_a_study(tmp_path):
    """Else its mistakes would be others."""
    path = tmp_path / "s.toml"
    path.write_text(FILE)
    assert Study.read(path).campaign.threads == 1


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("seed = 0", "sed = 0", 2, "study.sed is not known"),
        ("threads = 1", "threads = 0", 3, "campaign.threads: expected int >= 1"),
        ("threads = 1", "threads = 5000", 3, "campaign: threads: a whole number from 1"),
        ('format = "auto"', 'strategy = "fast"', 4, "campaign: strategy 'fast' is not known"),
        ("net =", '"a/b" =', 7, "models: a name of at most 64"),
        ("{file =", "{flie =", 8, "models.other.flie is not known"),
        ("'other' = {", "'other' = {classes = 3, ", 8, "models.other: digits is a model already"),
        ("[data.digits]", "[datta.digits]", 10, "datta is not known"),
        ("limit = 20", "limit = 0", 13, "data.digits.limit: expected int >= 1"),
        ('split = "val"', 'splt = "val"', 16, "data.digits.tuning.splt is not known"),
        ('spec = "digits"\n', "", 14, "data.digits.tuning: object missing required field spec"),
        ("    1e-5,", '    "1e-5",', 21, "faults.rates.rate[1]: expected float"),
        ("    1e-5,", "    7.0,", 19, "faults.rates: a fault rate is a probability"),
        ('"many" = {rate', '"many" = {per_layer = 1, rate', 23, "faults.many: exactly one of"),
        ('"relu6"]', '"relu7"]', 27, "matrix.protect[2]: invalid enum value 'relu7'"),
        ('protect = ["none"', 'models = ["nett"]\nprotect = ["none"', 26, "matrix.models: nett is no entry"),
        ('model = "net"', 'model = "nett"', 29, "exclude[0] fits no cell"),
        ('model = "other"', "model = 3", 34, "exclude[1].model: expected"),
        ('           "ranger"]', "           3]", 36, "exclude[1].protect[1]: expected str, got int"),
        ('model = "other"', 'models = "other"', 34, "exclude[1].models is not known"),
    ],
)
def test_a_mistake_is_said_with_its_line(tmp_path, old, new, line, message):
    """In tables, dotted keys, arrays of tables, inline tables, and arrays over several lines."""
    assert FILE.count(old) >= 1
    path = tmp_path / "s.toml"
    path.write_text(FILE.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        Study.read(path)
    assert str(caught.value).startswith(f"{path}:{line}: {message}")


def test_no_line_is_said_where_none_is_about_it(tmp_path):
    """A table that is missing stands nowhere."""
    path = tmp_path / "s.toml"
    path.write_text(FILE.replace("[matrix]", "[matrix]\ndata = []"))
    with pytest.raises(UsageError, match=r"s\.toml:26: matrix\.data: names of entries were expected"):
        Study.read(path)
    path.write_text('study = {name = "a"}')
    with pytest.raises(UsageError, match=r"s\.toml: a table \[models\] was expected"):
        Study.read(path)


def written(rng, depth):
    """Return a random value as TOML, over lines where TOML allows it, and how many marks it holds."""
    kind = rng.choice(["mark", "text", "number", "array", "table"] if depth else ["mark", "text"])
    if kind == "mark":
        return '"MARK"'
    if kind == "text":
        return rng.choice(["'# no ] comment'", '"\\"} [x]\\\\"', '"""two\n"" lines]"""', "'''a''b\n[t]\n'''", '""'])
    if kind == "number":
        return rng.choice(["1_000", "-2.5e-3", "true", "1979-05-27 07:32:00", "inf"])
    inner = [written(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind == "array":
        spaces = rng.choice(["", "\n", " # ] a comment\n  "])
        return f"[{spaces}" + f",{spaces}".join(inner) + f"{spaces}]"
    return "{" + ", ".join(f"{key(rng)}{number} = {value}" for number, value in enumerate(inner)) + "}"


def key(rng):
    """Return the beginning of a key, bare or dotted."""
    return rng.choice(["a", "b-c", "d.e", "f . g"])


def document(rng):
    """Return a random TOML text."""
    lines = []
    for number in range(rng.randrange(6)):
        lines.append(
            rng.choice(["", "  # [c]", f"[t{number}.u]", f"[ 't{number}' ]", "[[many]]", "[[many]]\n[many.in]"])
        )
        lines += [f"{rng.choice(['x', 'y.z'])}{entry} = {written(rng, 3)}" for entry in range(rng.randrange(4))]
    return "\n".join(lines)


def marks(value, place=""):
    """Yield the places of marks in what the parser of the standard library finds."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from marks(inner, f"{place}.{name}".lstrip("."))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from marks(inner, f"{place}[{number}]")
    elif value == "MARK":
        yield place


def test_lines_are_found_in_any_toml():
    """Marks in random texts; the parser is tomllib, and each mark stands on the line of its key or element."""
    rng = random.Random(3)
    found = 0
    for _ in range(600):
        text = document(rng)
        try:
            values = parsed_toml(text)
        except ValueError:
            continue
        lines = lines_of(text)
        numbered = text.splitlines()
        for place in marks(values):
            assert "MARK" in numbered[lines[place] - 1], (place, text)
            found += 1
    assert found > 500


def test_a_large_file_is_gone_through_at_once():
    """In proportion to its size."""
    text = "a = [" + ",\n".join(json.dumps({"b": 1}).replace(":", " =").replace('"b"', "b") for _ in range(20000)) + "]"
    assert lines_of(text)["a[19999].b"] == 20000
