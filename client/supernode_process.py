"""Flower's SuperNode as sites run it: `python -m cmrfed.apps.client.supernode_process OPTIONS`, its own options.

It gives up on every error of TLS, as when a line is cut in the middle of a handshake or a certificate has expired; then
its work is over, and its process stays, since the thread that hands out tasks goes on: nobody who watches processes
would notice. Here it ends with its work, so that it can be started again.
"""

import os
import sys
import traceback
from collections.abc import Callable

from flwr.supernode.cli import flower_supernode


def end_with(work: Callable[[], object]) -> None:
    """Do it, and end this process, whatever other threads are at. The exit code is what it asked for, else 1."""
    code = 1
    try:
        work()
    except SystemExit as asked:
        code = asked.code if isinstance(asked.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    end_with(flower_supernode)
