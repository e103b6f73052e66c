"""A Dask cluster as a campaign needs it: tasks in, bytes out, and how many threads there are."""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple

from ftonnx.errors import UsageError, describe, message_of
from ftonnx.files import read_document, reason_unread, scratch_folder
from ftonnx.words import parsed_json

__all__ = ["Answer", "Cluster", "Died", "Lost", "check_dask"]

_LOOK_SECONDS: Final = 2.0  # between two looks at the number of workers
_CLOSE_SECONDS: Final = 5.0
_logger: Final = logging.getLogger(__name__)


class Died(NamedTuple):
    """Workers died while they had the task."""

    cause: str


class Lost(NamedTuple):
    """The cluster has forgotten the task."""


class Answer(NamedTuple):
    """How a task ended.

    Attributes:
        key: the task's, as ``submit`` returned it.
        found: what it returned, or why there is nothing.
    """

    key: str
    found: "bytes | Died | Lost"


class Kept:
    """A value on the cluster, and how it is made."""

    def __init__(self, make: Any, arguments: tuple[Any, ...]) -> None:
        self._make = make
        self._arguments = arguments
        self._future: Any = None

    def on(self, client: Any) -> Any:
        """Return its future; a scheduler that began anew has forgotten it."""
        if self._future is None or self._future.status not in ("pending", "finished"):
            self._future = client.submit(self._make, *self._arguments, pure=False)
        return self._future


def check_dask() -> None:
    """Refuse to go on without Dask.

    Raises:
        UsageError: it is not installed.
    """
    if find_spec("distributed") is None:
        raise UsageError("Dask is not installed; install it with: pip install 'ftonnx[dask]'")


