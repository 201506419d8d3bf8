"""The federation on Flower's simulation runtime (Ray): a private SuperLink, `flwr run`, and nothing left behind.

`flwr run` is how Flower 1.41 starts a simulation; its Python entry points are deprecated. It reports success even for a
run that failed, so the arm's own model file is what says that a run ended well.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cmrfed import apps
from cmrfed.apps.server.causes import cause_of
from cmrfed.config import FederationConfig, TrainingConfig, UserError
from cmrfed.console import console
from cmrfed.core.processes import guarded, stop

_START_TIMEOUT_S = 300
_RAY_STARTS = 5
"""Ray gives its own processes thirty seconds, which no option changes; on a busy machine they may need another try."""
_RAY_IS_LATE = re.compile(r"timed out.*start", re.IGNORECASE)


def run_on_flower(
    arm: Path, number_of_sites: int, federation: FederationConfig, training: TrainingConfig, tick: Callable[[], None]
) -> None:
    """Run an arm to its end under Ray, `training.threads` CPUs a site; calls `tick` about twice a second.

    Raises UserError with the cause, as the log has it, when the run did not finish.
    """
    model, log = arm / "model.safetensors", arm / "flower.log"
    model.unlink(missing_ok=True)
    for start in range(1, _RAY_STARTS + 1):
        _run_once(arm, log, number_of_sites, training, tick)
        if model.exists():
            return
        cause = cause_of(log.read_text(encoding="utf-8", errors="replace"))
        if start == _RAY_STARTS or not _RAY_IS_LATE.search(cause):
            raise UserError(
                f"federation: the run did not finish: {cause} See {log}. Finished rounds are kept: "
                f"cmrfed simulate resume={arm.parents[1]} goes on, with federation.engine=inprocess without Ray"
            )
        console.print(f"  Ray did not start in time; trying again ({start + 1} of {_RAY_STARTS})")


def _run_once(arm: Path, log: Path, number_of_sites: int, training: TrainingConfig, tick: Callable[[], None]) -> None:
    with log.open("wb") as output, superlink(arm / "superlink.log", simulation=True) as (environment, _):
        options = [f"num-supernodes={number_of_sites}", f"client-resources-num-cpus={training.threads}"]
        options += [f"init-args-num-cpus={max(os.cpu_count() or 1, training.threads)}", "init-args-log-to-driver=false"]
        command = [tool("flwr"), "run", str(apps.FOLDER), "private", "--stream"]
        command += ["--run-config", f"arm={toml_text(str(arm))}", "--federation-config", " ".join(options)]
        process = subprocess.Popen(guarded(command), stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=arm)
        try:
            while process.poll() is None:
                tick()
                time.sleep(0.5)
        finally:
            stop(process)


def toml_text(text: str) -> str:
    """As a TOML string within `--run-config`, which Flower cuts at quotes, also behind a backslash."""
    unsafe = (letter in '"\\' or not letter.isprintable() for letter in text)
    letters = (f"\\U{ord(letter):08x}" if escaped else letter for letter, escaped in zip(text, unsafe, strict=True))
    return '"' + "".join(letters) + '"'


@contextmanager
def superlink(log: Path, simulation: bool) -> Iterator[tuple[dict[str, str], int]]:
    """A SuperLink of our own on free loopback ports, with its home in a temporary folder.

    Yields the environment in which `flwr run FOLDER private` reaches it, and its port. Without `simulation` it waits
    for real SuperNodes.
    """
    home = Path(tempfile.mkdtemp(prefix="cmrfed-flower-"))
    port, control_port = free_ports(2)
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "private"\n\n[superlink.private]\naddress = "127.0.0.1:{port}"\ninsecure = true\n',
        encoding="utf-8",
    )
    # Flower starts its own tools by name: they must be found even where this environment was not activated.
    search_path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    environment = {**os.environ, **_no_proxy(), "FLWR_HOME": str(home), "PATH": search_path}
    command = [tool("flower-superlink"), "--insecure", "--isolation", "subprocess"]
    command += ["--simulation"] if simulation else []
    command += ["--control-api-address", f"127.0.0.1:{control_port}", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            guarded(command), stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    try:
        _wait_until_healthy(port, process, log)
        yield environment, port
    finally:
        stop(process)
        shutil.rmtree(home, ignore_errors=True)


def _wait_until_healthy(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with direct.open(f"http://127.0.0.1:{port}/health", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    cause = cause_of(log.read_text(encoding="utf-8", errors="replace"))
    raise UserError(f"federation: Flower's SuperLink did not start: {cause} See {log}")


def _no_proxy() -> dict[str, str]:
    """Variables that keep what Flower's processes tell one another on this machine from the user's proxy."""
    set_already = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = ",".join(filter(None, [set_already, "127.0.0.1", "localhost"]))
    return {"no_proxy": hosts, "NO_PROXY": hosts}


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [bound.getsockname()[1] for bound in sockets]
    for bound in sockets:
        bound.close()
    return ports


def tool(name: str) -> str:
    """A console script of the environment this runs in, whether or not it is activated."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise UserError(f"federation: {name} is not installed beside {sys.executable}; install flwr[simulation]")
    return found
