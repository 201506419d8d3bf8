"""The coordinator's SuperLink as a process: started from the provisioned folder, found again, stopped."""

import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request

import psutil

from cmrfed.config import Stage, UserError, read_stage_json
from cmrfed.core import atomic
from cmrfed.core.processes import end
from cmrfed.provision import Coordinator

from .causes import cause_of

_START_S = 60.0
_WHO_AM_I = (
    "POST /v1/fleet/activate-node HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/protobuf\r\n"
    "Content-Length: 0\r\nConnection: close\r\n\r\n"
)
_PROCESS = "superlink.json"


class _Started(Stage):
    """Which process it is: numbers are used again, so that its birth, in seconds since 1970, belongs to it."""

    number: int
    born: float


class SuperLink:
    """The one of a coordinator's folder, on this machine."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._folder, self.port = coordinator.server, coordinator.description.superlink_port
        self.log = self._folder / "superlink.log"

    def start(self) -> None:
        """Start it, as server/superlink.sh does, and return once it answers. What it says is added to `log`.

        Raises UserError where one answers there already, or it does not come up, with the cause.
        """
        if self.answers():
            raise UserError(f"the SuperLink runs already, on port {self.port} of this machine")
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                [str(self._folder / "superlink.sh")],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # it stays when the terminal closes
            )
        started = _Started(number=process.pid, born=psutil.Process(process.pid).create_time())
        atomic.write_text(self._folder / _PROCESS, started.model_dump_json(), mode=atomic.PRIVATE)
        deadline = time.monotonic() + _START_S
        while not self.answers():
            if process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                said = self.log.read_bytes()[before:].decode("utf-8", errors="replace")
                raise UserError(f"the SuperLink did not start: {cause_of(said)} See {self.log}")
            time.sleep(0.2)

    def stop(self) -> bool:
        """End the one that `start` started, with all that runs in it; False where it does not run.

        Raises UserError where another one answers there, such as systemd's.
        """
        if process := self._process():
            end(process)
        elif self.answers():
            raise UserError(
                f"the SuperLink on port {self.port} was not started by cmrfed server start; if by systemd: systemctl "
                "stop cmrfed-superlink"
            )
        (self._folder / _PROCESS).unlink(missing_ok=True)
        return process is not None

    def answers(self) -> bool:
        """Whether one with the federation's own certificate answers on its port."""
        trusted = ssl.create_default_context(cafile=str(self._folder / "ca.crt"))
        direct = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted)
        )
        try:
            with direct.open(f"https://127.0.0.1:{self.port}/health", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def _process(self) -> psutil.Process | None:
        path = self._folder / _PROCESS
        if not path.exists():
            return None
        started = read_stage_json(_Started, path)
        try:
            process = psutil.Process(started.number)
            return process if abs(process.create_time() - started.born) < 1 else None
        except psutil.NoSuchProcess:
            return None


def proxy_answers(coordinator: Coordinator) -> bool:
    """Whether the proxy on this machine passes a node's request on, under the server's own name."""
    description = coordinator.description
    trusted = ssl.create_default_context(cafile=str(coordinator.server / "ca.crt"))
    try:
        with (
            _connected(description.port) as plain,
            trusted.wrap_socket(plain, server_hostname=description.servers[0]) as secured,
        ):
            secured.sendall(_WHO_AM_I.format(host=description.servers[0]).encode())
            return secured.recv(12) == b"HTTP/1.1 401"  # the SuperLink's own: who are you?
    except OSError:
        return False


def _connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)
