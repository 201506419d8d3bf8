"""A run that is submitted: refused before there is a folder, started once, followed to its true end."""

from contextlib import contextmanager

import httpx
import pytest
from flwr.proto.control_pb2 import (
    ListNodesResponse,
    ListRunsResponse,
    StartRunResponse,
    StopRunResponse,
    StreamLogsResponse,
)
from flwr.proto.node_pb2 import NodeInfo
from flwr.proto.run_pb2 import Run, RunStatus
from provisioned import NOW, joined, provisioned
from refusals import refuses
from tiny_runs import tiny_run_config

from cmrfed import apps
from cmrfed.apps.server import control, nodes, submission
from cmrfed.apps.server.submission import SubmittedRun
from cmrfed.config import StoppedEarly, UserError
from cmrfed.core.json_lines import append_line
from cmrfed.federation import Arm
from cmrfed.provision.node_key import read_node_key


class SuperLink(control.ControlHttpClient):
    """Keeps runs as Flower's SuperLink does; `play` is called each time somebody looks at them."""

    def __init__(self):
        self.runs, self.asked, self.play, self.log, self.nodes = {}, [], lambda: None, "", []

    def StartRun(self, request):  # noqa: N802 - Flower's names
        number = len(self.runs) + 1
        self.runs[number] = RunStatus(status="running")
        self.asked.append({key: value.string or value.bool for key, value in request.override_config.items()})
        assert request.fab.content, "the bundle that sites approve"
        return StartRunResponse(run_id=number)

    def ListRuns(self, request):  # noqa: N802
        self.play()
        return ListRunsResponse(run_dict={n: Run(run_id=n, status=status) for n, status in self.runs.items()})

    def StopRun(self, request):  # noqa: N802
        self.end("stopped")
        return StopRunResponse(success=True)

    def StreamLogs(self, request):  # noqa: N802
        yield StreamLogsResponse(log_output=self.log)

    def ListNodes(self, request):  # noqa: N802
        return ListNodesResponse(nodes_info=self.nodes)

    def end(self, how):
        self.runs[max(self.runs)] = RunStatus(status="finished", sub_status=how)


@pytest.fixture
def superlink(monkeypatch):
    made = SuperLink()

    @contextmanager
    def connected(address, authority):
        assert address == "127.0.0.1:8000" and authority.name == "ca.crt"
        yield made

    monkeypatch.setattr(submission, "control", connected)
    monkeypatch.setattr(nodes, "control", connected)
    monkeypatch.setattr(submission, "_LOOK_EVERY_S", 0.0)
    return made


@pytest.fixture
def coordinator(tmp_path):
    """Both sites are registered."""
    made = provisioned(tmp_path / "federation")
    for site in ("North", "South 2"):
        key = read_node_key(joined(made, site, tmp_path / site).public.read_text(encoding="utf-8"), "mail")
        made.register(site, key, key.fingerprint, NOW)
    return made


@pytest.fixture
def laid_out(coordinator, tmp_path):
    def make(sites=(), **changes):
        return SubmittedRun.lay_out(
            tiny_run_config(tmp_path, **changes), coordinator, sites, tmp_path / "runs", "hearts"
        )

    return make


def test_all_that_are_registered_are_asked_or_those_that_are_named(laid_out):
    assert laid_out().arm.sites == ("North", "South 2")
    named = laid_out(sites=("South 2",))
    assert named.arm.sites == named.record.sites == ("South 2",)
    assert named.arm.plan == named.record.plan and named.arm.state().round == 0
    assert SubmittedRun(named.folder).record == named.record
    assert "No patient's data are here" in (named.folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("sites", "changes", "words"),
    [
        (("West",), {}, ["sites: West is not registered", "North, South 2"]),
        ((), {"federation": {"minimum_replies": 3}}, ["federation.minimum_replies"]),
        ((), {"generator": {"init": "/nowhere"}}, ["generator.init"]),
        ((), {"privacy": {"mode": "distributed", "dropouts": 1}, "training": {"local_steps": 1}}, ["dropouts"]),
    ],
)
def test_what_cannot_be_run_is_refused_before_there_is_a_folder(sites, changes, words, laid_out, tmp_path):
    with refuses(*words):
        laid_out(sites, **changes)
    assert not (tmp_path / "runs").exists()


