"""The default engine on a busy machine, behind a proxy, and killed: it tries again, names causes, leaves nothing."""

import http.server
import subprocess
import threading
from contextlib import contextmanager

import pytest
from flower_logs import LATE

from cmrfed.apps.simulations import flower
from cmrfed.config import FederationConfig, TrainingConfig, UserError


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs an arm with a `flwr` that is a script of the test's own; returns how often that was started."""

    @contextmanager
    def no_superlink(log, simulation):
        yield None, 0

    def call(script):
        path, arm = tmp_path / "flwr", tmp_path / "run" / "arms" / "private"
        path.write_text(f"#!/bin/sh\ncd {arm}\necho >> starts\n{script}\n")
        path.chmod(0o700)
        arm.mkdir(parents=True, exist_ok=True)
        monkeypatch.setattr(flower, "superlink", no_superlink)
        monkeypatch.setattr(flower, "tool", lambda name: str(path))
        try:
            flower.run_on_flower(arm, 2, FederationConfig(), TrainingConfig(), lambda: None)
        finally:
            call.starts = len((arm / "starts").read_text().splitlines())

    (tmp_path / "late.txt").write_text(LATE)
    return call


def test_ray_that_is_late_on_a_busy_machine_gets_another_try(run, tmp_path):
    run(f"if [ $(wc -l < starts) -lt 3 ]; then cat {tmp_path}/late.txt; else touch model.safetensors; fi")
    assert run.starts == 3


def test_ray_that_is_always_late_is_named_with_what_to_do(run, tmp_path):
    with pytest.raises(
        UserError, match=r"node timed out during startup.*resume=.*/run goes on.*engine=inprocess"
    ) as error:
        run(f"cat {tmp_path}/late.txt")
    assert run.starts == 5
    assert "An error was encountered" not in str(error.value)


def test_any_other_failure_is_told_at_once(run):
    with pytest.raises(UserError, match=r"the run did not finish: ValueError: arm.json is empty. See .*flower.log"):
        run("echo Traceback; echo 'ValueError: arm.json is empty'; echo later")
    assert run.starts == 1


def test_a_model_from_before_does_not_make_a_failed_run_look_whole(run, tmp_path):
    arm = tmp_path / "run" / "arms" / "private"
    arm.mkdir(parents=True)
    (arm / "model.safetensors").touch()
    with pytest.raises(UserError, match="ValueError: no"):
        run("echo 'ValueError: no'")


@pytest.fixture
def dead_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "intranet.hospital")
    monkeypatch.delenv("NO_PROXY", raising=False)


def test_the_health_check_does_not_go_through_a_proxy(dead_proxy, tmp_path, monkeypatch):
    monkeypatch.setattr(flower, "_START_TIMEOUT_S", 20)
    monkeypatch.setattr("urllib.request.proxy_bypass", lambda host: False)
    (tmp_path / "log").touch()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sleeper = subprocess.Popen(["sleep", "60"])
        try:
            flower._wait_until_healthy(server.server_port, sleeper, tmp_path / "log")
        finally:
            sleeper.kill()
            sleeper.wait()
            server.shutdown()


class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_flower_s_processes_reach_one_another_past_the_user_s_proxy(dead_proxy):
    assert flower._no_proxy() == dict.fromkeys(("no_proxy", "NO_PROXY"), "intranet.hospital,127.0.0.1,localhost")
