"""What a coordinator's machine bears: seconds and memory of a round, by how many sites take part.

A provisioned federation on this machine: the SuperLink with TLS, `cmrfed submit`'s server app, and of every site a real
node with a registered key. Behind each node is a door that computes nothing: it answers at once, with numbers as many
as an update has, and others each time, for Flower keeps equal arrays once. So what is measured is the server and the
way to it. Nodes share the machine with the server here, and its processors: *server, s* is the processor time of
SuperLink and server app alone, and with as many processors as that keeps busy a round takes no less.

    python -m benches.load [5 10 25 50]

Every number of sites is a federation of its own. Some six minutes for the four on two cores, and 8 GiB for 50 sites.
"""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil

from cmrfed import api, apps
from cmrfed.apps.server.nodes import admit, nodes_seen
from cmrfed.apps.server.submission import SubmittedRun
from cmrfed.apps.server.superlink import SuperLink
from cmrfed.apps.simulations.flower import free_ports
from cmrfed.config import UserError
from cmrfed.console import console, say
from cmrfed.core.json_lines import read_lines
from cmrfed.core.packing import npy
from cmrfed.core.processes import stop
from cmrfed.door import BUNDLE, Answer, Question
from cmrfed.door.messages import packed, unpacked
from cmrfed.door.sockets import receive, send
from cmrfed.provision import Coordinator, FederationDescription, Register, join, read_invitation
from cmrfed.provision.node_key import read_node_key
from cmrfed.replies import count, trained_shapes

SITES = (5, 10, 25, 50)
ROUNDS = 3
RUN = (
    *("recipe=none", "generator.init=null", "generator.channels=[64,112,160]", "generator.trainable=all"),
    *(f"federation.rounds={ROUNDS}", "federation.round_timeout_s=1800", "federation.largest_start_loss=null"),
)
"""Every weight is trained, sent down and sent up, in 32 bits: the most that a round can be."""
TITLES = ("sites", "model, MB", "a round, s", "server, s", "SuperLink, MB", "server app, MB", "all nodes, MB")


def main() -> None:
    """Print a table in Markdown."""
    console.print(f"| {' | '.join(TITLES)} |\n|{' --- |' * len(TITLES)}", soft_wrap=True)
    for sites in map(int, sys.argv[1:] or SITES):
        with tempfile.TemporaryDirectory(prefix="cmrfed-load-") as folder:
            console.print(measured(Path(folder), sites), soft_wrap=True)


def measured(root: Path, sites: int) -> str:
    """A row of the table."""
    coordinator = provisioned(root, [f"site-{number:03}" for number in range(sites)])
    with ExitStack() as stack:
        superlink = SuperLink(coordinator)
        superlink.start()
        stack.callback(superlink.stop)
        nodes = connected(coordinator, root, stack)
        run = SubmittedRun.lay_out(api.configure(*RUN), coordinator, (), root / "runs", None)
        shapes = trained_shapes(run.arm.request(run.arm.state()))
        watch = stack.enter_context(Watch.on(superlink.port, nodes))
        for site in run.record.sites:
            stack.enter_context(door(root / f"{site}.sock", site, shapes))
        run.start(apps.FOLDER)
        run.follow()
    _, *rounds = read_lines(run.arm.folder / "rounds.jsonl")
    if any(answer["reason"] for line in rounds for answer in line["sites"].values()):
        raise UserError(f"{run.arm.folder}: a site was left out; see rounds.jsonl")
    took = sum(line["finished"] - line["started"] for line in rounds) / ROUNDS
    cells = (sites, f"{4 * count(shapes) / 1e6:.0f}", f"{took:.0f}", f"{watch.server_s / ROUNDS:.0f}", *watch.megabytes)
    return f"| {' | '.join(map(str, cells))} |"


def provisioned(root: Path, sites: list[str]) -> Coordinator:
    """A coordinator's folder whose sites have joined. Nodes reach the SuperLink without the proxy before it."""
    (port,) = free_ports(1)
    description = FederationDescription(
        name="load", servers=("localhost",), port=port, superlink_port=port, sites=tuple(sites)
    )
    now = datetime.now(UTC)
    coordinator = Coordinator.provision(root / "federation", description, now)
    for site in sites:
        text = coordinator.invitation(site).read_text(encoding="utf-8")
        joined = join(root / site, read_invitation(text, site, now))
        key = read_node_key(joined.public.read_text(encoding="utf-8"), str(joined.public))
        coordinator.register(site, key, key.fingerprint, now)
    return coordinator


