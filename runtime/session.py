"""A session that runs a model with faults, and proves at open that the faults arrive."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from numpy.typing import NDArray

from ftonnx.errors import ModelError, UsageError
from ftonnx.inject import Faults, FaultSpace, OnnxModel, load_model
from ftonnx.runtime.choice import Choice, choose_strategy
from ftonnx.runtime.determinism import require_no_random_node
from ftonnx.runtime.layout.cache import LayoutCache, cache_folder
from ftonnx.runtime.layout.shared import SharedFolder, share_memory
from ftonnx.runtime.model_input import ModelInput
from ftonnx.runtime.proof import Case, mild_pattern
from ftonnx.runtime.reuse.chain import Work
from ftonnx.runtime.reuse.decision import Reuse
from ftonnx.runtime.reuse.held import HeldBatch
from ftonnx.runtime.strategies import STRATEGIES, strategy_class
from ftonnx.runtime.strategies.base import FaultyRunError
from ftonnx.sessions import Arrays, SessionOptions, give_back, run_session

__all__ = ["FaultySession"]


class FaultySession:
    """Runs one model with and without faults in its stored values.

    Attributes:
        strategy: ``live`` or ``rebuild``, the one in use.
        fallback: why the strategy that was asked for is not in use; None when it is.
        options: how its sessions are opened.
        input: name of the model's input.
        extra: values of its further inputs, if any; they may be changed between runs.
        batch_size: the batch size the model insists on; None where any will do.
    """

    def __init__(
        self,
        model: "str | Path | onnx.ModelProto | OnnxModel",
        space: FaultSpace | None = None,
        *,
        providers: Sequence[str] = ("cpu",),
        threads: int | None = None,
        strategy: str = "auto",
        sample: NDArray[Any] | None = None,
        extra: Mapping[str, NDArray[Any]] | None = None,
        cache_memory: int | None = None,
        shared: Path | None = None,
    ) -> None:
        """Open the model and prove the strategy on one random pattern.

        Args:
            model: an ONNX file or model with one input besides the ``extra`` ones.
            space: its fault space; ``FaultSpace.of(model)`` by default.
            providers: execution providers, full or partial names, in priority order.
            threads: intra-op threads per session; None leaves the choice to ONNX Runtime.
            strategy: ``auto`` measures both and takes the faster one; a strategy that cannot run
                the model, or does not pass the proof, is replaced by ``rebuild`` with a warning.
            sample: images (batch, ...) for the proof and the measurement; random ones by default.
            extra: values of further inputs by name, fed at every run.
            cache_memory: bytes of golden tensors that a held batch may keep; a quarter of the free
                memory by default, 0 for none.
            shared: folder that a session on the same model wrote with ``share``, maybe in another process:
                its strategy is taken over without a proof, and its weights are mapped, copy on write.

        Raises:
            StoreError: the shared folder is damaged, or of another model, space or provider.
            ModelError: ONNX Runtime refuses the model, it has not exactly one input, or it does not give the same
                outputs at every run.
            DataError: the model refuses the sample.
            UsageError: an unknown strategy or provider, or a space of another model.
        """
        if strategy not in STRATEGIES:
            raise UsageError(f"strategy {strategy!r} is not known: use {', '.join(STRATEGIES)}")
        self._model = load_model(model)
        self._space = FaultSpace.of(self._model) if space is None else space
        self._base = SessionOptions(providers=tuple(providers), threads=threads)
        self.extra = dict(extra or {})
        if shared is None:
            self._input = self._checked_input()
            case = self._case(sample)
            cache = LayoutCache(cache_folder())
            choice = choose_strategy(strategy, case, cache)
        else:
            # the model itself is not read: whoever shares it has done that
            folder = SharedFolder(shared)
            self._input = ModelInput(folder.input)
            choice = self._taken_over(folder)
        self._strategy = choice.strategy
        self.fallback = choice.fallback
        self.strategy = choice.strategy.name
        self.options = choice.strategy.options
        self.input = self._input.name
        self.batch_size = self._input.batch_size
        # segments are proved too, when and if they are opened
        proof = mild_pattern(self._space)
        self._reuse = Reuse(self._strategy, proof, cache_memory)

    def __repr__(self) -> str:
        model = self._model.name
        bits = self._space.bits
        return f"FaultySession({model!r}, {bits} bits, strategy={self.strategy!r})"

    def golden(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        """Run ``batch`` without faults and return the model's outputs.

        Raises:
            DataError: the model refuses the batch.
        """
        feeds = self._feeds(batch)
        try:
            return self._strategy.golden(feeds)
        except ModelError as error:
            raise self._input.refused(batch, error) from error

    def run(self, batch: NDArray[Any], faults: Faults) -> list[NDArray[Any]]:
        """Run ``batch`` with ``faults`` in memory and return the model's outputs.

        Afterwards every stored value is the original one, bit for bit, also after an exception.

        Raises:
            FaultyRunError: ONNX Runtime refused or aborted the run because of the faults.
            DataError: the model refuses the batch, faults or not.
            UsageError: a fault lies outside the fault space.
        """
        try:
            return self._strategy.run(self._feeds(batch), faults)
        except FaultyRunError:
            # raises where the batch is to blame, not the faults
            self.golden(batch)
            raise

    def hold(self, batch: NDArray[Any], *, reuse: bool = False) -> HeldBatch:
        """Run ``batch`` without faults and keep what runs with faults can start from.

        Args:
            batch: images (batch, ...).
            reuse: start faulty runs from golden tensors from the first one on; by default once the
                runs so far show that it pays.

        Raises:
            DataError: the model refuses the batch.
        """
        feeds = self._feeds(batch)
        try:
            if reuse:
                self._reuse.open(feeds)
            return HeldBatch(self._strategy, self._reuse, feeds)
        except ModelError as error:
            raise self._input.refused(batch, error) from error

    @property
    def work(self) -> Work:
        """What runs on held batches have cost so far."""
        return self._reuse.work

    def reference(self, proto: onnx.ModelProto, batch: NDArray[Any]) -> list[NDArray[Any]]:
        """Run ``batch`` through a fresh session on ``proto``, opened with the same options."""
        session = self._strategy.reference(proto)
        feeds = self._feeds(batch)
        return run_session(session, feeds)

    def share(self, folder: Path) -> None:
        """Write what other processes need to open this session with ``shared=folder``.

        The folder belongs to this session: it must stay until the last of them has opened it, and what is in it
        may be removed then. Threads are each session's own choice.

        Raises:
            StoreError: the folder cannot be written.
        """
        strategy = self._strategy
        about = self._identity() | {
            "strategy": type(strategy).__name__,
            "disabled": list(strategy.options.disabled),
            "fallback": self.fallback,
        }
        share_memory(folder, about, self._input.value, strategy.memory)

    def _identity(self) -> dict[str, Any]:
        """Return what sessions must have in common in order to share their weights."""
        return {
            "onnxruntime": onnxruntime.__version__,
            "model": self._model.sha256,
            "space": self._space.fingerprint,
            "providers": list(self._base.providers),
        }

    def _taken_over(self, folder: SharedFolder) -> Choice:
        """Open another session's strategy on its weights."""
        folder.check(self._identity())
        about = folder.about
        kind = strategy_class(about["strategy"])
        strategy = kind(self._model, self._space, self._base, folder)
        return Choice(strategy, about["fallback"])

    def _checked_input(self) -> ModelInput:
        """Return the model's input, if the model is one that can be run with faults."""
        proto = self._model.structure
        # refuses a space of another model
        self._space.tensors(proto)
        found = ModelInput.of(proto, besides=self.extra)
        require_no_random_node(proto)
        # reading the file may have left twice its size behind
        give_back()
        return found

    def _case(self, sample: NDArray[Any] | None) -> Case:
        """Return what strategies are compared on."""
        images = self._input.random_images() if sample is None else sample
        return Case(
            model=self._model,
            space=self._space,
            options=self._base,
            input=self._input,
            feeds=self._feeds(images),
            made_up=sample is None,
        )

    def _feeds(self, batch: NDArray[Any]) -> Arrays:
        """Return ``batch`` under the input's name, and the values of the further inputs."""
        return self._input.feeds(batch) | self.extra
