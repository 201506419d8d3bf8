"""What a server and a network go through in a year happens to a run within minutes, and it ends as if nothing had."""

import signal
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
from disrupted import Disrupted
from federations import wait_for_words
from hospitals import said, wait_for
from proxies import MISSING, NGINX

CUT_S = 60


@pytest.mark.skipif(not NGINX, reason=MISSING)
def test_a_network_cut_and_a_certificate_that_ended_cost_a_run_time_and_nothing_else(cache, tmp_path):
    """No packet passes for a minute, then the server's certificate has expired: each node's console says so, and what
    the coordinator does about it is enough, without a word to the sites."""
    with ExitStack() as stack:
        here = Disrupted(tmp_path, cache, stack, rounds=4)
        here.begin()
        here.submit()
        wait_for(lambda: here.paid() > 0, 300)
        proxies = here.proxy_processes()
        for one in proxies:
            one.send_signal(signal.SIGSTOP)  # as behind a cut line, whoever asks hears nothing, not even a refusal
        time.sleep(CUT_S)
        for one in proxies:
            one.send_signal(signal.SIGCONT)

        here.coordinator.renew_certificate(datetime.now(UTC) - timedelta(days=800))
        here.kill("proxy", None)
        for home in here.homes:
            wait_for_words(
                r"its certificate is not accepted \(certificate has expired\)",
                tmp_path / f"node {home.name}.log",
                seconds=180,
            )
        assert not here.is_finished
        assert "server.pem: until" in here.cmrfed("provision", "rotate", "folder=federation")
        here.kill("proxy", None)  # which reads the new one
        for home in here.homes:
            wait_for_words("answers again", tmp_path / f"node {home.name}.log", seconds=180)

        deadline = time.monotonic() + 600
        while not here.is_finished and time.monotonic() < deadline:
            time.sleep(1)
            here.go_on()
    here.require_what_was_simulated(said(tmp_path))
