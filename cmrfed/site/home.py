"""A site's home folder, which is its own and never leaves it:

slices.safetensors   its prepared slices
held_out.safetensors  slices of the patients it keeps out of every training, to audit with, where it keeps any
division.json        who is trained on and who is held out (`cmrfed.site.division`), where anybody is
site.yaml            its policy
identity.pem         the key that its peers know it by, where noise is shared
ledger.sqlite        what its patients have spent (`cmrfed.privacy.ledger`), and ledger.anchor beside it
outbox/              the last answer of each run, so that a request lost on the way costs nothing to repeat
plans/               of each run, the plan it began with: no later request may bring another
members/             of each run, the patients it began with, by their keys: an audit counts nobody else as a member
sessions/            of each run, the secure aggregation it is in the middle of: secrets, mode 0600
audits/              of each run, the one audit that was answered
rounds.jsonl         a local log of rounds and their times
progress.json        the step at work, for whoever watches
"""

import hashlib
import json
import time
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from cmrfed.config import UserError, read_stage
from cmrfed.privacy import Cohort, GaussianEvent, Ledger
from cmrfed.privacy.cohort import people
from cmrfed.privacy.secure_aggregation import Identity
from cmrfed.site.division import HELD_OUT, TRAINED_ON, read_division
from cmrfed.site.policy import Refusal, SitePolicy
from cmrfed.site.request import Request
from cmrfed.slices import Slices
from cmrfed.training import Progress
from cmrfed.updates import write_durably


class Home:
    """The folder, and the policy in it. Raises UserError when either is missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        policy = folder / "site.yaml"
        if not policy.exists():
            raise UserError(f"{policy}: is missing; `cmrfed prepare home={folder}` writes one to edit")
        self.policy = read_stage(SitePolicy, OmegaConf.load(policy), where=str(policy))  # type: ignore[arg-type]

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.folder / "ledger.sqlite")

    @property
    def identity(self) -> Identity:
        return Identity.load(self.folder / "identity.pem")

    def slices(self) -> Slices:
        """The slices to train on: of nobody who is held out, whatever was put into the file."""
        slices, division = Slices.load(self.folder / TRAINED_ON), read_division(self.folder)
        names = set(slices.patient_names)
        kept_out = names.intersection(division.held_out if division else ())
        return slices.subset(names - kept_out) if kept_out else slices

    def members(self, run: str) -> Slices:
        """Of the slices to train on, those of patients with whom the run began. Who came later was trained on little or
        never, and as a member would make a leak look smaller than it is."""
        slices, path = self.slices(), self._members(run)
        if not path.exists():
            return slices
        began = Cohort(bytes.fromhex(path.read_text()))
        return slices.subset(filter(began.holds, slices.patient_names))

    def held_out_slices(self) -> Slices:
        """The slices of patients who are kept out. Raises UserError where there are none."""
        path = self.folder / HELD_OUT
        if not path.exists():
            raise UserError(
                f"{path}: is missing; an audit needs patients who were held out before any training "
                "(`cmrfed prepare hold_out=0.2`)"
            )
        return Slices.load(path)

    def outbox(self, run: str) -> Path:
        return self.folder / "outbox" / f"{_safe(run)}.safetensors"

    def session(self, run: str) -> Path:
        return self.folder / "sessions" / f"{_safe(run)}.json"

    def audit(self, run: str) -> Path:
        return self.folder / "audits" / f"{_safe(run)}.json"

    def kept_audit(self, path: Path, key: str) -> str | None:
        """The answer already given to this very question; None before the first. Raises Refusal for a second one."""
        if not path.exists():
            return None
        asked, _, answer = path.read_text().partition("\n")
        if asked != key:
            raise Refusal("this run's audit was answered already, for other weights or settings; there is one a run")
        return answer

    def refuse_audit(self, run: str, family: str, members: Slices, non_members: Slices) -> None:
        """Raise Refusal before any patient of an audit that cannot be answered is touched."""
        self.policy.refuse_audit(family, members.number_of_patients, non_members.number_of_patients)
        if not self._plan(run).exists():
            raise Refusal("this site took no part in that run; there is nothing of its patients to find")
        ours, others = people([Cohort.of(self.slices()), Cohort.of(non_members)])
        if both := len(np.intersect1d(ours, others)):
            raise UserError(
                f"{self.folder}: {both} patients are both trained on and held out, by names or images; take every "
                "copy of them out of the data and prepare again"
            )
        if known := self.ledger.exposed(Cohort.of(non_members), run):
            raise Refusal(
                f"{known} of the patients who are held out were trained on in this run before, as the ledger has it; "
                "it cannot be audited here"
            )

    def refuse(self, request: Request, cohort: Cohort) -> None:
        """Raise Refusal or BudgetExceeded before anything is spent on a request that cannot be answered."""
        self.policy.refuse_outside(request, cohort.number_of_patients)
        self._pin_plan(request)
        self._pin_members(request.run, cohort)
        if plan := request.task.plan:
            event = plan.event(request.task.training.local_steps)
            limits = plan.target_epsilon, self.policy.maximum_epsilon
            self.ledger.refuse_beyond(cohort, request.run, event, plan.delta, *limits)

    def _pin_plan(self, request: Request) -> None:
        """Keep the first plan of each run. Raise Refusal when a later request of that run brings another."""
        path, plan = self._plan(request.run), request.task.plan
        text = plan.model_dump_json() if plan else "null"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            write_durably(path, text)
        elif path.read_text() != text:
            raise Refusal("the plan is not the one this run began with; start another run for another plan")

    def _pin_members(self, run: str, cohort: Cohort) -> None:
        """Keep the patients with whom each run began."""
        path = self._members(run)
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            write_durably(path, cohort.members.hex(), mode=0o600)

    def _members(self, run: str) -> Path:
        return self.folder / "members" / _safe(run)

    def _plan(self, run: str) -> Path:
        return self.folder / "plans" / f"{_safe(run)}.json"

    def pay(self, request: Request, cohort: Cohort, event: GaussianEvent, answer: str) -> None:
        """Commit the event to the ledger; `answer` is the digest of what is about to leave. Raises BudgetExceeded."""
        plan = request.task.plan
        if plan is None:
            raise UserError("only a private run is paid for")
        self.ledger.record(
            cohort,
            request.run,
            request.task.round,
            answer,
            event,
            plan.delta,
            run_epsilon=plan.target_epsilon,
            total_epsilon=self.policy.maximum_epsilon,
        )

    def progress(self, request: Request) -> Progress:
        """Writes the step at work for whoever watches this folder, at most twice a second."""
        path, last = self.folder / "progress.json", [0.0]

        def write(step: int, steps: int) -> None:
            if time.monotonic() - last[0] > 0.5 or step == steps:
                last[0] = time.monotonic()
                temporary = path.with_suffix(".tmp")
                temporary.write_text(json.dumps({"run": request.run, "round": request.task.round, "step": step}))
                temporary.replace(path)

        return write

    def log_round(self, request: Request, started: float) -> None:
        """Add a line to the local log."""
        line = {"run": request.run, "round": request.task.round, "started": started, "finished": time.time()}
        with (self.folder / "rounds.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")


def _safe(run: str) -> str:
    """A server chooses a run's name; a path of ours must not follow it."""
    return hashlib.sha256(run.encode()).hexdigest()[:16]