def test_a_run_is_started_once_however_often_it_is_asked_for_and_again_once_it_ended(laid_out, superlink):
    run = laid_out()
    run.start(apps.FOLDER)
    SubmittedRun(run.folder).start(apps.FOLDER)
    assert len(superlink.asked) == 1
    assert superlink.asked[0] == {
        "arm": str(run.arm.folder), "register": str(run.coordinator.server), "membership_audit": False
    }  # fmt: skip
    assert SubmittedRun(run.folder).stop() and not SubmittedRun(run.folder).stop()
    again = SubmittedRun(run.folder)
    again.start(apps.FOLDER, membership_audit=True)
    assert again.record.flower_runs == (1, 2) and superlink.asked[1]["membership_audit"] is True


def test_who_is_connected_is_told_by_the_site_whose_key_the_node_has(laid_out, superlink, coordinator):
    run, keys = laid_out(), {name: key.pem for name, key in coordinator.sites.admitted.items()}
    superlink.nodes = [NodeInfo(public_key=keys["North"], status="online"), NodeInfo(public_key=b"x", status="online")]
    assert run.presence() == {"North": True, "South 2": False}


def a_round(arm: Arm, number: int, **notes):
    sites = {site: {"reason": None, "loss": None, "ledger_head": None} for site in arm.sites}
    line = {"round": number, "bytes": {"down": 2_000_000, "up": 1000}, "sites": sites | notes}
    append_line(arm.folder / "rounds.jsonl", line)


def test_a_run_is_followed_round_by_round_to_its_model(laid_out, superlink, capsys):
    run = laid_out()
    run.start(apps.FOLDER)
    rounds = iter((1, 2))

    def play():
        if (number := next(rounds, None)) is None:
            (run.arm.folder / "model.safetensors").touch()
            superlink.end("completed")
        else:
            a_round(run.arm, number, North={"reason": "refused \x1b[2J", "loss": None, "ledger_head": None})

    superlink.play = play
    run.follow()
    said = capsys.readouterr().out
    assert "round 1/2  2.0 MB down, 1.0 kB up  epsilon " in said and "round 2/2" in said
    assert "North: refused ?[2J  South 2" in said, "what others wrote steers no terminal"
    epsilons = [
        float(line.split("epsilon ")[1].split()[0]) for line in said.splitlines() if line.startswith("  round ")
    ]
    assert epsilons[0] < epsilons[1] == pytest.approx(run.record.plan.target_epsilon, abs=0.01)
    assert (run.folder / "server.log").exists()


@pytest.mark.parametrize("old_model", [False, True])
def test_a_run_that_failed_is_no_success_whatever_lies_in_its_folder(laid_out, superlink, old_model):
    run = laid_out()
    if old_model:
        (run.arm.folder / "model.safetensors").touch()
    run.start(apps.FOLDER)
    superlink.log = "Traceback ...\nValueError: arm.json is empty\n"
    superlink.play = lambda: superlink.end("failed")
    with refuses("the run did not finish: ValueError: arm.json is empty.", "server.log", run.folder):
        run.follow()


def test_a_run_that_the_superlink_has_forgotten_is_over(laid_out, superlink):
    run = laid_out()
    run.start(apps.FOLDER)
    superlink.runs.clear()
    with refuses("does not know it any more"):
        run.follow()


def test_a_run_that_stopped_early_says_after_which_round_and_ends_with_code_3(laid_out, superlink):
    run = laid_out()
    run.start(apps.FOLDER)
    (run.arm.folder / "model.safetensors").touch()
    (run.arm.folder / "stopped.txt").write_text("1: too few\n")
    superlink.end("completed")
    with pytest.raises(StoppedEarly, match="after round 1: too few") as stop:
        run.follow()
    assert stop.value.exit_code == 3


def test_a_superlink_that_is_away_for_a_while_ends_nothing(laid_out, superlink):
    run = laid_out()
    run.start(apps.FOLDER)
    tries = []

    def play():
        tries.append(1)
        if len(tries) < 3:
            raise UserError("the SuperLink does not answer as it should")
        (run.arm.folder / "model.safetensors").touch()
        superlink.end("completed")

    superlink.play = play
    run.follow()
    assert len(tries) == 3


def test_a_folder_that_is_no_submitted_run_is_named(tmp_path):
    with refuses("resume:", tmp_path, "submission.json"):
        SubmittedRun(tmp_path)


@pytest.mark.parametrize("name", ["StartRun", "ListRuns", "StopRun", "StreamLogs"])
def test_flowers_own_client_has_what_is_asked_of_it(name):
    assert hasattr(control.ControlHttpClient, name)


def test_what_goes_wrong_on_the_way_to_a_superlink_is_one_line(coordinator):
    with refuses("127.0.0.1:1", "does not answer"), control.control("127.0.0.1:1", coordinator.server / "ca.crt"):
        raise httpx.ConnectError("refused")
