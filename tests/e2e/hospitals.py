"""Hospitals on this machine as they would run apart: for each a door, a node and a home; and a SuperLink for all."""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from omegaconf import OmegaConf

from cmrfed import apps
from cmrfed.apps.simulations import flower
from cmrfed.core.processes import stop

CMRFED = [sys.executable, "-m", "cmrfed.cli"]


def hospitals_of(run, root, **policy):
    """Homes with slices, policies and identities taken from a simulated run; each hospital's ledger starts empty."""
    homes = []
    for site in run.sites:
        home = root / site
        home.mkdir(mode=0o700)
        for name in ("slices.safetensors", "site.yaml", "identity.pem"):
            shutil.copy(run.site_home(site) / name, home)
        own = {"ledger": f"../ledger of {site}/ledger.sqlite", "answer_interval_s": 0.2} | policy
        OmegaConf.save(OmegaConf.merge(OmegaConf.load(home / "site.yaml"), own), home / "site.yaml")
        homes.append(home)
    return homes


def arm_of(run, root):
    """The coordinator's folder, as before the first round."""
    arm = root / "runs" / "together" / "arms" / "private"
    arm.mkdir(parents=True)
    for name in ("arm.json", "initial.safetensors"):
        shutil.copy(run.arm_folder("private") / name, arm)
    return arm


@contextmanager
def door(home, socket, node_account=None):
    """A home's door, open once it listens."""
    words = ["site", "serve", f"home={home}", f"socket={socket}"]
    words += [f"node_account={node_account}"] if node_account else []
    with running([*CMRFED, *words], home.parent / f"door of {home.name}.log") as process:
        wait_for(socket.exists)
        yield process


@contextmanager
def node(port, socket, log):
    """A site's node, by `cmrfed site node`."""
    words = ["site", "node", f"socket={socket}", f"insecure=127.0.0.1:{port}"]
    with running([*CMRFED, *words], log):
        yield


@contextmanager
def running(command, log, **options):
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, **options)
    try:
        yield process
    finally:
        stop(process)


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.05)


def approve(home):
    """The app of this installation, as the hospital's engineer does."""
    words = ["site", "approve", "own=true", f"home={home}", "yes=true"]
    return subprocess.run([*CMRFED, *words], capture_output=True, text=True, check=True).stdout


def submitted(folder, environment, log, superlink="private", **run_config):
    """A run of the app in a folder; returns the process that waits for its end."""
    command = [flower.tool("flwr"), "run", str(folder), superlink, "--stream"]
    command += ["--run-config", " ".join(f"{key}={json.dumps(str(value))}" for key, value in run_config.items())]
    with log.open("wb") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=log.parent)


def start(arm, environment, root):
    """The run of an arm by the apps of this installation."""
    return submitted(apps.FOLDER, environment, root / "flwr.log", arm=arm)


def said(root):
    """The end of every log, for whoever reads why a test failed."""
    logs = sorted({*root.glob("*.log"), *root.glob("*/*.log")})
    return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in logs)


def kept_out(home, command, folder):
    """(Command, options of its process, node_account) that start it as the node of a hospital runs: by an account that
    may not open the home. None where this account can start no such process.

    Where another account cannot read this very installation, the same is had the other way round: the home belongs to
    another account, and the process has root's name without its right to pass by (capabilities(7)).
    """
    if os.geteuid() != 0:
        return None
    options = {"env": plain_environment(folder), "cwd": "/"}
    other = {**options, "user": "nobody", "group": "nogroup", "extra_groups": []}
    try:
        subprocess.run([sys.executable, "-c", "import cmrfed.apps.client.app"], check=True, **other)
        return command, other, "nobody"
    except (OSError, subprocess.CalledProcessError):
        os.chown(home, 12345, -1)
        return ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", *command], options, None


def plain_environment(home):
    """What a service account has: nothing of this test's own but where the code is."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}"
    kept = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
    return {**kept, "PATH": path, "HOME": str(home), "FLWR_HOME": str(home / "flwr"), "FLWR_TELEMETRY_ENABLED": "0"}
