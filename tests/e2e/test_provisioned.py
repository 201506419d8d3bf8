"""A provisioned federation in real processes on loopback: who gets in, who does not, and what the proxy refuses."""

import json
import os
import re
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from proxies import MISSING, NGINX, proxy

from cmrfed.apps.simulations import flower
from cmrfed.apps.simulations.processes import stop
from cmrfed.provision import Coordinator, join, read_connection, read_invitation
from cmrfed.provision.node_key import read_node_key

FINGERPRINT = re.compile(r"(?:[0-9a-f]{4}-){7}[0-9a-f]{4}")


class Federation:
    """A coordinator's folder, homes beside it, and the processes that are at work."""

    def __init__(self, root, stack):
        self.root, self.stack, self.nodes = root, stack, 0
        port, superlink_port = flower.free_ports(2)
        (root / "federation.yaml").write_text(
            f"name: hearts\nservers: [localhost]\nsites: [North, South, West]\nport: {port}\n"
            f"superlink_port: {superlink_port}\n"
        )
        self.cmrfed("provision", "federation=federation.yaml", "out=federation")
        self.coordinator = Coordinator(root / "federation")
        self.authority = self.coordinator.server / "ca.crt"
        self.ports = {"proxy": port, "superlink": superlink_port}

    @property
    def environment(self):
        local = {"XDG_DATA_HOME": str(self.root / "data"), "FLWR_HOME": str(self.root / "flwr")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        quiet = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "no_proxy": "localhost,127.0.0.1"}
        return {**os.environ, **local, **quiet, "PATH": path}

    def cmrfed(self, *words):
        """The command line, as coordinator and hospitals use it."""
        command = [sys.executable, "-m", "cmrfed.cli", *words]
        done = subprocess.run(command, cwd=self.root, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, command, log):
        with log.open("wb") as output:
            process = subprocess.Popen(
                list(map(str, command)), stdout=output, stderr=output, env=self.environment, start_new_session=True
            )
        self.stack.callback(stop, process)

    def join_and_register(self, site):
        """By the commands that a hospital and its coordinator give."""
        words = [f"invitation=federation/invitations/{site}.txt", f"home={site}", "yes=true"]
        said = FINGERPRINT.findall(self.cmrfed("site", "join", *words))[-1]
        words = [f"site={site}", f"key={site}/node.pub", f"fingerprint={said}", "folder=federation"]
        return self.cmrfed("provision", "register", *words)

    def join(self, site):
        """As the command does, in this process."""
        text = self.coordinator.invitation(site).read_text()
        return join(self.root / site, read_invitation(text, site, datetime.now(UTC)))

    def node(self, site, authority=None, key=True):
        """A SuperNode by the site's connection file, or by another authority or without its key; returns its log."""
        connection, log = read_connection(self.root / site), self.root / f"node {self.nodes} of {site}.log"
        self.nodes += 1
        command = [flower.tool("flower-supernode"), "--superlink", connection.superlink]
        command += ["--root-certificates", authority or connection.root_certificates]
        command += ["--auth-supernode-private-key", connection.node_key] if key else []
        self.start([*command, "--port", flower.free_ports(1)[0]], log)
        return log

    def ask(self, port, path):
        """The status of a request to a server that our authority signed for."""
        context = ssl.create_default_context(cafile=str(self.authority))
        headers = {"content-type": "application/protobuf"}
        request = urllib.request.Request(f"https://localhost:{port}{path}", b"", headers)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def nodes_of_superlink(self):
        """Node's number -> its state, as Flower's own command says."""
        environment = self.environment | {"FLWR_HOME": str(self.coordinator.server / "flwr")}
        command = [flower.tool("flwr"), "supernode", "list", "--format", "json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=self.root)
        return {node["node-id"]: node["status"] for node in json.loads(done.stdout)["nodes"]}


def wait_for(what, log, *, seconds=30):
    """Until the log says so, which it then does."""
    deadline = time.monotonic() + seconds
    while not re.search(what, log.read_text(errors="replace")):
        assert time.monotonic() < deadline, f"not {what!r} in {log.name}:\n{log.read_text(errors='replace')[-3000:]}"
        time.sleep(0.1)


@pytest.mark.skipif(not NGINX, reason=MISSING)
def test_a_registered_sites_node_gets_in_and_no_other_and_nobody_reaches_control_from_outside(tmp_path):
    with ExitStack() as stack:
        here = Federation(tmp_path, stack)
        log = tmp_path / "superlink.log"
        here.start([here.coordinator.server / "superlink.sh"], log)
        stack.enter_context(proxy(here.coordinator.server / "nginx.conf", tmp_path))
        here.join("South")
        west_key = here.join("West").public.read_text()
        here.coordinator.register("West", key := read_node_key(west_key, "mail"), key.fingerprint, datetime.now(UTC))
        wait_for("Uvicorn running on https", log)
        assert "lets in North, West" in here.join_and_register("North")

        outside, inside = here.ports["proxy"], here.ports["superlink"]
        north, west = here.node("North"), here.node("West")
        unregistered, keyless = here.node("South"), here.node("South", key=False)
        other = Coordinator.provision(tmp_path / "other", here.coordinator.description, datetime.now(UTC))
        impostor = here.node("North", authority=other.server / "ca.crt")
        for log_of_node in (north, west):
            wait_for(r"SuperNode ID: \d+", log_of_node)
        wait_for(r"/v1/fleet/activate-node HTTP/1.\d\" 412", log)
        wait_for(r"/v1/fleet/register-node HTTP/1.\d\" 4\d\d", log)
        for refused in (unregistered, keyless, impostor):
            wait_for("Connection attempt failed", refused)

        here.cmrfed("provision", "revoke", "site=West", "folder=federation")
        wait_for("shutdown complete", west)
        assert sorted(here.nodes_of_superlink().values()) == ["online", "unregistered"]
        again = here.node("West")
        wait_for("Connection attempt failed", again)

        assert here.ask(outside, "/v1/control/list-runs") == 404
        assert here.ask(inside, "/v1/control/list-runs") == 200
        assert here.ask(outside, "/v1/fleet/activate-node") == here.ask(inside, "/v1/fleet/activate-node") == 401
        for shut_out in (unregistered, keyless, impostor, again):
            assert "SuperNode ID" not in shut_out.read_text()
        assert "SuperNode ID" in north.read_text() and "shutdown" not in north.read_text()
