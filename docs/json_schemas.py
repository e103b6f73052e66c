"""Writes docs/reference/schemas/, a JSON schema for all that ftonnx prints or keeps as JSON, and the page of them.

    python docs/json_schemas.py

The objects are described in json_outputs/: those that are dataclasses of ftonnx by themselves, the others by hand.
Every object is closed, so that a key that nobody described is an error; tests/promises/test_schemas.py holds real
outputs against the schemas.
"""

import inspect
import json
from pathlib import Path
from typing import Any, Final

import msgspec
from json_outputs import OUTPUTS, Output
from json_outputs.base import Object, attributes_of

FOLDER: Final = Path(__file__).parent / "reference" / "schemas"
PAGE: Final = Path(__file__).parent / "reference" / "json.md"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_START: Final = """# JSON

Written by `python docs/json_schemas.py`. Everything that `--json` prints, and files of JSON that are for others to
read, have a [JSON schema](https://json-schema.org) (draft 2020-12): the keys, their types, and what they mean. Objects
are closed: a key that is not in the schema is not printed. New keys may come with a new version; keys that are there
keep their meaning, or `schema_version` counts up. NaN and infinities, which JSON lacks, are the texts `"NaN"`,
`"Infinity"` and `"-Infinity"`. Tests hold the output of every command against its schema.

| schema | of |
|---|---|
"""


def schemas() -> dict[str, str]:
    """Return the text of every schema by name."""
    return {name: json.dumps(_schema(name, output), indent=1) + "\n" for name, output in OUTPUTS.items()}


def page() -> str:
    """Return the page that lists them."""
    rows = [f"| [{name}](schemas/{name}.json) | {_marked(output.source)} |" for name, output in OUTPUTS.items()]
    return _START + "\n".join(rows) + "\n"


def _marked(source: str) -> str:
    """Return where something is from, the command or file as code.

    >>> _marked("ftonnx fit --json, of single faults")
    '`ftonnx fit --json`, of single faults'
    """
    code, comma, rest = source.partition(",")
    return f"`{code}`{comma}{rest}"


def _schema(name: str, output: Output) -> dict[str, Any]:
    objects = _objects_in(output.type)
    others = [each.other_values for each in objects.values() if each.other_values is not None]
    (root, *loose), components = msgspec.json.schema_components([output.type, *others], ref_template="#/$defs/{name}")
    for each in objects.values():
        definition = components[each.__name__]
        _describe(definition, each)
        if each.other_values is not None:
            definition["additionalProperties"] = loose.pop(0)
    title = f"ftonnx {name}: {output.source}"
    return {"$schema": _DIALECT, "title": title, **root, "$defs": components}


def _describe(definition: dict[str, Any], described: type[Object]) -> None:
    """Say what the docstring says of an object and of its keys."""
    docstring = inspect.getdoc(described) or ""
    definition["description"] = docstring.partition("\n")[0]
    for name, text in attributes_of(docstring).items():
        if name in definition["properties"]:
            definition["properties"][name].setdefault("description", text)


def _objects_in(kind: Any) -> dict[str, type[Object]]:
    """Return the objects that a type is made of, by name."""
    found: dict[str, type[Object]] = {}
    waiting = [msgspec.inspect.type_info(kind)]
    while waiting:
        each = waiting.pop()
        if isinstance(each, msgspec.inspect.StructType):
            if each.cls.__name__ in found or not issubclass(each.cls, Object):
                continue
            found[each.cls.__name__] = each.cls
            waiting += [field.type for field in each.fields]
            if each.cls.other_values is not None:
                waiting.append(msgspec.inspect.type_info(each.cls.other_values))
        waiting += _parts_of(each)
    return found


def _parts_of(kind: msgspec.inspect.Type) -> list[msgspec.inspect.Type]:
    """Return the types that a type without keys is made of."""
    if isinstance(kind, msgspec.inspect.Metadata):
        return [kind.type]
    if isinstance(kind, msgspec.inspect.UnionType):
        return list(kind.types)
    if isinstance(kind, msgspec.inspect.DictType):
        return [kind.value_type]
    if isinstance(kind, msgspec.inspect.CollectionType):
        return [kind.item_type]
    return []


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    for name, text in schemas().items():
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")
