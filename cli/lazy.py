"""Commands whose modules are imported when they are called, so that starting is quick."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from ftonnx.cli.config import ConfigCommand, with_config
from ftonnx.cli.examples import epilog_of

__all__ = ["SUMMARIES", "LazyGroup"]

SUMMARIES: Final = {
    "inject": "Flip bits of a model's weights and biases, run it, and report its accuracy per fault rate.",
    "check": "Look at a model and data before a campaign: accuracy against chance, pixels, classes, faults, time.",
    "inspect": "List the stored tensors whose bits can flip, in graph order, what is left out, and N, their number.",
    "faults": "Replay a recorded unit: list every flipped bit, with the element's value before and after.",
    "doctor": "Say what this installation is made of, and test in seconds what everything rests on.",
    "data": "Show what a spec resolves to: which class is which, images per class, preprocessing, files not used.",
    "export": "Export a torch network to ONNX, and check that it computes the same.",
    "pretrain": "Train a torch network on images without their labels; finetune takes the result.",
    "finetune": "Train a torch network on a data set's classes, from a checkpoint or from scratch; export takes the "
    "result.",
    "protect": "Clip a model's activations, so that values which only a fault can cause become zero, or the largest "
    "usual one.",
    "quantize": "Quantize a model after training: weights int8, biases int32, activations 8 bits; CReLUs stay, "
    "in integers.",
    "qat": "Quantize a model, and train its weights and ranges as the int8 file computes; CReLUs stay, in integers.",
    "activations": "Show, per activation and fault rate, range, quartiles, mean, share of zeros, and share above the "
    "threshold.",
    "plan": "Say how many single faults must be injected to know a share of critical ones to within a margin.",
    "rate": "Turn an environment into a bit-fault rate, and count the flips to expect in a model's memory.",
    "fit": "Turn measured silent data corruption into failures in time, always by its upper limit.",
    "bench": "Measure a model on this machine: what faults cost, and the fastest --threads and --jobs.",
    "gate": "Decide whether a model reaches its goals under bit flips, with as few fault patterns as that takes.",
    "advise": "Say what to harden so that a model reaches an accuracy under bit flips, and what that costs.",
    "study": "Run many campaigns from a file or preset: models, variants, data and faults, with tables of the results.",
    "merge": "Put results folders together, of one campaign's parts or of several seeds; all of them or none.",
    "results": "Check every recorded row of a results folder for damage, such as bits that flipped on its disk.",
    "compare": "Compare campaigns of several models: accuracy lost or won per fault rate, and over all of them.",
    "report": "Write what campaigns found as one HTML page that works offline: verdict in words, charts, tables.",
}
"""Every command in the order of ``ftonnx --help``, with the first line of its docstring.

The command ``name`` is the function of that name in the module of that name in ``cli/commands/``.
"""


def _help_of(command: Callable[..., None]) -> str:
    """Return a command's docstring with a line for each paragraph, which a terminal breaks by its own width."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)


class _Commands(Mapping[str, TyperCommand]):
    """The commands by name, each imported when it is looked up."""

    def __getitem__(self, name: str) -> TyperCommand:
        if name not in SUMMARIES:
            raise KeyError(name)
        function = getattr(import_module(f"ftonnx.cli.commands.{name}"), name)
        single = typer.Typer(add_completion=False)
        single.command(name=name, cls=ConfigCommand, help=_help_of(function), epilog=epilog_of(name))(
            with_config(function)
        )
        command = typer.main.get_command(single)
        assert isinstance(command, TyperCommand)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(SUMMARIES)

    def __len__(self) -> int:
        return len(SUMMARIES)

    def __contains__(self, name: object) -> bool:
        return name in SUMMARIES


class LazyGroup(TyperGroup):
    """The group of all commands; its own help text imports none of them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Commands()  # type: ignore[assignment]  # never written to
        self._listing = False

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of the help text."""
        return list(SUMMARIES)

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | None:
        """Return a command; while all are listed, one that knows its summary only."""
        if self._listing:
            return TyperCommand(name=cmd_name, help=SUMMARIES[cmd_name])
        return self.commands.get(cmd_name)  # type: ignore[return-value]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the list of commands."""
        with self._as_listed():
            super().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Return the commands that begin so, for a shell."""
        with self._as_listed():
            return super().shell_complete(ctx, incomplete)

    @contextmanager
    def _as_listed(self) -> Iterator[None]:
        """Let commands be known by their summaries."""
        self._listing = True
        try:
            yield
        finally:
            self._listing = False
