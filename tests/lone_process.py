"""What `map_in_order` shares out is worked on in the test's own process, unless a test asks for workers.

Each set of workers imports torch and draws some hearts ahead, of which most tests want one or two.
"""

import sys
from collections.abc import Callable, Generator, Iterable
from multiprocessing.reduction import ForkingPickler
from typing import Any

from cmrfed import parallel

WORKERS: int | None = 0
"""Of maps that do not say how many. Tests that are about workers set it; None is as many as users have."""
product_map = parallel.map_in_order
"""The product's own, with its own default."""


def install() -> None:
    """From here on, modules of cmrfed that are imported map like this."""
    if early := {"cmrfed.phantom", "cmrfed.preparation", "cmrfed.verification"} & set(sys.modules):
        raise RuntimeError(f"{', '.join(sorted(early))}: imported already, and maps with workers; install this before")
    parallel.map_in_order = map_in_order


def map_in_order(
    function: Callable[[Any], Any], items: Iterable[Any], workers: int | None = None
) -> Generator[Any, None, None]:
    """As the product's, but for its default. What would travel to a worker, or back, must be able to all the same."""
    workers = WORKERS if workers is None else workers
    if workers != 0:
        yield from product_map(function, items, workers)
        return
    work = _travelled(function)
    for item in items:
        yield _travelled(work(_travelled(item)))


def _travelled(what: Any) -> Any:
    return ForkingPickler.loads(ForkingPickler.dumps(what))
