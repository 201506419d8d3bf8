import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pickle import PicklingError

import lone_process
import psutil
import pytest

from cmrfed import parallel
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


@pytest.mark.parametrize(("items", "here"), [(range(parallel.FEW - 1), True), (range(parallel.FEW), False)])
def test_by_default_a_few_items_are_done_here_and_more_in_workers(items: range, here: bool) -> None:
    found = list(lone_process.product_map(squared, items))
    assert [result for result, _ in found] == [number**2 for number in items]
    assert ({worker for _, worker in found} == {os.getpid()}) == here


def test_by_default_endless_items_are_done_in_workers() -> None:
    stream = lone_process.product_map(squared, count())
    assert os.getpid() not in {next(stream)[1] for _ in range(4)}
    stream.close()


def test_in_tests_without_workers_what_could_not_travel_to_one_fails() -> None:
    assert {worker for _, worker in map_in_order(squared, range(parallel.FEW))} == {os.getpid()}
    with pytest.raises((AttributeError, TypeError, PicklingError), match=r"(?i)pickle"):
        list(map_in_order(lambda number: number, range(2)))
    with pytest.raises(TypeError, match=r"(?i)pickle"):
        list(map_in_order(open, [__file__]))


def signals_itself(number: int) -> int:
    os.kill(os.getpid(), number)
    return number


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGKILL, r"killed \(SIGKILL\), as the system does when memory runs out; "),
        (signal.SIGSEGV, r"crashed \(SIGSEGV\) in a library"),
        (signal.SIGTERM, r"stopped from outside \(SIGTERM\); run again"),
    ],
)
def test_a_worker_that_a_signal_ends_is_one_line_that_names_it(number: signal.Signals, said: str) -> None:
    with pytest.raises(UserError, match=rf"^a worker process (was )?{said}") as raised:
        list(map_in_order(signals_itself, [number] * 3, 2))
    assert ("memory" in str(raised.value)) == (number == signal.SIGKILL)


def exits_at_three(number: int) -> int:
    if number == 3:
        os._exit(7)
    return number


def test_a_worker_that_exits_is_one_line_with_its_code() -> None:
    with pytest.raises(UserError, match=r"^a worker process ended with exit code 7 before its work was done"):
        list(map_in_order(exits_at_three, range(6), 2))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_is_raised_at_its_item_s_turn(workers: int) -> None:
    results = map_in_order(fails_at_three, range(6), workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UserError, match="patient 3"):
        next(results)


def run_script(folder, *lines):
    """The lines as a program of their own, without any guard; returns its last line."""
    script = folder / "script.py"
    script.write_text("\n".join(["from cmrfed.parallel import map_in_order", "open('begun', 'a').write('.')", *lines]))
    done = subprocess.run([sys.executable, script], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (folder / "begun").read_text() == ".", "the program began more than once"
    return done.stdout.splitlines()[-1]


def test_a_script_without_a_guard_is_run_once_and_its_workers_work(tmp_path):
    nicer = "import os; print(*{each - os.nice(0) for each in map_in_order(os.nice, [0] * 20, 2)})"
    assert run_script(tmp_path, nicer) == "5", "the work was done in workers, which give way to the foreground"


def test_a_function_of_the_script_itself_is_done_in_its_own_process(tmp_path):
    lines = [
        "import os",
        "def own(item): return os.getpid()",
        "print(set(map_in_order(own, range(20), 2)) == {os.getpid()})",
    ]
    assert run_script(tmp_path, *lines) == "True"


@pytest.fixture
def working() -> Iterator[tuple[subprocess.Popen[bytes], list[psutil.Process]]]:
    """A process in the middle of an endless map, and all the processes that it has started by then."""
    code = "from itertools import count; from cmrfed.parallel import map_in_order\n"
    code += "for result in map_in_order(abs, count(), 2): print(result, flush=True)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout
    for _ in range(100):  # by now both workers are there
        process.stdout.readline()
    started = psutil.Process(process.pid).children(recursive=True)
    yield process, started
    for one in (process, *started):
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            one.kill()
    process.wait()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_goes_on_when_the_process_that_mapped_is_killed(working, number: signal.Signals) -> None:
    process, started = working
    assert len(started) >= 3, "a server and two workers"
    process.send_signal(number)
    _, left = psutil.wait_procs(started, timeout=60)
    assert left == []
