"""What the system says about the processor."""

import platform
import re
from pathlib import Path
from typing import Final

__all__ = ["cpu_name", "processor_facts"]

_CPU_INFO: Final = Path("/proc/cpuinfo")
_NAME: Final = re.compile(r"^model name[ \t]*:(.*)$", re.MULTILINE)
_FACTS: Final = re.compile(r"^(?:model name|flags|Features|CPU part)\s*:\s*(.*)$", re.MULTILINE)


def cpu_name() -> str:
    """Return the processor's name where the system tells it."""
    text = _cpu_info()
    if text is None:
        return platform.processor() or platform.machine()
    found = _NAME.search(text)
    return platform.machine() if found is None else found[1].strip()


def processor_facts() -> list[str]:
    """Return what tells processors apart: names and vector units, each once."""
    known = [platform.machine()]
    text = _cpu_info()
    if text is not None:
        known += dict.fromkeys(_FACTS.findall(text))
    return known


def _cpu_info() -> str | None:
    """Return the system's text; None where it has none, as on macOS and Windows."""
    try:
        return _CPU_INFO.read_text()
    except OSError:
        return None
