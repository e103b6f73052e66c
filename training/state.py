"""A training that was interrupted: all that the next epoch needs, in one file beside the output."""

import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import torch

from ftonnx.errors import ModelError, describe
from ftonnx.files import require_plain, write_file
from ftonnx.training.records import EpochLog

__all__ = ["State", "StateFile"]

_ENDING: Final = ".training"

_Log = TypeVar("_Log", bound=EpochLog[Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class State(Generic[_Log]):
    """After some epochs.

    Attributes:
        log: What they came to.
        network: Its state dict.
        result: The state dict that the training gives if it ends here.
        rest: State dicts of the optimizer and of what else changes in training.
    """

    log: _Log
    network: dict[str, Any]
    result: dict[str, Any]
    rest: dict[str, Any]


class StateFile(Generic[_Log]):
    """The file, which is of one training only."""

    def __init__(self, output: Path, identity: dict[str, Any], log: type[_Log]) -> None:
        """Name the file.

        Args:
            output: What the training is to write.
            identity: What must be the same for a training to go on.
            log: The kind of its log.
        """
        self.path = output.with_name(output.name + _ENDING)
        self._identity = identity
        self._log = log

    def write(self, state: State[_Log]) -> None:
        """Write it; it is the old or the new one at any time.

        Raises:
            UsageError: It cannot be written.
        """
        content = {
            "identity": self._identity,
            "log": state.log.to_dicts(),
            "network": state.network,
            "result": state.result,
            "rest": state.rest,
        }
        buffer = BytesIO()
        torch.save(content, buffer)
        write_file(buffer.getvalue(), self.path)

    def read(self) -> State[_Log] | None:
        """Read it; None where there is none.

        Raises:
            ModelError: It is damaged, or of another training.
        """
        if not self.path.exists():
            return None
        try:
            require_plain(self.path)
            with warnings.catch_warnings():
                # about old formats, which are not ours
                warnings.simplefilter("ignore")
                content = torch.load(self.path, map_location="cpu", weights_only=True)
            identity = content["identity"]
            state = State(
                log=self._log.from_dicts(content["log"]),
                network=content["network"],
                result=content["result"],
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
