"""The coordinator's SuperLink as a process: it comes up or the cause is said; what is stopped is that very process."""

import subprocess
import sys

import psutil
import pytest
from provisioned import provisioned
from refusals import refuses

from cmrfed.apps.server import superlink
from cmrfed.apps.server.superlink import SuperLink, proxy_answers

SLEEPS = f"#!/bin/sh\nexec {sys.executable} -c 'import time; time.sleep(600)'\n"


@pytest.fixture
def coordinator(tmp_path):
    return provisioned(tmp_path / "federation")


@pytest.fixture
def answering(monkeypatch):
    """Whether a SuperLink answers, as the test says."""
    state = {"answers": False}
    monkeypatch.setattr(SuperLink, "answers", lambda self: state["answers"])
    return state


def script(coordinator, text):
    path = coordinator.server / "superlink.sh"
    path.write_text(text)
    path.chmod(0o700)


def test_one_that_does_not_come_up_is_told_by_its_cause_and_leaves_no_process(coordinator, answering):
    script(coordinator, "#!/bin/sh\necho 'OSError: address already in use'; exit 1\n")
    with refuses("did not start: OSError: address already in use.", "superlink.log"):
        SuperLink(coordinator).start()
    assert not (coordinator.server / "superlink.json").exists()


def test_one_that_never_answers_is_ended(coordinator, answering, monkeypatch):
    monkeypatch.setattr(superlink, "_START_S", 0.5)
    script(coordinator, SLEEPS)
    before = set(psutil.pids())
    with refuses("did not start"):
        SuperLink(coordinator).start()
    assert not {pid for pid in set(psutil.pids()) - before if "sleep(600)" in _command(pid)}


def _command(pid):
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""


def test_what_runs_is_not_started_again_and_is_found_and_ended_by_another_process(coordinator, answering, monkeypatch):
    script(coordinator, SLEEPS)
    monkeypatch.setattr(SuperLink, "answers", lambda self: (coordinator.server / "superlink.json").exists())
    SuperLink(coordinator).start()
    process = SuperLink(coordinator)._process()
    with refuses("runs already"):
        SuperLink(coordinator).start()
    assert SuperLink(coordinator).stop() and not process.is_running()
    assert not SuperLink(coordinator).stop()


def test_another_process_that_got_its_number_is_left_alone(coordinator, answering):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as other:
        started = superlink._Started(number=other.pid, born=psutil.Process(other.pid).create_time() - 100)
        (coordinator.server / "superlink.json").write_text(started.model_dump_json())
        assert not SuperLink(coordinator).stop()
        assert other.poll() is None
        other.kill()


def test_one_that_somebody_else_started_is_not_ended_and_that_is_said(coordinator, answering):
    answering["answers"] = True
    with refuses("was not started by cmrfed server start", "systemctl stop"):
        SuperLink(coordinator).stop()


def test_where_nothing_listens_there_is_neither_superlink_nor_proxy(coordinator):
    assert not SuperLink(coordinator).answers() and not proxy_answers(coordinator)
