"""What an engine has running for the tests of this process, on a machine on which others run theirs.

All that a test starts inherits a mark from it, also what leads a session of its own or outlives its parent.
"""

import contextlib
import os
import time

import psutil

_MARK, _US = "CMRFED_STARTED_BY_TEST", str(os.getpid())
os.environ[_MARK] = _US


def runtime_processes():
    """Those of Flower and Ray that tests of this process started, by number."""
    return {process.pid for process in psutil.process_iter() if _is_runtime(process)}


def _is_runtime(process):
    with contextlib.suppress(psutil.Error, FileNotFoundError):  # it has just ended, or is another user's
        command = " ".join(process.cmdline())
        names = ("flower-super", "flwr", "raylet", "gcs_server", "ray::")
        return any(name in command for name in names) and process.environ().get(_MARK) == _US
    return False


def wait_for_none(seconds=60):
    """The processes that are left after so long; none as soon as none is."""
    deadline = time.monotonic() + seconds
    while (left := runtime_processes()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left
