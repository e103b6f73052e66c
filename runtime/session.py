"""A session that runs a model with faults, and proves at open that the faults arrive."""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import onnx
import onnxruntime
from numpy.typing import NDArray

from ftonnx.errors import ModelError, UsageError
from ftonnx.inject import Faults, FaultSpace, OnnxModel, load_model
from ftonnx.inject.activations import BATCH
from ftonnx.runtime.activations.choice import choose_with_activations, taken_over
from ftonnx.runtime.activations.graph import require_made
from ftonnx.runtime.choice import Choice, choose_strategy
from ftonnx.runtime.determinism import require_no_random_node
from ftonnx.runtime.layout.cache import LayoutCache, cache_folder
from ftonnx.runtime.layout.shared import SharedFolder, share_memory
from ftonnx.runtime.model_inputs import ModelInputs
from ftonnx.runtime.proof import Case, mild_pattern
from ftonnx.runtime.reuse.chain import Work
from ftonnx.runtime.reuse.decision import Reuse
from ftonnx.runtime.reuse.held import HeldBatch, HeldRuns
from ftonnx.runtime.reuse.trials import Trials
from ftonnx.runtime.strategies import STRATEGIES, alternatives, strategy_class
from ftonnx.runtime.strategies.base import FaultyRunError
from ftonnx.samples import Samples
from ftonnx.sessions import (
    Arrays,
    RunTimeoutError,
    SessionOptions,
    give_back,
    padded,
    run_session,
    saturating_operators,
)

__all__ = ["FaultySession"]

_logger: Final = logging.getLogger(__name__)


