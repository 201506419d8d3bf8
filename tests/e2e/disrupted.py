"""A federation in real processes, any of which may be killed, and what it must come to all the same."""

import subprocess
from contextlib import suppress

import numpy as np
import psutil
from federations import Federation
from hospitals import CMRFED, approve, hospitals_of, wait_for
from tiny_runs import tiny_run_config

from cmrfed import apps
from cmrfed.apps.server.submission import SubmittedRun
from cmrfed.apps.server.superlink import SuperLink
from cmrfed.apps.simulations.simulate import simulate
from cmrfed.config import UserError
from cmrfed.core.processes import stop
from cmrfed.site import Home
from cmrfed.updates import load_weights

THREE = {
    "sources": {"phantom": "phantom-three"},
    "phantom": {"patients_per_vendor": 4, "vendors": ["Siemens", "GE", "Philips"]},
}


class Disrupted(Federation):
    """Hospitals and their coordinator at one run, which a simulation of the same seeds has been through undisturbed.
    Their processes can be killed one by one and are started again, as systemd would."""

    def __init__(self, root, cache, stack, rounds):
        self.config = tiny_run_config(
            cache,
            data=THREE,
            training={"local_steps": 1},
            federation={"rounds": rounds, "minimum_replies": 3, "round_timeout_s": 300.0},
        )
        self.rounds, self.simulated = rounds, simulate(self.config, root)
        self.homes, self.processes = hospitals_of(self.simulated, root, allow_seeded_noise=True), {}
        super().__init__(root, stack, [home.name for home in self.homes])
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
            for one in self.proxy_processes():
                one.kill()
            self.proxy_process.wait()
            self.restart_proxy()
        else:
            found = [one for one in psutil.process_iter() if self.is_server(one, kind)]
            for one in found:
                one.kill()
            psutil.wait_procs(found, timeout=10)
            if kind == "superlink":
                self.restart_superlink()
            return bool(found)
        return True

    def proxy_processes(self):
        """nginx and its workers, which would keep the port without it."""
        master = psutil.Process(self.proxy_process.pid)
        return [master, *master.children()]

    def is_server(self, process, kind):
        with suppress(psutil.Error):
            command = " ".join(process.cmdline())
            mine = process.environ().get("FLWR_HOME") == str(self.coordinator.server / "flwr")
            return mine and {"superlink": "superlink_process", "server app": "flwr-serverapp"}[kind] in command
        return False

    def restart_proxy(self):
        """As often as it takes until nobody's connection goes out by its port, which a test's proxy chose at random."""

        def started():
            with suppress(RuntimeError):
                self.start_proxy()
                return True
            return False

        wait_for(started, 300)

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

    def submit(self):
        """Have the run begin."""
        self.run = SubmittedRun.lay_out(self.config, self.coordinator, (), self.root / "submitted", None)
        self.cmrfed("submit", f"resume={self.run.folder}", "wait=false")

    def go_on(self):
        """Start the run again if it is not at work."""
        with suppress(UserError):  # a SuperLink that is not up yet
            SubmittedRun(self.run.folder).start(apps.FOLDER)

    @property
    def is_finished(self):
        return self.run.arm.state().round == self.rounds and (self.run.arm.folder / "model.safetensors").exists()

    def require_what_was_simulated(self, told):
        """The model of the simulation, and each round paid for once at each site."""
        assert self.is_finished, told
        found, _ = load_weights(self.run.arm.folder / "model.safetensors")
        wanted, _ = load_weights(self.simulated.arm_folder("private") / "model.safetensors")
        for name, weight in wanted.items():
            np.testing.assert_allclose(found[name], weight, atol=1e-6, err_msg=told)
        for home in self.homes:
            assert [entry.round for entry in Home(home).ledger.rows()] == list(range(1, self.rounds + 1)), told

    def end(self):
        for process in self.processes.values():
            stop(process)