class Cluster:
    """A connection to a scheduler, or a cluster of processes on this machine; a context manager.

    Attributes:
        name: for messages.
        silent_since: when it was last seen to be without a worker, or not to answer, by ``time.monotonic``; None while
            there are workers.
    """

    def __init__(self, scheduler: str | None, processes: int) -> None:
        """Prepare.

        Args:
            scheduler: ``tcp://…``, ``tls://…``, or a scheduler file; None for processes on this machine.
            processes: so many.
        """
        self._scheduler = scheduler
        self._processes = processes
        self.name = scheduler or "the local cluster"
        self.silent_since: float | None = None
        self._threads = 0
        self._looked = -_LOOK_SECONDS
        self._ended: SimpleQueue[Any] = SimpleQueue()
        self._flying: dict[str, Any] = {}
        self._opened = ExitStack()

    def __enter__(self) -> "Cluster":
        """Connect.

        Raises:
            UsageError: there is no scheduler.
        """
        import dask
        from dask.utils import parse_timedelta
        from distributed import Client

        self._timeout = parse_timedelta(dask.config.get("distributed.comm.timeouts.connect"))
        with ExitStack() as undo:
            undo.enter_context(_quiet())
            address = self._started(undo) if self._scheduler is None else _address(self._scheduler)
            try:
                # replies are bytes: whatever else a worker may send is not unpickled here
                readers = ["msgpack", "dask", "error"]
                client = Client(address, timeout=self._timeout, set_as_default=False, deserializers=readers)
            except (OSError, ValueError, TypeError) as error:
                raise _no_scheduler(address, message_of(error)) from error
            undo.callback(client.close, timeout=_CLOSE_SECONDS)
            # large tasks are what they are: images travel with the units that need them
            undo.enter_context(dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"}))
            self._client = client
            self._opened = undo.pop_all()
        self._look()
        return self

    def __exit__(self, *_: object) -> None:
        self._flying.clear()
        self._opened.close()

    def _started(self, undo: ExitStack) -> str:
        """Start processes on this machine, which nobody else reaches, and return the scheduler's address."""
        import dask
        from distributed import LocalCluster

        folder = str(undo.enter_context(scratch_folder()))
        # whoever was at work when a worker died is tried alone, by us
        undo.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": 0}))
        # else a folder of that name stays behind in the one for temporary files
        undo.enter_context(dask.config.set({"temporary-directory": folder}))
        cluster = LocalCluster(
            n_workers=self._processes,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            # Dask serves some pages in any case, by default at a port that may be taken
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            local_directory=folder,
        )
        undo.callback(cluster.close, timeout=_CLOSE_SECONDS)
        address: str = cluster.scheduler_address
        return address

    @property
    def is_closed(self) -> bool:
        """Whether the scheduler was lost, and did not come back in the time that Dask gives to connections."""
        return bool(self._client.status == "closed")

    @property
    def threads(self) -> int:
        """How many tasks run at the same time by now, as of the last seconds."""
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._look()
        return self._threads

    def _look(self) -> None:
        try:
            threads = sum(self._client.nthreads().values()) if self._client.status == "running" else 0
        except (OSError, TimeoutError, ValueError) as error:
            _logger.debug("%s does not answer: %s", self.name, describe(error))
            threads = 0
        now = time.monotonic()
        if threads != self._threads:
            _logger.info("%s has %d worker threads", self.name, threads)
        if threads:
            self.silent_since = None
        elif self.silent_since is None:
            self.silent_since = now
        self._threads, self._looked = threads, now

    def keep(self, make: Any, *arguments: Any) -> Kept:
        """Return a value that stays on the cluster for later tasks, made there by a function.

        It is not scattered: what was scattered is lost with its worker, and this is made anew.
        """
        return Kept(make, arguments)

    def submit(self, function: Any, *arguments: Any) -> str:
        """Have a function called with picklable values, and with those of ``keep``; return the key of its answer.

        Raises:
            ConnectionError: the scheduler is gone.
        """
        from distributed.client import ClosedClientError

        try:
            values = [each.on(self._client) if isinstance(each, Kept) else each for each in arguments]
            future = self._client.submit(function, *values, pure=False, retries=0)
        except ClosedClientError as error:
            raise ConnectionError(message_of(error)) from error
        self._flying[future.key] = future
        future.add_done_callback(self._ended.put)
        key: str = future.key
        return key

    def answer(self, timeout: float) -> Answer | None:
        """Return the next answer; None where there is none in so many seconds."""
        try:
            future = self._ended.get(timeout=timeout)
        except Empty:
            return None
        if self._flying.pop(future.key, None) is None:
            return None
        return Answer(future.key, self._found(future))

    def _found(self, future: Any) -> "bytes | Died | Lost":
        """Return what a task has come to.

        Raises:
            UsageError: workers cannot run it.
        """
        from distributed import KilledWorker

        if future.status == "finished":
            try:
                content: bytes = future.result(timeout=self._timeout)
            except (OSError, TimeoutError, KeyError, CancelledError) as error:  # gone with its worker, or the scheduler
                _logger.info("a result is lost: %s", describe(error))
                return Lost()
            return content
        if future.status == "error":
            try:
                raised = future.exception(timeout=self._timeout)
            except (OSError, TimeoutError, CancelledError) as error:
                _logger.info("an error is lost: %s", describe(error))
                return Lost()
            if isinstance(raised, KilledWorker):
                return Died("killed")
            if isinstance(raised, MemoryError):
                return Died("out of memory")
            raise UsageError(
                f"workers of {self.name} cannot run ftonnx ({describe(raised)}); install the same version there"
            )
        return Lost()


def _address(scheduler: str) -> str:
    """Return the address that is meant, or that a scheduler file says.

    Raises:
        UsageError: there is no such file, or it is something else.
    """
    if "://" in scheduler:
        return scheduler
    try:
        return str(parsed_json(read_document(scheduler))["address"])
    except OSError as error:
        raise _no_scheduler(scheduler, reason_unread(error, Path(scheduler))) from error
    except (ValueError, KeyError, TypeError) as error:
        raise _no_scheduler(scheduler, "this is no scheduler file") from error


def _no_scheduler(place: str, reason: str) -> UsageError:
    return UsageError(
        f"`scheduler`: a Dask scheduler was expected at {place}, got none ({reason}); "
        "give tcp://HOST:8786, tls://HOST:8786, or a scheduler file"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask from saying in its words what we say in ours."""
    # some have a level of their own
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
