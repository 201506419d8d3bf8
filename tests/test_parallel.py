import os
import time
from itertools import count

import pytest

from cmrfed.config import UserError
from cmrfed.parallel import map_in_order


def squared(number: int) -> tuple[int, int]:
    time.sleep(0.02 * (number % 3 == 0))  # later items overtake
    return number**2, os.getpid()


def fails_at_three(number: int) -> int:
    if number == 3:
        raise UserError("patient 3: is not readable; export it again")
    return number


@pytest.mark.parametrize("workers", [0, 2])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    found = list(map_in_order(squared, range(20), workers))
    assert [result for result, _ in found] == [number**2 for number in range(20)]
    assert (os.getpid() in {worker for _, worker in found}) == (workers == 0)


def test_endless_items_are_worked_on_only_a_little_ahead() -> None:
    begun = []

    def items():
        for number in count():
            begun.append(number)
            yield number

    stream = map_in_order(squared, items(), 2)
    assert [next(stream)[0] for _ in range(4)] == [0, 1, 4, 9]
    stream.close()
    assert len(begun) <= 4 + 2 * 3


def dies_at_three(number: int) -> int:
    if number == 3:
        os._exit(1)
    return number


def test_a_worker_that_is_killed_is_one_plain_error() -> None:
    with pytest.raises(UserError, match="worker process was killed"):
        list(map_in_order(dies_at_three, range(6), 2))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_is_raised_at_its_item_s_turn(workers: int) -> None:
    results = map_in_order(fails_at_three, range(6), workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UserError, match="patient 3"):
        next(results)
