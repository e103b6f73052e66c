"""How verdicts about goals look, and with which code a command ends by them."""

from typing import Final

__all__ = ["VERDICT_CODES", "VERDICT_STYLES"]

VERDICT_STYLES: Final = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow"}
VERDICT_CODES: Final = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3}
