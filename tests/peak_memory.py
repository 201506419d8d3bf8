"""The most memory that this process has had at once: its own, and not that of the one that started it.

`getrusage` says on Linux at least what the starting process held at that moment; the tests' own holds gigabytes.
"""

import re
import resource
import sys
from pathlib import Path


def peak_mib() -> float:
    if sys.platform == "linux":
        return int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
