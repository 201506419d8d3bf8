"""Work in other processes: a function over many items on all processors, in order; or one call after another in one
process that may end, or be ended, without this one."""

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sized
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import parent_process
from multiprocessing.context import ForkServerContext, ForkServerProcess
from types import ModuleType
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from cmrfed.config import UserError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

FEW = 40
"""Fewer items are done here: hearts and cases take some tenths of a second each, and workers some seconds to import."""
_AHEAD = 3
"""Items in work or done ahead of the caller, for each worker: keeps workers busy and memory bounded."""


def map_in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], workers: int | None = None
) -> Generator[_Result, None, None]:
    """Yield `function(item)` for each item, in order; items may be endless.

    `workers` is the number of processors by default; 0 works in this process, which is the default for a few items, for
    which starting workers is not worth it. The function must be importable by name; one of the program that runs, which
    workers could have only by running it again, is done in this process. What it raises is raised here, at its item's
    turn. Raises UserError, with what is known of the cause, when a worker ends before its work is done.
    """
    module = getattr(function, "func", function).__module__
    if workers is None:
        workers = 0 if isinstance(items, Sized) and len(items) < FEW else os.cpu_count() or 1
    if workers == 0 or module == "__main__":
        yield from map(function, items)
        return
    context = _Watched()
    context.set_forkserver_preload([module])
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_work)
    remaining = iter(items)
    pending: deque[Future[_Result]] = deque()
    try:
        pending.extend(pool.submit(function, item) for item in islice(remaining, workers * _AHEAD))
        while pending:
            result = pending.popleft().result()
            pending.extend(pool.submit(function, item) for item in islice(remaining, 1))
            yield result
    except BrokenProcessPool:
        pool.shutdown(wait=True)  # only then has every worker its exit code
        raise UserError(_why_one_ended(context.started)) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class Worker:
    """One process that does one thing after another. Where it ends before its time, killed for memory or crashed in a
    library, or takes too long, the next call finds a new one."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._context = _Watched()

    def do(self, function: Callable[..., _Result], *arguments: object, seconds: float) -> _Result:
        """`function(*arguments)`, or what it raises; the function must be importable by name.

        Raises UserError where the process ended first, with what is known of the cause, or took longer than that.
        """
        pool = self._begun(function)
        try:
            return pool.submit(function, *arguments).result(seconds)
        except FutureTimeout:
            self.stop()
            raise UserError(f"it took more than {seconds:g} seconds, and its process was ended") from None
        except BrokenProcessPool:
            # Before anybody here asks whether the process lives: its exit code can be read once, by the pool's own
            # thread or by this one, and whoever comes second finds 255.
            pool.shutdown(wait=True)
            self.stop()
            raise UserError(_why_one_ended(self._context.started)) from None

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        for process in self._context.started:
            if process.is_alive():
                process.kill()
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None

    def _begun(self, function: Callable[..., object]) -> ProcessPoolExecutor:
        if self._pool is None:
            self._context = _Watched()
            self._context.set_forkserver_preload([function.__module__])
            self._pool = ProcessPoolExecutor(1, mp_context=self._context, initializer=_stay_with_parent)
        return self._pool


class _Watched(ForkServerContext):
    """A server of its own forks the workers, so that they inherit no thread or GPU of this process; it imports once.
    All that are started are remembered, since a pool does not tell how a worker ended."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[_Worker] = []

    def Process(self, *args: Any, **kwargs: Any) -> "_Worker":  # type: ignore[override]  # noqa: N802
        self.started.append(_Worker(*args, **kwargs))
        return self.started[-1]


class _Worker(ForkServerProcess):
    """A worker that never runs the program anew. Python would have it import the script that started it, and a script
    without `if __name__ == "__main__"` would begin again in each worker."""

    def start(self) -> None:
        with _STARTING:
            program, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
            try:
                super().start()
            finally:
                sys.modules["__main__"] = program


_STARTING = threading.Lock()
"""Held by the one thread that has the program out of sight."""


_BY_SIGNAL = {
    signal.SIGKILL: "was killed (SIGKILL), as the system does when memory runs out; close other programs, or use a "
    "machine with more memory",
    signal.SIGTERM: "was stopped from outside (SIGTERM); run again",
}
_CRASHED = "crashed ({name}) in a library that it uses; run again, and if it crashes again look for a damaged file"


def _why_one_ended(workers: list[_Worker]) -> str:
    """What is known of the worker that broke the pool; the pool then stops the others by SIGTERM."""
    codes = [worker.exitcode for worker in workers if worker.exitcode]
    code = next((code for code in codes if code != -signal.SIGTERM), -signal.SIGTERM)
    if code > 0:
        return f"a worker process ended with exit code {code} before its work was done; its last messages say more"
    number = signal.Signals(-code)
    return f"a worker process {_BY_SIGNAL.get(number, _CRASHED.format(name=number.name))}"


def _begin_work() -> None:
    """What one of many workers does first."""
    _stay_with_parent()
    _be_modest()


def _stay_with_parent() -> None:
    """What every worker does first. A terminal's Ctrl-C reaches it too, and is its parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Follow the process that started the pool, however it ended: after SIGKILL it can tell nobody, and workers that
    wait for its next item would keep each other and their server alive for good."""
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


def _be_modest() -> None:
    """One thread a worker, since there is a worker a processor; and the foreground goes first.

    Linear algebra must be told by itself: two workers with as many BLAS threads each as there are processors mostly
    wait for one another. What is not loaded yet reads the environment; few workers need PyTorch, which takes seconds.
    """
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    threadpool_limits(1)
    os.nice(5)
