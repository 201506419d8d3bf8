"""The federation on Flower's simulation runtime (Ray): a private SuperLink, `flwr run`, and nothing left behind.

`flwr run` is how Flower 1.41 starts a simulation; its Python entry points are deprecated. It reports success even for a
run that failed, so the arm's own model file is what says that a run ended well.
"""

import contextlib
import json
import os
import re
import shutil
import signal
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

import psutil

from cmrfed.config import FederationConfig, TrainingConfig, UserError

_START_TIMEOUT_S = 60
_END_TIMEOUT_S = 10
PROJECT = Path(__file__).resolve().parents[1]


def run_on_flower(
    arm: Path, number_of_sites: int, federation: FederationConfig, training: TrainingConfig, tick: Callable[[], None]
) -> None:
    """Run an arm to its end under Ray, `training.threads` CPUs a site; calls `tick` about twice a second.

    Raises UserError with the last lines of the log when the run did not finish.
    """
    log = arm / "flower.log"
    with log.open("w") as output, superlink(arm / "superlink.log", simulation=True) as (environment, _):
        options = [f"num-supernodes={number_of_sites}", f"client-resources-num-cpus={training.threads}"]
        options += [f"init-args-num-cpus={max(os.cpu_count() or 1, training.threads)}", "init-args-log-to-driver=false"]
        command = [tool("flwr"), "run", str(PROJECT), "private", "--stream"]
        command += ["--run-config", f"arm={toml_text(str(arm))}", "--federation-config", " ".join(options)]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=arm)
        try:
            while process.poll() is None:
                tick()
                time.sleep(0.5)
        finally:
            stop(process)
    if not (arm / "model.safetensors").exists():
        raise UserError(f"federation: the run did not finish; see {log}. Last: {_last_error(log)}")


def toml_text(text: str) -> str:
    """As a TOML string within `--run-config`, which Flower cuts at quotes, escaped or not."""
    return json.dumps(text, ensure_ascii=False).replace('\\"', "\\u0022")


@contextmanager
def superlink(log: Path, simulation: bool) -> Iterator[tuple[dict[str, str], int]]:
    """A SuperLink of our own on free loopback ports, with its home in a temporary folder.

    Yields the environment in which `flwr run PROJECT private` reaches it, and its port. Without `simulation` it waits
    for real SuperNodes.
    """
    home = Path(tempfile.mkdtemp(prefix="cmrfed-flower-"))
    port, control_port = free_ports(2)
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "private"\n\n[superlink.private]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    )
    # Flower starts its own tools by name: they must be found even where this environment was not activated.
    search_path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    environment = {**os.environ, "FLWR_HOME": str(home), "PATH": search_path}
    command = [tool("flower-superlink"), "--insecure", "--isolation", "subprocess"]
    command += ["--simulation"] if simulation else []
    command += ["--control-api-address", f"127.0.0.1:{control_port}", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    try:
        _wait_until_healthy(port, process, log)
        yield environment, port
    finally:
        stop(process)
        shutil.rmtree(home, ignore_errors=True)


def _wait_until_healthy(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise UserError(f"federation: Flower's SuperLink did not start; see {log}. Last: {_last_error(log)}")


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a process and all that it started: neither Flower's executors, which lead sessions of their own and outlive
    their SuperLink for a while, nor Ray's workers may go on without the run."""
    started = _descendants(process.pid)  # before it ends: orphans are nobody's children
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_TIMEOUT_S)
    for end in (psutil.Process.terminate, psutil.Process.kill):
        for one in started:
            with contextlib.suppress(psutil.NoSuchProcess):
                end(one)
        _, started = psutil.wait_procs(started, timeout=_END_TIMEOUT_S)
    process.kill()
    with contextlib.suppress(ProcessLookupError):  # it led no group, or nobody is left in it
        os.killpg(process.pid, signal.SIGKILL)


def _descendants(number: int) -> list[psutil.Process]:
    try:
        return psutil.Process(number).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


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


def _last_error(log: Path) -> str:
    """What the log ends with: the last exception by name, else the last line that speaks of an error, else the last."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in log.read_text(errors="replace").splitlines()]
    for pattern in (r"^[\w.]+(Error|Exception|Refused|Refusal)\b", r"(?i)error|exception", r"\S"):
        found = [line for line in lines if re.search(pattern, line)]
        if found:
            return found[-1][:400]
    return "nothing was logged"
