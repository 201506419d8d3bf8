"""A SuperNode whose work is over is no process any more, so that it can be started again."""

import subprocess
import sys

import pytest

ENDS = {
    "raise OSError('certificate has expired')": (1, "OSError: certificate has expired"),
    "raise SystemExit(3)": (3, ""),
    "raise SystemExit('in words')": (1, ""),
    "return": (1, ""),
}


@pytest.mark.parametrize("end", ENDS)
def test_it_ends_with_its_work_though_other_threads_go_on(end):
    code, said = ENDS[end]
    program = f"""
import threading, time
from cmrfed.apps.client.supernode_process import end_with

def work():
    threading.Thread(target=time.sleep, args=(3600,)).start()
    {end}

end_with(work)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == code
    assert said in done.stderr and ("Traceback" in done.stderr) == bool(said)
