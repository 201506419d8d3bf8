"""A function over many items on all processors, with the results in the items' order, however many items there are."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sized
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from typing import TypeVar

from threadpoolctl import threadpool_limits

from cmrfed.config import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

_FEW = 12
"""So few items are sooner done here than workers are started."""
_AHEAD = 3
"""Items in work or done ahead of the caller, for each worker: keeps workers busy and memory bounded."""


def map_in_order(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None
) -> Generator[Result, None, None]:
    """Yield `function(item)` for each item, in order; items may be endless.

    `workers` is the number of processors by default; 0 works in this process, which is the default for a few items, for
    which starting workers is not worth it. The function must be importable by name. What it raises is raised here, at
    its item's turn.
    """
    if workers is None:
        workers = 0 if isinstance(items, Sized) and len(items) < _FEW else os.cpu_count() or 1
    if workers == 0:
        yield from map(function, items)
        return
    # a server of its own forks the workers, so that they inherit no thread or GPU of this process; it imports once
    context = get_context("forkserver")
    context.set_forkserver_preload([getattr(function, "func", function).__module__])
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_be_modest)
    remaining = iter(items)
    pending: deque[Future[Result]] = deque()
    try:
        pending.extend(pool.submit(function, item) for item in islice(remaining, workers * _AHEAD))
        while pending:
            result = _result(pending.popleft())
            pending.extend(pool.submit(function, item) for item in islice(remaining, 1))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _result(future: Future[Result]) -> Result:
    try:
        return future.result()
    except BrokenProcessPool:
        raise UserError(
            "a worker process was killed, most likely for want of memory; close other programs or use another machine"
        ) from None


def _be_modest() -> None:
    """One thread a worker, since there is a worker a processor; and the foreground goes first.

    Linear algebra must be told by itself: two workers with as many BLAS threads each as there are processors mostly
    wait for one another.
    """
    import torch

    torch.set_num_threads(1)
    threadpool_limits(1)
    os.nice(5)
