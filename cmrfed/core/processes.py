"""Processes that end when the run does, with all that they started in turn, even where the run is killed.

Run as a program it is the guard of one of them: `python -m cmrfed.core.processes OWNER COMMAND ...`.
"""

import contextlib
import os
import signal
import subprocess
import sys

import psutil

_END_TIMEOUT_S = 10
_LOOK_EVERY_S = 0.5


def guarded(command: list[str]) -> list[str]:
    """The command under a guard, which ends it when this process has ended, however that came about.

    What SIGKILL ends can clear nothing up, and Flower's own watch over its parents waits for the round at work.
    """
    return [sys.executable, "-P", "-m", __name__, str(os.getpid()), *command]


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a process and all that it started: neither Flower's executors, which lead sessions of their own and outlive
    their SuperLink for a while, nor Ray's workers may go on without the run."""
    started = _descendants(process.pid)  # before it ends: orphans are nobody's children
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_TIMEOUT_S)
    _end_all(started)
    process.kill()
    with contextlib.suppress(ProcessLookupError):  # it led no group, or nobody is left in it
        os.killpg(process.pid, signal.SIGKILL)


def end(process: psutil.Process) -> None:
    """The same for a process that this one did not start."""
    started = _descendants(process.pid)
    _end_all([process])
    _end_all(started)


def _end_all(processes: list[psutil.Process]) -> None:
    for way in (psutil.Process.terminate, psutil.Process.kill):
        for one in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                way(one)
        _, processes = psutil.wait_procs(processes, timeout=_END_TIMEOUT_S)


def _descendants(number: int) -> list[psutil.Process]:
    try:
        return psutil.Process(number).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _guard(owner: int, command: list[str]) -> int:
    """Run the command until it ends or its owner, this process' parent, has; returns its exit code."""
    process = subprocess.Popen(command)
    while os.getppid() == owner:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(_LOOK_EVERY_S)
    stop(process)
    return 1


if __name__ == "__main__":
    sys.exit(_guard(int(sys.argv[1]), sys.argv[2:]))
