"""A federation whose processes are killed with SIGKILL at random instants trains what an undisturbed one trains, and no
hospital pays twice.

It takes minutes a kill on a busy machine, and is run where CMRFED_FAULTS says how many kills there are to be.
CMRFED_KILL_SEED repeats the instants of another session.
"""

import os
import random
import secrets
import subprocess
import time
from contextlib import ExitStack, suppress

import numpy as np
import psutil
import pytest
from federations import Federation
from hospitals import CMRFED, approve, hospitals_of, said, wait_for
from proxies import MISSING, NGINX
from tiny_runs import tiny_run_config

from cmrfed import apps
from cmrfed.apps.server.submission import SubmittedRun
from cmrfed.apps.server.superlink import SuperLink
from cmrfed.apps.simulations.simulate import simulate
from cmrfed.config import UserError
from cmrfed.core.processes import stop
from cmrfed.site import Home
from cmrfed.updates import load_weights

KILLS = int(os.environ.get("CMRFED_FAULTS", "0"))
ROUNDS = max(3, KILLS // 2)
KINDS = ("door", "node", "superlink", "server app", "proxy")


class Killed(Federation):
    """A federation whose processes can be killed one by one and are started again, as systemd would."""

    def __init__(self, root, stack, homes):
        super().__init__(root, stack, [home.name for home in homes])
        self.homes, self.processes = homes, {}
        stack.callback(self.end)

    def begin(self):
        self.serve()
        for home in self.homes:
            self.join_and_register(home.name, f"node of {home.name}")
            approve(home)
            self.launch("door", home)
            self.launch("node", home)

    def launch(self, kind, home):
        socket, name = self.root / f"{home.name}.sock", f"node of {home.name}"
        own = {"door": ["serve", f"home={home}"], "node": ["node", f"node={self.root / name}"]}
        command = [*CMRFED, "site", *own[kind], f"socket={socket}"]
        with (self.root / f"{kind} {home.name}.log").open("ab") as output:
            self.processes[kind, home] = subprocess.Popen(
                command, stdout=output, stderr=output, env=self.environment, start_new_session=True
            )

    def kill(self, kind, instants):
        """Kill one of that kind, wherever it is; False where none runs just now."""
        if kind in ("door", "node"):
            home = instants.choice(self.homes)
            self.processes[kind, home].kill()
            self.processes[kind, home].wait()
            self.launch(kind, home)
        elif kind == "proxy":
            master = psutil.Process(self.proxy_process.pid)
            for one in [master, *master.children()]:  # else its workers would keep the port
                one.kill()
            self.proxy_process.wait()
            self.start_proxy()
        else:
            found = [one for one in psutil.process_iter() if self.is_server(one, kind)]
            for one in found:
                one.kill()
            psutil.wait_procs(found, timeout=10)
            if kind == "superlink":
                self.restart_superlink()
            return bool(found)
        return True

    def is_server(self, process, kind):
        with suppress(psutil.Error):
            command = " ".join(process.cmdline())
            mine = process.environ().get("FLWR_HOME") == str(self.coordinator.server / "flwr")
            return mine and {"superlink": "flower-superlink", "server app": "flwr-serverapp"}[kind] in command
        return False

    def restart_superlink(self):
        """As often as it takes until the killed one's port is free."""

        def started():
            with suppress(UserError):
                SuperLink(self.coordinator).start()
                return True
            return False

        wait_for(started, 300)

    def paid(self):
        """How many rounds sites have paid for, all of them together."""
        return sum(len(Home(home).ledger.rows()) for home in self.homes)

    def end(self):
        for process in self.processes.values():
            stop(process)


@pytest.mark.skipif(not KILLS, reason="CMRFED_FAULTS says no number of kills")
@pytest.mark.skipif(not NGINX, reason=MISSING)
def test_killed_at_random_instants_a_federation_trains_the_same_and_nobody_pays_twice(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    seed = os.environ.get("CMRFED_KILL_SEED", str(secrets.randbits(32)))
    instants = random.Random(seed)
    config = tiny_run_config(
        cache,
        data={"sources": {"phantom": "phantom-three"},
              "phantom": {"patients_per_vendor": 4, "vendors": ["Siemens", "GE", "Philips"]}},
        training={"local_steps": 1},
        federation={"rounds": ROUNDS, "minimum_replies": 3, "round_timeout_s": 300.0},
    )  # fmt: skip
    run = simulate(config, tmp_path)
    homes, landed = hospitals_of(run, tmp_path, allow_seeded_noise=True), []
    with ExitStack() as stack:
        here = Killed(tmp_path, stack, homes)
        here.begin()
        submitted = SubmittedRun.lay_out(config, here.coordinator, (), tmp_path / "submitted", None)
        here.cmrfed("submit", f"resume={submitted.folder}", "wait=false")
        deadline, paid = time.monotonic() + 600 + 60 * KILLS, 0
        while not finished(submitted) and time.monotonic() < deadline:
            time.sleep(instants.uniform(0.0, 3.0))
            if len(landed) < KILLS and here.paid() > paid:  # it is at work again after the last kill
                paid, kind = here.paid(), instants.choice(KINDS)
                landed += [kind] if here.kill(kind, instants) else []
            with suppress(UserError):  # a SuperLink that is not up yet
                SubmittedRun(submitted.folder).start(apps.FOLDER)  # which does nothing while it is at work
    told = f"CMRFED_KILL_SEED={seed}, killed {landed}\n{said(tmp_path)}"
    assert finished(submitted), told
    assert len(landed) >= min(KILLS, 2), told
    found, _ = load_weights(submitted.arm.folder / "model.safetensors")
    wanted, _ = load_weights(run.arm_folder("private") / "model.safetensors")
    for name, weight in wanted.items():
        np.testing.assert_allclose(found[name], weight, atol=1e-6, err_msg=told)
    for home in homes:
        assert [entry.round for entry in Home(home).ledger.rows()] == list(range(1, ROUNDS + 1)), told


def finished(run):
    return run.arm.state().round == ROUNDS and (run.arm.folder / "model.safetensors").exists()
