"""nginx, run for tests with the configuration that provisioning writes."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


@contextmanager
def proxy(site: Path, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """nginx with this site, from when it listens to the end of the block."""
    (folder / "nginx.pid").unlink(missing_ok=True)
    (folder / "around.conf").write_text(_AROUND.format(folder=folder, site=site), encoding="utf-8")
    process = subprocess.Popen([str(NGINX), "-e", f"{folder}/nginx.log", "-c", f"{folder}/around.conf"])
    try:
        while not (folder / "nginx.pid").exists() or not (folder / "nginx.pid").read_text(encoding="utf-8").strip():
            if process.poll() is not None:
                raise RuntimeError((folder / "nginx.log").read_text(encoding="utf-8"))
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        process.wait(10)
