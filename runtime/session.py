"""A session that runs a model with faults, and proves at open that the faults arrive."""

import logging
import math
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from ftonnx.errors import DataError, ModelError, UsageError
from ftonnx.inject import Faults, FaultSpace, OnnxModel, faulty_model, load_model
from ftonnx.inject.fault_models import distinct_positions
from ftonnx.runtime.batches import dimension
from ftonnx.runtime.cache import LayoutCache, cache_folder
from ftonnx.runtime.chain import Work
from ftonnx.runtime.determinism import require_no_random_node, require_same_outputs
from ftonnx.runtime.held import HeldBatch, Reuse
from ftonnx.runtime.memory import NotPossibleError
from ftonnx.runtime.onnx_session import (
    Arrays,
    FaultyRunError,
    SessionOptions,
    give_back,
    open_session,
    run_session,
    same_bits,
)
from ftonnx.runtime.shared import SharedFolder, share_contents
from ftonnx.runtime.strategies import Divisible, Live, Rebuild, RebuildFromFile, Strategy

__all__ = ["STRATEGIES", "FaultySession"]

STRATEGIES: Final = ("auto", "live", "rebuild")
_PROOF_IMAGES: Final = 2
_PROOF_ELEMENTS: Final = 64  # per target
_TIMED_RUNS: Final = 2
_MOST_SAMPLE_VALUES: Final = 2**30
_logger = logging.getLogger(__name__)


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
        self._space = space if space is not None else FaultSpace.of(self._model)
        self._base = SessionOptions(providers=tuple(providers), threads=threads)
        self.extra = dict(extra or {})
        taken = None if shared is None else SharedFolder(shared)
        if taken is None:
            self._space.tensors(self._model.proto)  # refuses a space of another model
            self._input = _only_input(self._model.proto, besides=self.extra)
            require_no_random_node(self._model.proto)
            give_back()
        else:
            self._input = taken.input
        self.input = self._input.name
        self.batch_size = dimension(self._input, 0)
        self.fallback: str | None = None
        self._own_sample = sample is None
        if taken is None:
            feeds = self._feeds(_random_images(self._input) if sample is None else sample)
            self._strategy = self._choose(strategy, feeds, LayoutCache(cache_folder()))
        else:
            self._strategy = self._taken_over(taken)
        self.strategy, self.options = self._strategy.name, self._strategy.options
        self._reuse = Reuse(self._strategy, _mild_pattern(self._space), cache_memory)

    def __repr__(self) -> str:
        return f"FaultySession({self._model.name!r}, {self._space.bits} bits, strategy={self.strategy!r})"

    def golden(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        """Run ``batch`` without faults and return the model's outputs.

        Raises:
            DataError: the model refuses the batch.
        """
        feeds = self._feeds(batch)
        try:
            return self._strategy.golden(feeds)
        except ModelError as error:
            raise self._refused(batch, error) from error

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
            self.golden(batch)  # raises where the batch is to blame, not the faults
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
            raise self._refused(batch, error) from error

    @property
    def work(self) -> Work:
        """What runs on held batches have cost so far."""
        return self._reuse.work

    def reference(self, proto: onnx.ModelProto, batch: NDArray[Any]) -> list[NDArray[Any]]:
        """Run ``batch`` through a fresh session on ``proto``, opened with the same options."""
        return run_session(self._strategy.reference(proto), self._feeds(batch))

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
        contents = strategy.memory.contents if isinstance(strategy, Divisible) else None
        share_contents(folder, about, self._input, contents)

    def _identity(self) -> dict[str, Any]:
        """Return what sessions must have in common in order to share their weights."""
        return {
            "onnxruntime": onnxruntime.__version__,
            "model": self._model.sha256,
            "space": self._space.fingerprint,
            "providers": list(self._base.providers),
        }

    def _taken_over(self, folder: SharedFolder) -> Strategy:
        """Open another session's strategy on its weights."""
        folder.check(self._identity())
        self.fallback = folder.about["fallback"]
        kinds = {kind.__name__: kind for kind in (Live, Rebuild)}
        if folder.about["strategy"] in kinds:
            return kinds[folder.about["strategy"]](self._model, self._space, self._base, folder)
        return RebuildFromFile(self._model, self._space, self._base)

    def _feeds(self, batch: NDArray[Any]) -> Arrays:
        """Return ``batch`` under the input's name, floats in the float type the model wants."""
        wanted = onnx.helper.tensor_dtype_to_np_dtype(self._input.type.tensor_type.elem_type)
        floats = np.issubdtype(wanted, np.floating) and np.issubdtype(batch.dtype, np.floating)
        return {self.input: batch.astype(wanted, copy=False) if floats else batch} | self.extra

    def _refused(self, batch: NDArray[Any], error: ModelError) -> DataError:
        shape = ", ".join(str(d.dim_value or d.dim_param or "?") for d in self._input.type.tensor_type.shape.dim)
        return DataError(
            f"the model takes {self.input!r} of shape ({shape}), the data gives {batch.shape} {batch.dtype}: {error}"
        )

    def _choose(self, wanted: str, feeds: Arrays, cache: LayoutCache) -> Strategy:
        """Open the strategies in question, keep those that pass the proof, take the fastest."""
        proved: list[Strategy] = []
        for kind in (Live, Rebuild):
            won = proved and not self._packing_pays()
            if wanted in ("auto", kind.name) and not won and (strategy := self._proved(kind, feeds, cache)) is not None:
                proved.append(strategy)
        if not proved and wanted == "live":
            _logger.warning("%s; using rebuild instead", self.fallback)
            return self._choose("rebuild", feeds, cache)
        if not proved:
            _logger.info("%s; every run opens a session on a flipped copy of the file", self.fallback)
            strategy = RebuildFromFile(self._model, self._space, self._base)
            self._checked_golden(strategy, feeds)
            self._repeated_golden(strategy, self._few(feeds))
            return strategy
        return proved[0] if len(proved) == 1 else _fastest(proved, feeds, _mild_pattern(self._space))

    def _packing_pays(self) -> bool:
        """Say whether packed weights can make up for packing them in every run: in integer kernels only."""
        return any(target.format.dtype.kind in "iu" for target in self._space.targets)

    def _proved(self, kind: type[Live] | type[Rebuild], feeds: Arrays, cache: LayoutCache) -> Strategy | None:
        """Open a strategy and prove it; what the cache said is thrown away where it does not pass."""
        found = self._try(kind, feeds, cache)
        if isinstance(found, str) and cache.distrust():
            _logger.info("a cached layout is wrong (%s); it is computed anew", found)
            found = self._try(kind, feeds, cache)
        if isinstance(found, Strategy):
            return found
        self.fallback = "; ".join(filter(None, (self.fallback, f"{kind.name} is not possible: {found}")))
        return None

    def _try(self, kind: type[Live] | type[Rebuild], feeds: Arrays, cache: LayoutCache) -> Strategy | str:
        """Open a strategy and compare it with a fresh session on a flipped file; a text says where it falls short."""
        try:
            strategy = kind(self._model, self._space, self._base, cache)
        except (NotPossibleError, ModelError) as error:
            return str(error)
        few = self._few(feeds)
        golden = self._repeated_golden(strategy, few)
        faults = _mild_pattern(self._space)
        try:
            faulty = strategy.serialized(faulty_model(self._model.proto, self._space, faults))
            give_back()
            expected = run_session(open_session(faulty, strategy.options), few)
            del faulty
            give_back()
            outputs = strategy.run(few, faults)
        except ModelError as error:  # a flip that ONNX Runtime refuses proves nothing
            return str(error)
        if not same_bits(outputs, expected):
            return "its outputs differ from those of a fresh session on a flipped file"
        if not same_bits(strategy.run(few, Faults.none()), golden):
            return "its outputs after a faulty run differ from those before"
        return strategy

    def _few(self, feeds: Arrays) -> Arrays:
        """Return the first images, as many as a proof takes; all of them where the model insists on their number."""
        return feeds if self.batch_size else {**feeds, self.input: feeds[self.input][:_PROOF_IMAGES]}

    def _repeated_golden(self, strategy: Strategy, feeds: Arrays) -> list[NDArray[Any]]:
        """Run twice without faults, since a difference between two runs is taken for a fault's later on."""
        golden = self._checked_golden(strategy, feeds)
        require_same_outputs(self._model.proto, golden, self._checked_golden(strategy, feeds))
        return golden

    def _checked_golden(self, strategy: Strategy, feeds: Arrays) -> list[NDArray[Any]]:
        try:
            return strategy.golden(feeds)
        except ModelError as error:
            if self._own_sample:
                raise
            raise self._refused(feeds[self.input], error) from error


def _mild_pattern(space: FaultSpace) -> Faults:
    """Return faults in up to 64 elements of every target, in bits that matter and do no havoc.

    The second quarter of an element's bits (8 to 15 of Q15.16, 2 and 3 of int8) changes values
    by a little, so that every target leaves its mark in finite outputs.
    """
    rng = np.random.default_rng(0)
    columns: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
    for index, target in enumerate(space.targets):
        elements = distinct_positions(target.elements, min(_PROOF_ELEMENTS, target.elements), rng)
        low, high = target.format.bits // 4, max(target.format.bits // 2, target.format.bits // 4 + 1)
        bits = rng.integers(low, high, size=len(elements))
        columns.append((np.full(len(elements), index), elements, bits))
    return Faults(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def _fastest(strategies: Sequence[Strategy], feeds: Arrays, faults: Faults) -> Strategy:
    """Run the strategies in turn and return the one with the smallest time."""
    seconds: dict[Strategy, float] = dict.fromkeys(strategies, float("inf"))
    for _ in range(_TIMED_RUNS):
        for strategy in strategies:
            start = time.perf_counter()
            strategy.run(feeds, faults)
            seconds[strategy] = min(seconds[strategy], time.perf_counter() - start)
    return min(strategies, key=seconds.__getitem__)


def _only_input(proto: onnx.ModelProto, *, besides: Collection[str]) -> onnx.ValueInfoProto:
    known = {tensor.name for tensor in proto.graph.initializer}.union(besides)
    inputs = [value for value in proto.graph.input if value.name not in known]
    if len(inputs) != 1 or not inputs[0].type.HasField("tensor_type"):
        names = [value.name for value in inputs[:5]] + ["..."] * (len(inputs) > 5)
        raise ModelError(
            f"a model with one tensor input was expected, got {len(inputs)} inputs: {', '.join(names) or 'none'}"
        )
    only = onnx.ValueInfoProto()
    only.CopyFrom(inputs[0])  # a part of a message would keep all of it in memory
    if only.type.tensor_type.elem_type not in onnx.helper.get_all_tensor_dtypes():
        raise ModelError(f"input {only.name!r} has no element type that onnx knows; export the model again")
    return only


def _random_images(value: onnx.ValueInfoProto) -> NDArray[np.float32]:
    sizes = [dimension(value, axis) for axis in range(len(value.type.tensor_type.shape.dim))]
    shape = [sizes[0] or 1, *sizes[1:]] if sizes else []
    if not shape or None in shape:
        raise UsageError(f"input {value.name!r} has free sizes {sizes}; pass sample= with images of the right shape")
    fixed = [int(size or 1) for size in shape]
    if math.prod(fixed) > _MOST_SAMPLE_VALUES:
        raise ModelError(f"input {value.name!r} has the impossible shape {fixed}; export the model again")
    return np.random.default_rng(0).standard_normal(fixed).astype(np.float32)
