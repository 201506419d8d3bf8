"""Apply a function to many items on all processors, with the results in the items' order."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

FEW = 4
"""Up to so many items a worker, starting workers is not worth it."""

_AHEAD = 2  # results a worker may be ahead of the caller: keeps workers busy and memory bounded


def map_in_order(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield `function(item)` for each item, worked out in this process if there are few items or one processor."""
    workers = min(os.cpu_count() or 1, len(items) // FEW)
    if workers < 2:
        yield from map(function, items)
        return
    # a forked worker starts at once, where a spawned one first imports torch; the workers themselves only use numpy
    context = get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > workers * _AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
