"""JUnit XML, which continuous integration services show as tests."""

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Case", "Verdict", "junit_xml"]

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]

_ELEMENT: Final = {"FAIL": "failure", "INCONCLUSIVE": "error"}
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One goal as a test.

    Attributes:
        name: of the goal.
        verdict: PASS, FAIL, or INCONCLUSIVE, which JUnit calls an error: neither passed nor failed, and not green.
        message: the evidence.
        seconds: time it took.
    """

    name: str
    verdict: Verdict
    message: str = ""
    seconds: float = 0.0


def junit_xml(suite_name: str, cases: Sequence[Case], *, properties: Mapping[str, str] | None = None) -> str:
    """Return a JUnit XML document with one suite.

    Args:
        suite_name: of the suite; also the class name of its cases.
        cases: in order.
        properties: facts about the run, such as the seed.

    >>> print(junit_xml("gate", [Case(name="top-1 at 1e-6", verdict="PASS", seconds=1.5)]))
    <?xml version="1.0" encoding="UTF-8"?>
    <testsuites>
      <testsuite name="gate" tests="1" failures="0" errors="0" skipped="0" time="1.500">
        <testcase classname="gate" name="top-1 at 1e-6" time="1.500" />
      </testsuite>
    </testsuites>
    """
    counts = Counter(case.verdict for case in cases)
    root = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        {
            "name": _clean(suite_name),
            "tests": str(len(cases)),
            "failures": str(counts["FAIL"]),
            "errors": str(counts["INCONCLUSIVE"]),
            "skipped": "0",
            "time": f"{sum(case.seconds for case in cases):.3f}",
        },
    )
    if properties:
        holder = ElementTree.SubElement(suite, "properties")
        for name, value in properties.items():
            ElementTree.SubElement(holder, "property", {"name": _clean(name), "value": _clean(value)})
    for case in cases:
        _add_case(suite, case)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}'


def _add_case(suite: ElementTree.Element, case: Case) -> None:
    attributes = {"classname": suite.attrib["name"], "name": _clean(case.name), "time": f"{case.seconds:.3f}"}
    element = ElementTree.SubElement(suite, "testcase", attributes)
    if case.verdict in _ELEMENT:
        inner = ElementTree.SubElement(
            element, _ELEMENT[case.verdict], {"message": _clean(case.message), "type": case.verdict}
        )
        inner.text = _clean(case.message)
    elif case.message:
        ElementTree.SubElement(element, "system-out").text = _clean(case.message)


def _clean(text: str) -> str:
    r"""Replace what XML cannot hold, such as control characters in a tensor's name.

    >>> _clean("conv\x1b\ud800")
    'conv??'
    """
    return _NOT_XML.sub("?", text)
