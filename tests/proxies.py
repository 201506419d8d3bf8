"""nginx, run for tests with the configuration that provisioning writes."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cmrfed.provision.server_files import CONTAINER

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin:/usr/local/sbin")
"""None where it is not installed."""
MISSING = "nginx is not installed, so that the proxy is not tried (apt-get install nginx-light)"

_AROUND = """daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log warn; worker_processes 1; events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxied; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    include {site};
}}
"""


def configuration(server: Path, kind: str, folder: Path, port: int) -> Path:
    """A whole configuration with what was provisioned in `server`: a `machine`'s, within the http of its nginx, or a
    `container`'s, where folder, host and port of this test stand for its own."""
    path = folder / f"{kind}.conf"
    if kind == "machine":
        text = _AROUND.format(folder=folder, site=server / "nginx.conf")
    else:
        text = (server / "containers" / "nginx.conf").read_text(encoding="utf-8")
        for its, here in {
            "/tmp/": f"{folder}/",  # first, for the other paths may lie there
            str(CONTAINER.keys): server,
            f"listen {CONTAINER.port} ": f"listen {port} ",
            f"//{CONTAINER.superlink}:": "//127.0.0.1:",
            "error_log stderr": f"error_log {folder}/nginx.log",
        }.items():
            assert its in text, its
            text = text.replace(its, str(here))
    path.write_text(text, encoding="utf-8")
    return path


@contextmanager
def proxy(configured: Path, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """nginx with this configuration, from when it listens to the end of the block."""
    (folder / "nginx.pid").unlink(missing_ok=True)
    process = subprocess.Popen([str(NGINX), "-e", f"{folder}/nginx.log", "-c", str(configured)])
    try:
        while not (folder / "nginx.pid").exists() or not (folder / "nginx.pid").read_text(encoding="utf-8").strip():
            if process.poll() is not None:
                raise RuntimeError((folder / "nginx.log").read_text(encoding="utf-8"))
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        process.wait(10)
