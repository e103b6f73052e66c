"""A training that was interrupted: all that the next epoch needs, in one file beside the output."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import torch

from ftonnx.errors import ModelError, describe
from ftonnx.files import write_file
from ftonnx.training.records import TrainingLog

__all__ = ["State", "StateFile"]

_ENDING: Final = ".training"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """After some epochs.

    Attributes:
        log: What they came to.
        network: Its state dict.
        best: The state dict of the best epoch.
        rest: State dicts of the optimizer, the schedule and the scaler.
    """

    log: TrainingLog
    network: dict[str, Any]
    best: dict[str, Any]
    rest: dict[str, Any]


class StateFile:
    """The file, which is of one training only."""

    def __init__(self, output: Path, identity: dict[str, Any]) -> None:
        """Name the file.

        Args:
            output: What the training is to write.
            identity: What must be the same for a training to go on.
        """
        self.path = output.with_name(output.name + _ENDING)
        self._identity = identity

    def write(self, state: State) -> None:
        """Write it; it is the old or the new one at any time.

        Raises:
            UsageError: It cannot be written.
        """
        content = {
            "identity": self._identity,
            "log": state.log.to_dicts(),
            "network": state.network,
            "best": state.best,
            "rest": state.rest,
        }
        buffer = BytesIO()
        torch.save(content, buffer)
        write_file(buffer.getvalue(), self.path)

    def read(self) -> State | None:
        """Read it; None where there is none.

        Raises:
            ModelError: It is damaged, or of another training.
        """
        if not self.path.exists():
            return None
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            identity = content["identity"]
            state = State(
                log=TrainingLog.from_dicts(content["log"]),
                network=content["network"],
                best=content["best"],
                rest=content["rest"],
            )
        except Exception as error:
            # a damaged file fails in many ways
            expected = "an interrupted training"
            raise ModelError(f"{self.path}: expected {expected}, got {describe(error)}; remove it") from error
        for name, mine in self._identity.items():
            if identity.get(name) != mine:
                got = f"one with {name} {identity.get(name)!r} instead of {mine!r}"
                raise ModelError(
                    f"{self.path}: expected this training's interrupted state, got {got}; "
                    "repeat that command, or remove the file"
                )
        return state

    def remove(self) -> None:
        """Remove it, once the training has ended."""
        self.path.unlink(missing_ok=True)
