"""A run of real hospitals: laid out from its configuration, handed to the SuperLink, and followed until its end."""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flwr.common.constant import Status
from flwr.supercore.control import ControlHttpClient

from cmrfed.config import RunConfig, Stage, StoppedEarly, UserError, read_stage_json
from cmrfed.console import if_interrupted, progress_bar
from cmrfed.core import atomic
from cmrfed.federation import Arm, ArmPlan, refuse_few_sites
from cmrfed.federation.start import initial_weights, refuse_unusable_start
from cmrfed.privacy import NoPrivacy, Plan
from cmrfed.provision import Coordinator
from cmrfed.runs import at_work, calibrated_plan, new_run_folder, software_versions

from .causes import cause_of
from .control import RunStatus, control, log_of, run_status, start_run, stop_run
from .nodes import nodes_seen
from .progress import RoundLines

_RECORD = "submission.json"
_LOOK_EVERY_S = 2.0

_README = """# A run of real hospitals, as its coordinator has it

No patient's data are here: hospitals send updates, which were paid for, and nothing else.

| file | what it is |
| --- | --- |
| submission.json | all that the run was made from, and its numbers at the SuperLink |
| arms/*/arm.json | what every site is asked for |
| arms/*/rounds.jsonl | a line a round: who answered, who did not and why, bytes, each ledger's head |
| arms/*/model.safetensors | the generator, once all rounds are done |
| server.log | what the run logged at the server, once it is over |

`cmrfed submit resume=THIS_FOLDER` goes on with it, or follows it where it is at work; `cmrfed generate model=` draws
from its generator.
"""


class Submission(Stage):
    """submission.json. `flower_runs`: by which numbers the SuperLink knew the run, one for each time it was started."""

    name: str
    created: str
    versions: dict[str, str]
    federation: str
    config: RunConfig
    plan: Plan
    sites: tuple[str, ...]
    pretraining: dict[str, Any]
    flower_runs: tuple[int, ...] = ()


class SubmittedRun:
    """The folder of such a run. Raises UserError where it is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().resolve()
        if not (self.folder / _RECORD).exists():
            raise UserError(f"resume: {folder} has no {_RECORD}; give a folder that `cmrfed submit` wrote")
        self.record = read_stage_json(Submission, self.folder / _RECORD)
        self.coordinator = Coordinator(Path(self.record.federation))

    @classmethod
    def lay_out(
        cls, config: RunConfig, coordinator: Coordinator, sites: tuple[str, ...], out: Path, name: str | None
    ) -> "SubmittedRun":
        """A new run's folder, ready to be started. `sites` are those asked; with none, all that are registered.

        Raises UserError for all that can be wrong with it, before there is a folder.
        """
        asked = _registered(coordinator, sites)
        refuse_few_sites(config, len(asked))
        refuse_unusable_start(config)
        plan = calibrated_plan(config).among(len(asked), config.privacy)
        initial, pretraining = initial_weights(config)
        folder = new_run_folder(out, name)
        arm = ArmPlan(run=folder.name, name=_arm(plan), config=config, plan=plan, sites=asked)
        Arm.create(folder / "arms" / arm.name, arm, initial)
        record = Submission(
            name=folder.name,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=software_versions(),
            federation=str(coordinator.folder),
            config=config,
            plan=plan,
            sites=asked,
            pretraining=pretraining,
        )
        atomic.write_text(folder / "README.md", _README)
        atomic.write_text(folder / _RECORD, record.model_dump_json(indent=2))
        return cls(folder)

    @property
    def arm(self) -> Arm:
        return Arm.open(self.folder / "arms" / _arm(self.record.plan))

    def start(self, apps: Path, membership_audit: bool = False) -> None:
        """Have the SuperLink run it with the apps of that folder. Where it is at work already, nothing happens.

        Raises UserError where no SuperLink answers, or another process starts it at this moment.
        """
        with at_work(self.folder), self._control() as client:
            if self._is_at_work(client):
                return
            (self.arm.folder / "model.safetensors").unlink(missing_ok=True)  # of a start that stopped early
            run_config = {"arm": str(self.arm.folder), "register": str(self.coordinator.state)}
            number = start_run(client, apps, {**run_config, "membership_audit": membership_audit})
            self.record = self.record.model_copy(update={"flower_runs": (*self.record.flower_runs, number)})
            atomic.write_text(self.folder / _RECORD, self.record.model_dump_json(indent=2))

    def stop(self) -> bool:
        """End it at the server; False where it was not at work. Whole rounds are kept, and so are paid answers."""
        with self._control() as client:
            if not self._is_at_work(client):
                return False
            stop_run(client, self.record.flower_runs[-1])
            return True

    def presence(self) -> Mapping[str, bool]:
        """Of each of its sites whether the SuperLink says that its node is connected."""
        seen = nodes_seen(self._address, self._authority)
        keys = {name: key.pem for name, key in self.coordinator.sites.admitted.items()}
        return {site: site in keys and keys[site] in seen and seen[keys[site]].connected for site in self.record.sites}

    def follow(self) -> None:
        """Show its rounds until it is over. Raises StoppedEarly where rounds are missing, UserError where it failed,
        each with the cause."""
        arm, kept = self.arm, "the run goes on at the server; to follow it: cmrfed submit resume="
        lines = RoundLines(arm)
        with if_interrupted(lambda: f"{kept}{self.folder}"), progress_bar("rounds") as report:
            while not (ended := self._ended()):
                lines.show(report)
                time.sleep(_LOOK_EVERY_S)
            lines.show(report)
        if not (ended.completed and (arm.folder / "model.safetensors").exists()):
            raise UserError(f"the run did not finish: {ended.details} Finished rounds are kept in {self.folder}")
        if (stopped := arm.folder / "stopped.txt").exists():
            why = stopped.read_text(encoding="utf-8").strip()
            raise StoppedEarly(f"arm {arm.name} stopped after round {why}", self.folder)

    def _ended(self) -> RunStatus | None:
        """How it ended, with the cause; None while it is at work, and while the SuperLink is away."""
        number = self.record.flower_runs[-1]
        with contextlib.suppress(UserError), self._control() as client:
            status = run_status(client, number)
            if status is None:
                return RunStatus(Status.FINISHED, details="the SuperLink does not know it any more.")
            if status.over:
                log = log_of(client, number)
                atomic.write_text(self.folder / "server.log", log)
                return replace(status, details=f"{cause_of(log)} See {self.folder / 'server.log'}.")
        return None

    def _is_at_work(self, client: ControlHttpClient) -> bool:
        last = self.record.flower_runs[-1:]
        status = run_status(client, last[0]) if last else None
        return status is not None and not status.over

    def _control(self) -> contextlib.AbstractContextManager[ControlHttpClient]:
        return control(self._address, self._authority)

    @property
    def _address(self) -> str:
        return f"127.0.0.1:{self.coordinator.description.superlink_port}"

    @property
    def _authority(self) -> Path:
        return self.coordinator.server / "ca.crt"


def _arm(plan: Plan) -> str:
    return "non_private" if isinstance(plan, NoPrivacy) else "private"


def _registered(coordinator: Coordinator, sites: tuple[str, ...]) -> tuple[str, ...]:
    known = sorted(coordinator.sites.admitted)
    if strangers := sorted(set(sites).difference(known)):
        raise UserError(
            f"sites: {', '.join(strangers)} is not registered in {coordinator.folder}; registered are "
            f"{', '.join(known) or 'none'}"
        )
    return tuple(sorted(sites) or known)