class FaultySession:
    """Runs one model with and without faults in its stored values.

    Attributes:
        strategy: ``live``, ``packed`` or ``rebuild``, the one in use.
        fallback: why the strategy that was asked for is not in use; None when it is.
        options: how its sessions are opened.
        inputs: names of the model's inputs that take data.
        extra: values of its further inputs, if any; they may be changed between runs.
        outputs: names of its outputs.
        batch_size: the batch size the model insists on; None where any will do.
        saturating: number of operators that this processor's kernels compute inexactly, see ``saturating_operators``.
    """

    def __init__(
        self,
        model: "str | Path | onnx.ModelProto | OnnxModel",
        space: FaultSpace | None = None,
        *,
        providers: Sequence[str] = ("cpu",),
        threads: int | None = None,
        strategy: str = "auto",
        sample: Samples | None = None,
        extra: Mapping[str, NDArray[Any]] | None = None,
        cache_memory: int | None = None,
    ) -> None:
        """Open the model and prove the strategy on one random pattern.

        Args:
            model: an ONNX file, an embedded model's name, or a model in memory.
            space: its fault space; ``FaultSpace.of(model)`` by default.
            providers: execution providers, full or partial names, in priority order.
            threads: intra-op threads per session; None leaves the choice to ONNX Runtime.
            strategy: ``auto`` measures those in question and takes the fastest; a strategy that cannot run
                the model, or does not pass the proof, is replaced by ``rebuild`` with a warning.
            sample: images (batch, ...), or arrays by the inputs' names, for the proof and the measurement; random
                ones by default.
            extra: values of further inputs by name, fed at every run.
            cache_memory: bytes of golden tensors that a held batch may keep; a quarter of the free
                memory by default, 0 for none.

        Raises:
            ModelError: ONNX Runtime refuses the model, it has no tensor input, or it does not give the same
                outputs at every run.
            DataError: the model refuses the sample.
            UsageError: an unknown strategy or provider, or a space of another model.
        """
        if strategy not in STRATEGIES:
            raise UsageError(f"strategy {strategy!r} is not known: use {', '.join(STRATEGIES)}")
        self._begin(model, space, SessionOptions(providers=tuple(providers), threads=threads), extra)
        self._inputs = self._checked_inputs()
        self.outputs = tuple(value.name for value in self._model.structure.graph.output)
        self.saturating = saturating_operators(self._model.structure)
        case = self._case(sample)
        cache = LayoutCache(cache_folder())
        choose = choose_with_activations if self._space.has_activations else choose_strategy
        self._settle(choose(strategy, case, cache), cache_memory)

    @classmethod
    def from_shared(
        cls,
        folder: Path,
        model: "str | Path | onnx.ModelProto | OnnxModel",
        space: FaultSpace | None = None,
        *,
        providers: Sequence[str] = ("cpu",),
        threads: int | None = None,
        extra: Mapping[str, NDArray[Any]] | None = None,
        cache_memory: int | None = None,
    ) -> Self:
        """Open the model on the weights of a session that is open already, maybe in another process.

        Its strategy is taken over without a proof, and its weights are mapped, copy on write.

        Args:
            folder: where that session wrote them with ``share``.
            model: the same model; it is read only where the strategy needs all of it.
            space: the same fault space; ``FaultSpace.of(model)`` by default.
            providers: the same execution providers.
            threads: intra-op threads of this session.
            extra: values of further inputs by name, fed at every run.
            cache_memory: bytes of golden tensors that a held batch may keep.

        Raises:
            StoreError: the folder is damaged, or of another model, space or provider.
        """
        session = cls.__new__(cls)  # what __init__ does would choose and prove once more
        session._begin(model, space, SessionOptions(providers=tuple(providers), threads=threads), extra)
        shared = SharedFolder(folder)
        session._inputs = ModelInputs(shared.inputs, shared.about["batch_size"])
        session.outputs = tuple(shared.about["outputs"])
        session.saturating = shared.about["saturating"]
        session._settle(session._taken_over(shared), cache_memory)
        return session

    def _begin(
        self,
        model: "str | Path | onnx.ModelProto | OnnxModel",
        space: FaultSpace | None,
        base: SessionOptions,
        extra: Mapping[str, NDArray[Any]] | None,
    ) -> None:
        """Take in what every session is opened with."""
        self._begun = time.perf_counter()
        self._model = load_model(model)
        self._space = FaultSpace.of(self._model) if space is None else space
        self._base = base
        self.extra = dict(extra or {})

    def _settle(self, choice: Choice, cache_memory: int | None) -> None:
        """Take in the strategy that is in use."""
        self._strategy = choice.strategy
        self.fallback = choice.fallback
        self.strategy = choice.strategy.name
        self.options = choice.strategy.options
        self.inputs = self._inputs.names
        self.batch_size = self._inputs.batch_size
        # segments are proved too, when and if they are opened
        proof = mild_pattern(self._space)
        opening = time.perf_counter() - self._begun
        self._reuse = Reuse(self._strategy, proof, cache_memory, opening=opening)

    def __repr__(self) -> str:
        model = self._model.name
        bits = self._space.bits
        return f"FaultySession({model!r}, {bits} bits, strategy={self.strategy!r})"

    def golden(self, batch: Samples) -> list[NDArray[Any]]:
        """Run ``batch`` without faults and return the model's outputs.

        Raises:
            DataError: the model refuses the batch.
        """
        feeds = self.feeds(batch)
        try:
            return self._strategy.golden(feeds)
        except RunTimeoutError:  # nothing that the data are to blame for
            raise
        except ModelError as error:
            raise self._inputs.refused(feeds, error) from error

    def run(self, batch: Samples, faults: Faults) -> list[NDArray[Any]]:
        """Run ``batch`` with ``faults`` in memory and return the model's outputs.

        Afterwards every stored value is the original one, bit for bit, also after an exception.

        Raises:
            FaultyRunError: ONNX Runtime refused or aborted the run because of the faults.
            DataError: the model refuses the batch, faults or not.
            UsageError: a fault lies outside the fault space.
        """
        try:
            return self._strategy.run(self.feeds(batch), faults)
        except FaultyRunError as error:
            # raises where the batch is to blame, not the faults
            if not isinstance(error.__cause__, RunTimeoutError):
                self.golden(batch)
            raise

    def hold(self, batch: Samples, *, reuse: bool = False) -> HeldBatch:
        """Run ``batch`` without faults and keep what runs with faults can start from.

        Args:
            batch: images (batch, ...), or arrays by the inputs' names.
            reuse: start faulty runs from golden tensors from the first one on; by default once the
                runs so far show that it pays.

        Raises:
            DataError: the model refuses the batch.
        """
        feeds = self.feeds(batch)
        try:
            if reuse:
                self._reuse.open(feeds)
            return HeldBatch(self._strategy, self._reuse, feeds)
        except RunTimeoutError:
            raise
        except ModelError as error:
            raise self._inputs.refused(feeds, error) from error

    def hold_runs(self, batches: Sequence[Samples]) -> HeldRuns:
        """Do the same with several batches that meet the same faults, such as the images of a model of batch size 1.

        Raises:
            DataError: the model refuses a batch.
        """
        return HeldRuns(self._strategy, self._reuse, [self.hold(batch) for batch in batches])

    def trials(self, patterns: Iterable[Faults], varied: str, rows: int) -> Trials | None:
        """Cut the model for runs of chosen images with any of these faults, and one varied input behind them.

        Args:
            patterns: faults, all of which lie before the input.
            varied: the name of the input, one of ``extra``.
            rows: images per run behind the input.

        Returns:
            The model in pieces; None where it runs as a whole only.
        """
        divisible = self._reuse.divisible
        if divisible is None or self.batch_size is not None:
            return None
        arrays: set[str] = set()
        for faults in patterns:
            arrays |= divisible.reached(faults)
        try:
            return Trials(divisible, arrays, varied, self.extra, rows)
        except ModelError as error:
            _logger.info("runs of chosen images are not possible: %s", error)
            return None

    @property
    def others(self) -> list[str]:
        """Names of strategies beside the one in use that are not known to be impossible, and may be faster."""
        reasons = self.fallback or ""
        found = []
        stored = self._space.stored
        # strategies are about stored values
        for name in () if stored is None else alternatives(stored):
            impossible = f"{name} is not possible" in reasons
            if not impossible and name != self.strategy:
                found.append(name)
        return found

    @property
    def in_place(self) -> bool:
        """Whether runs with faults are those of the session that runs without, so that they take as long."""
        return self._strategy.in_place

    @property
    def work(self) -> Work:
        """What runs on held batches have cost so far."""
        return self._reuse.work

    def reference(self, proto: onnx.ModelProto, batch: Samples) -> list[NDArray[Any]]:
        """Run ``batch`` through a fresh session on ``proto``, opened with the same options."""
        session = self._strategy.reference(proto)
        feeds = self.feeds(batch)
        return run_session(session, feeds)

    def share(self, folder: Path) -> None:
        """Write what other processes need to open this session with ``from_shared``.

        The folder belongs to this session: it must stay until the last of them has opened it, and what is in it
        may be removed then. Threads are each session's own choice.

        Raises:
            StoreError: the folder cannot be written.
        """
        strategy = self._strategy
        about = self._identity() | {
            "strategy": strategy.kind,
            "disabled": list(strategy.options.disabled),
            "fallback": self.fallback,
            "outputs": list(self.outputs),
            "batch_size": self.batch_size,
            "saturating": self.saturating,
        }
        share_memory(folder, about, self._inputs.values, strategy.memory, strategy.packing)

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
        kind = about["strategy"]
        if self._space.has_activations:
            strategy = taken_over(kind, self._model, self._space, self._base, folder)
        else:
            strategy = strategy_class(kind)(self._model, self._space, self._base, folder)
        return Choice(strategy, about["fallback"])

    def _checked_inputs(self) -> ModelInputs:
        """Return the model's inputs, if the model is one that can be run with faults."""
        proto = self._model.structure
        # refuse a space of another model
        stored = self._space.stored
        if stored is not None:
            stored.tensors(proto)
        require_made(proto, self._space)
        found = ModelInputs.of(proto, besides=self.extra)
        scope = self._space.scope
        if self._space.has_activations and scope.per == BATCH:
            # the bits are those of a full run: a short one is filled up
            found = ModelInputs(found.values, scope.images)
        require_no_random_node(proto)
        # reading the file may have left twice its size behind
        give_back()
        return found

    def _case(self, sample: Samples | None) -> Case:
        """Return what strategies are compared on."""
        samples = self._inputs.random_samples() if sample is None else sample
        # faults may lie in every image of a run, and data may have fewer than one takes
        filled = padded(samples, self._inputs.batch_size)
        return Case(
            model=self._model,
            space=self._space,
            options=self._base,
            inputs=self._inputs,
            feeds=self.feeds(filled),
            made_up=sample is None,
        )

    def feeds(self, batch: Samples) -> Arrays:
        """Return ``batch`` under the inputs' names, and the values of the further inputs."""
        return self._inputs.feeds(batch) | self.extra
