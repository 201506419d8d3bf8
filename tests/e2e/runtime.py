"""What an engine has running on this machine, on which others may run theirs."""

import subprocess
import time


def runtime_processes():
    """Those of Flower and Ray, by number."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    lines = [line.split(maxsplit=1) for line in listed.splitlines()]
    return {int(pid) for pid, args in lines[1:] if any(name in args for name in ("flower-super", "flwr", "raylet"))}


def wait_for_none_but(those, seconds=60):
    """The other processes that are left after so long; none as soon as none is."""
    deadline = time.monotonic() + seconds
    while (left := runtime_processes() - those) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left
