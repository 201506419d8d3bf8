"""A provisioned federation in real processes on loopback, as its coordinator and its hospitals start them."""

import json
import os
import re
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.proto.fleet_pb2 import ActivateNodeRequest
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from proxies import configuration, proxy

from cmrfed.apps.simulations import flower
from cmrfed.core.processes import stop
from cmrfed.provision import Coordinator, join, read_connection, read_invitation
from cmrfed.provision.server_files import CONTAINER

FINGERPRINT = re.compile(r"(?:[0-9a-f]{4}-){7}[0-9a-f]{4}")


class Federation:
    """A coordinator's folder, homes beside it, and the processes that are at work."""

    def __init__(self, root, stack, sites=("North", "South", "West")):
        self.root, self.stack, self.nodes = root, stack, 0
        port, superlink_port = flower.free_ports(2)
        (root / "federation.yaml").write_text(
            f"name: hearts\nservers: [localhost]\nsites: [{', '.join(sites)}]\nport: {port}\n"
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
        done = self._run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def try_cmrfed(self, *words):
        """The same, whatever comes of it; returns all that it says."""
        done = self._run(*words)
        return done.stdout + done.stderr

    def _run(self, *words):
        command = [sys.executable, "-m", "cmrfed.cli", *words]
        return subprocess.run(command, cwd=self.root, env=self.environment, capture_output=True, text=True)

    def start(self, command, log):
        with log.open("wb") as output:
            process = subprocess.Popen(
                list(map(str, command)), stdout=output, stderr=output, env=self.environment, start_new_session=True
            )
        self.stack.callback(stop, process)

    def serve(self, kind="machine"):
        """The SuperLink, and the proxy before it, by the files for a machine or a container, once both answer; returns
        the log of the former."""
        self.start_proxy(kind)
        if kind == "machine":
            self.stack.callback(self.try_cmrfed, "server", "stop", "folder=federation")
            told = self.cmrfed("server", "start", "folder=federation")
            assert "the proxy answers" in told, told
            return self.coordinator.server / "superlink.log"
        log = self.root / "superlink.log"
        self.start(["sh", self._in_its_place()], log)
        wait_for_words("Uvicorn running on https", log)
        return log

    def start_proxy(self, kind="machine"):
        """nginx; `proxy_process` is the one that was started last."""
        configured = configuration(self.coordinator.server, kind, self.root, self.ports["proxy"])
        self.proxy_process = self.stack.enter_context(proxy(configured, self.root))

    def _in_its_place(self):
        """The container's script, with this test's folders in the place of the container's."""
        text = (self.coordinator.server / "containers" / "superlink.sh").read_text()
        here = {CONTAINER.keys: self.coordinator.server, CONTAINER.state: self.root / "state"}
        for its, ours in here.items():
            text = text.replace(str(its), str(ours))
        script = self.root / "superlink.sh"
        script.write_text(text)
        return script

    def join_and_register(self, site, node=None):
        """By the commands that a hospital and its coordinator give; `node` is the node's own folder, if it has one."""
        words = [f"invitation=federation/invitations/{site}.txt", f"home={site}", "yes=true"]
        words += [f"node={node}"] if node else []
        said = FINGERPRINT.findall(self.cmrfed("site", "join", *words))[-1]
        words = [f"site={site}", f"key={node or site}/node.pub", f"fingerprint={said}", "folder=federation"]
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

    def ask(self, port, path, body=b"", **headers):
        """The status of a request to a server that our authority signed for."""
        context = ssl.create_default_context(cafile=str(self.authority))
        headers = {"content-type": "application/protobuf", **headers}
        request = urllib.request.Request(f"https://localhost:{port}{path}", body, headers)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def ask_as(self, site, when):
        """The status of what a node says when it connects, signed with the site's key at that moment."""
        key = load_ssh_private_key((self.root / site / "node.key").read_bytes(), None)
        public, moment = public_key_to_bytes(key.public_key()), when.isoformat()
        headers = {
            FLEET_HTTP_PUBLIC_KEY_HEADER: b64encode(public).decode(),
            FLEET_HTTP_SIGNATURE_HEADER: b64encode(sign_message(key, moment.encode())).decode(),
            TIMESTAMP_HEADER: moment,
        }
        body = ActivateNodeRequest(public_key=public, heartbeat_interval=30).SerializeToString()
        return self.ask(self.ports["proxy"], "/v1/fleet/activate-node", body, **headers)

    def nodes_of_superlink(self):
        """Node's number -> its state, as Flower's own command says."""
        environment = self.environment | {"FLWR_HOME": str(self.coordinator.server / "flwr")}
        command = [flower.tool("flwr"), "supernode", "list", "--format", "json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=self.root)
        return {node["node-id"]: node["status"] for node in json.loads(done.stdout)["nodes"]}


def wait_for_words(what, log, *, seconds=60):
    """Until the log says so, which it then does."""
    deadline = time.monotonic() + seconds
    while not log.exists() or not re.search(what, log.read_text(errors="replace")):
        said = log.read_text(errors="replace")[-3000:] if log.exists() else "nothing"
        assert time.monotonic() < deadline, f"not {what!r} in {log.name}:\n{said}"
        time.sleep(0.1)
