"""What a coordinator's machine bears: seconds and memory of a round, by how many sites take part.

A provisioned federation on this machine: the SuperLink with TLS, `cmrfed submit`'s server app, and of every site a real
node with a registered key. Behind each node is a door that computes nothing: it answers at once, with numbers as many
as an update has, and others each time, for Flower keeps equal arrays once. So what is measured is the server and the
way to it. Nodes share the machine with the server here, and its processors: *server, s* is the processor time of
SuperLink and server app alone.

    python -m benches.load [5 10 25 50] [WORDS OF cmrfed submit]

Without words every weight of a network of 5 million is trained, sent down and sent up, in 32 bits: the most that a
round can be. Every number of sites is a federation of its own; half an hour for the four on two cores beside other
jobs, and 20 GB of memory for 50 sites. Seconds are of the rounds after the first, in which processes import. *Not
sent*: how often a node could not send an answer, which was then asked for again.
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
from cmrfed.config import RunConfig, UserError
from cmrfed.console import console, say
from cmrfed.core.json_lines import read_lines
from cmrfed.core.packing import npy
from cmrfed.core.processes import stop
from cmrfed.door import BUNDLE, Answer, Question
from cmrfed.door.messages import packed, unpacked
from cmrfed.door.sockets import receive, send
from cmrfed.provision import Coordinator, FederationDescription, Register, join, read_invitation
from cmrfed.provision.node_key import read_node_key
from cmrfed.replies import trained_shapes

SITES = (5, 10, 25, 50)
ROUNDS = 3
ALWAYS = (f"federation.rounds={ROUNDS}", "federation.round_timeout_s=1800", "federation.largest_start_loss=null")
WHOLE = ("recipe=none", "generator.init=null", "generator.channels=[64,112,160]", "generator.trainable=all")
TITLES = ("sites", "up, MB", "a round, s", "server, s", "SuperLink, MB", "server app, MB", "all nodes, MB", "not sent")


def main() -> None:
    """Print a table in Markdown."""
    console.print(f"| {' | '.join(TITLES)} |\n|{' --- |' * len(TITLES)}", soft_wrap=True)
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()] or SITES
    config = api.configure(*([word for word in sys.argv[1:] if not word.isdigit()] or WHOLE), *ALWAYS)
    for sites in numbers:
        with tempfile.TemporaryDirectory(prefix="cmrfed-load-") as folder:
            console.print(measured(Path(folder), sites, config), soft_wrap=True)


def measured(root: Path, sites: int, config: RunConfig) -> str:
    """A row of the table."""
    coordinator = provisioned(root, [f"site-{number:03}" for number in range(sites)])
    with ExitStack() as stack:
        superlink = SuperLink(coordinator)
        superlink.start()
        stack.callback(superlink.stop)
        nodes = connected(coordinator, root, stack)
        run = SubmittedRun.lay_out(config, coordinator, (), root / "runs", None)
        shapes = trained_shapes(run.arm.request(run.arm.state()))
        watch = stack.enter_context(Watch.on(coordinator.server / "flwr", nodes))
        for site in run.record.sites:
            stack.enter_context(door(root / f"{site}.sock", site, shapes))
        run.start(apps.FOLDER)
        run.follow()
    _, *rounds = read_lines(run.arm.folder / "rounds.jsonl")
    if any(answer["reason"] for line in rounds for answer in line["sites"].values()):
        raise UserError(f"{run.arm.folder}: a site was left out; see rounds.jsonl")
    not_sent = sum(log.read_text(errors="replace").count("Failed to send message") for log in root.glob("*.log"))
    first, last = rounds[0]["finished"], rounds[-1]["finished"]
    took, server = ((end - begin) / (ROUNDS - 1) for begin, end in ((first, last), map(watch.server_s, (first, last))))
    up = rounds[-1]["bytes"]["up"] / sites / 1e6
    cells = (sites, f"{up:.3g}", f"{took:.0f}", f"{server:.0f}", *watch.megabytes, not_sent)
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
    spent: list[tuple[float, float]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @classmethod
    @contextmanager
    def on(cls, home: Path, nodes: list[int]) -> Iterator["Watch"]:
        watch = cls()
        thread = threading.Thread(target=watch._look, args=(home, nodes), daemon=True)
        thread.start()
        yield watch
        watch.ended.set()
        thread.join()

    def server_s(self, moment: float) -> float:
        """Processor time of SuperLink and server app until then."""
        return max(spent for at, spent in self.spent if at <= moment)

    @property
    def megabytes(self) -> list[str]:
        return [f"{self.most[kind]:.0f}" for kind in ("superlink", "serverapp", "nodes")]

    def _look(self, home: Path, nodes: list[int]) -> None:
        while not self.ended.wait(0.5):
            found = {
                "superlink": _processes("superlink_process", home),
                "serverapp": _processes("flwr-serverapp", home),
            }
            found["nodes"] = [one for number in nodes for one in _family(number)]
            for kind, processes in found.items():
                held = sum(memory for one in processes if (memory := _memory(one)))
                self.most[kind] = max(self.most.get(kind, 0.0), held / 1e6)
            self.spent.append((time.time(), sum(map(_spent, found["superlink"] + found["serverapp"]))))


def _processes(program: str, home: Path) -> list[psutil.Process]:
    """Of this federation's server."""
    return [one for one in psutil.process_iter() if _is(one, program, home)]


def _is(process: psutil.Process, program: str, home: Path) -> bool:
    try:
        return program in " ".join(process.cmdline()) and process.environ().get("FLWR_HOME") == str(home)
    except psutil.Error:
        return False


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
