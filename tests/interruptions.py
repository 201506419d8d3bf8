"""Trainings that are cut short within a step, as Ctrl-C does."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

from cmrfed.training import plain_gradient


@contextmanager
def interrupted_in_step(number: int) -> Iterator[pytest.ExceptionInfo[KeyboardInterrupt]]:
    """Public training within is interrupted in its step of that number, counted from 1, and must say so."""
    steps = count(1)

    def gradient(*arguments: Any) -> float:
        if next(steps) == number:
            raise KeyboardInterrupt
        return plain_gradient(*arguments)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt) as interrupt:
        patch.setattr("cmrfed.training.pretraining.plain_gradient", gradient)
        yield interrupt
