"""How far a long piece of work has come, told to whoever draws it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

Progress = Callable[[int, int], None]
"""Called with (done, total) after each piece of work."""

ProgressBar = Callable[[str], AbstractContextManager[Progress]]
"""From a description to a bar that is there for a `with` block."""

_Result = TypeVar("_Result")


def shifted(progress: Progress, before: int, total: int) -> Progress:
    """Progress of a part, which began when `before` were done, as progress of the whole."""
    return lambda done, _: progress(before + done, total)


def counted(results: Iterable[_Result], total: int, progress: Progress | None) -> Iterator[_Result]:
    """The results as they come, each told to `progress` once it is used."""
    for done, result in enumerate(results, start=1):
        yield result
        if progress:
            progress(done, total)