def connected(coordinator: Coordinator, root: Path, stack: ExitStack) -> list[int]:
    """Start a node for each site; the numbers of their processes, once all are connected."""
    address, authority = f"127.0.0.1:{coordinator.description.superlink_port}", coordinator.server / "ca.crt"
    keys = {name: key.pem for name, key in coordinator.sites.admitted.items()}
    Register(coordinator.state).set_nodes(admit(address, authority, keys).nodes)
    numbers = []
    for site in keys:
        command = [sys.executable, "-m", "cmrfed.cli", "site", "node"]
        command += [f"node={root / site}", f"socket={root / site}.sock"]
        with (root / f"{site}.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=_FRUGAL)
        stack.callback(stop, process)
        numbers.append(process.pid)
    with console.status(f"{len(keys)} nodes connect"):
        while sum(seen.connected for seen in nodes_seen(address, authority).values()) < len(keys):
            time.sleep(1)
    return numbers


_FRUGAL = {**os.environ, "MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "1000000"}
"""So that fifty nodes fit in one machine's memory."""


@contextmanager
def door(path: Path, site: str, shapes: dict[str, tuple[int, ...]]) -> Iterator[None]:
    """A site's socket, which answers all that it is asked."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        threading.Thread(target=_answering, args=(listener, site, shapes), daemon=True).start()
        yield


_ONE_AT_A_TIME = threading.Lock()
"""Held by the door that makes an answer: this process's memory is no part of what is measured, and is to be small."""


def _answering(listener: socket.socket, site: str, shapes: dict[str, tuple[int, ...]]) -> None:
    random = np.random.default_rng()
    while True:
        connection, _ = listener.accept()
        with connection:
            question = unpacked(Question, receive(connection, 2**32))
            notes: dict[str, str | float] = {"site": site, "ledger_head": secrets.token_hex(32)}
            if question.action == BUNDLE:
                send(connection, packed(Answer(notes=notes)))
                continue
            with _ONE_AT_A_TIME:
                update = {
                    name: npy(random.random(shape, np.float32) * np.float32(1e-6)) for name, shape in shapes.items()
                }
                answer = packed(Answer(notes={**notes, "loss": 0.1}, record="update", arrays=update))
            del update
            send(connection, answer)
            del answer


@dataclass
class Watch:
    """The most memory that processes held at one moment, and the server's processor time. Shared pages count in each
    process that has them."""

    most: dict[str, float] = field(default_factory=dict)
    times: dict[int, float] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)

    @classmethod
    @contextmanager
    def on(cls, port: int, nodes: list[int]) -> Iterator["Watch"]:
        watch = cls()
        thread = threading.Thread(target=watch._look, args=(port, nodes), daemon=True)
        thread.start()
        yield watch
        watch.ended.set()
        thread.join()

    @property
    def server_s(self) -> float:
        return sum(self.times.values())

    @property
    def megabytes(self) -> list[str]:
        return [f"{self.most[kind]:.0f}" for kind in ("superlink", "serverapp", "nodes")]

    def _look(self, port: int, nodes: list[int]) -> None:
        begun: dict[int, float] = {}
        while not self.ended.wait(0.5):
            found = {"superlink": _processes("superlink_process", str(port)), "serverapp": _processes("flwr-serverapp")}
            found["nodes"] = [one for number in nodes for one in _family(number)]
            for kind, processes in found.items():
                held = sum(memory for one in processes if (memory := _memory(one)))
                self.most[kind] = max(self.most.get(kind, 0.0), held / 1e6)
            for one in found["superlink"] + found["serverapp"]:
                spent = _spent(one)
                self.times[one.pid] = max(spent - begun.setdefault(one.pid, spent), self.times.get(one.pid, 0.0))


def _processes(*words: str) -> list[psutil.Process]:
    return [one for one in psutil.process_iter() if all(word in " ".join(_command(one)) for word in words)]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _family(number: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(number)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _memory(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss)
    except psutil.Error:
        return 0.0


def _spent(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
        return float(times.user + times.system)
    except psutil.Error:
        return 0.0


if __name__ == "__main__":
    main()
    say("done")
