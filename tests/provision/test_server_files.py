"""What starts the server says what it must, and the proxy lets nothing through but nodes' requests."""

import http.client
import http.server
import re
import ssl
import subprocess
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from provisioned import described, provisioned
from proxies import MISSING, NGINX, configuration, proxy
from refusals import refuses

from cmrfed.apps.simulations.flower import free_ports
from cmrfed.provision.server_files import CONTAINER, QUIET, server_files


@pytest.fixture
def files():
    return server_files(
        described(servers=["fed.example.org", "2001:db8::7"]), Path("/srv/the hearts"), Path("/opt/bin")
    )


def test_superlink_listens_on_loopback_alone_with_tls_and_asks_for_nodes_keys(files):
    script = files["superlink.sh"]
    subprocess.run(["sh", "-n"], input=script.encode(), check=True)
    for words in ("--host 127.0.0.1", "--enable-supernode-auth", "--ssl-certfile", "--ssl-ca-certfile"):
        assert words in script
    assert "--insecure" not in script
    assert "cd '/srv/the hearts'" in script


def test_nothing_that_starts_the_server_tells_anybody_anything(files):
    """Under the names that Flower itself reads."""
    import flwr.common.constant as common
    import flwr.supercore.constant as core
    import flwr.supercore.telemetry as telemetry

    assert common.FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION in QUIET
    assert core.FLWR_DISABLE_UPDATE_CHECK in QUIET
    assert hasattr(telemetry, "FLWR_TELEMETRY_ENABLED")
    for name, value in QUIET.items():
        assert f"export {name}={value}\n" in files["superlink.sh"]
        assert f"export {name}={value}\n" in files["containers/superlink.sh"]


def test_a_path_that_a_servers_files_cannot_name_is_refused():
    for path in ('/srv/"hearts', "/srv/$HOME", "/srv/a;b", "/srv/%n", "/srv/a\nb"):
        with refuses("out", "choose another"):
            server_files(described(), Path(path), Path("/opt/bin"))


def test_in_a_container_superlink_does_the_same_and_writes_to_its_state_alone(files):
    script = files["containers/superlink.sh"]
    subprocess.run(["sh", "-n"], input=script.encode(), check=True)
    for words in ("--enable-supernode-auth", "--ssl-certfile", '--host "${SUPERLINK_HOST:-127.0.0.1}"'):
        assert words in script
    assert "--insecure" not in script
    assert f"export FLWR_HOME={CONTAINER.state}/flwr\n" in script
    assert f"--database {CONTAINER.state}/superlink.db" in script
    assert "/srv/the hearts" not in "".join(text for name, text in files.items() if name.startswith("containers/"))


def test_only_nodes_requests_have_a_way_in(files):
    for name in ("nginx.conf", "containers/nginx.conf"):
        assert re.findall(r"location (\S+)", files[name]) == ["/v1/fleet/", "/"]
    assert "listen [::]:443 ssl;" in files["nginx.conf"]
    assert "[::]" not in server_files(described(), Path("/srv"), Path("/opt"))["nginx.conf"], (
        "a machine may have no IPv6"
    )


class _Behind(http.server.BaseHTTPRequestHandler):
    """Stands where SuperLink does, and says which path reached it."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.path)))
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *words):
        pass


@pytest.fixture(params=["machine", "container"])
def proxied(tmp_path, request):
    """Port of the proxy, in front of a server that answers everything."""
    port, behind = free_ports(2)
    made = provisioned(tmp_path / "f", datetime.now(UTC), servers=["localhost"], port=port, superlink_port=behind)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", behind), _Behind)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.server / "server.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with proxy(configuration(made.server, request.param, tmp_path, port), tmp_path):
        yield made, port
    server.shutdown()


@pytest.mark.skipif(not NGINX, reason=MISSING)
def test_whatever_is_no_nodes_request_is_refused_however_its_path_is_written(proxied):
    made, port = proxied
    assert said(made, port, "POST", "/v1/fleet/pull-messages") == (200, "/v1/fleet/pull-messages")
    for path in (
        "/v1/control/list-runs",
        "/v1/fleet/../control/list-runs",
        "/v1/fleet/%2e%2e/control/list-runs",
        "/v1/fleet/..%2fcontrol/list-runs",
        "//v1//control/list-runs",
        "/v1/fleet",
        "/v1/runtime/x",
        "/docs",
        "/health",
        "/",
    ):
        assert said(made, port, "POST", path)[0] in (301, 404), path
    assert said(made, port, "GET", "/v1/fleet/pull-messages")[0] == 403
    assert said(made, port, "POST", "/v1/control/../fleet/x") == (200, "/v1/fleet/x"), "as it was matched"
    assert said(made, port, "POST", "/v1/fleet/push-object", announced=65 * 2**20)[0] == 413


@pytest.mark.skipif(not NGINX, reason=MISSING)
def test_an_update_passes_the_proxy_and_leaves_nothing_in_its_files(proxied, tmp_path):
    made, port = proxied
    assert said(made, port, "POST", "/v1/fleet/push-object", bytes(5 * 2**20))[0] == 200
    assert "buffered to a temporary file" not in (tmp_path / "nginx.log").read_text()


def said(made, port, method, path, body=b"", announced=None):
    """Status and body; the path goes as it is written."""
    context = ssl.create_default_context(cafile=str(made.server / "ca.crt"))
    client = http.client.HTTPSConnection("localhost", port, timeout=10, context=context)
    client.putrequest(method, path)
    client.putheader("Content-Length", str(len(body) if announced is None else announced))
    client.endheaders(body)
    answer = client.getresponse()
    try:
        return answer.status, answer.read().decode()
    finally:
        client.close()
