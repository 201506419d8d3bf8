"""A site's home folder, which is its own and never leaves it:

slices.safetensors   its prepared slices
held_out.safetensors  slices of the patients it keeps out of every training, to audit with, where it keeps any
division.json        who is trained on and who is held out, where anybody is, and the secret key that sides are drawn by
site.yaml            its policy
identity.pem         the key that its peers know it by, where noise is distributed
connection.yaml      how its node finds the federation's server, from its invitation
ca.crt               the certificate by which that server is known
node.key, node.pub   the key by which the server knows its node, and the half of it that the coordinator was sent
ledger.head          the last row that this home saw of the hospital's ledger, which lies elsewhere
attempts/            of each run, the secret from which the answer at work is drawn, until the answer is whole
outbox/              the last answer of each run, so that a request lost on the way costs nothing to repeat, and what of
                     its updates is still to be sent
plans/               of each run, the plan it began with: no later request may bring another
members/             of each run, the patients it began with, by their keys: nobody else counts as a member in an audit
weights/             of each run, the global weights of its last request: what a membership audit attacks, and what the
                     next request need not bring again
sessions/            of each run, the secure aggregation it is in the middle of: secrets
audits/              of each run, the one membership audit that was answered
rounds.jsonl         a local log of rounds and their times
refusals.jsonl       a local log of what was declined or failed, and why: none of it is told to a server
progress.json        the step at work, for whoever watches
paused.json          while it is there nothing is answered (`cmrfed.site.pause`)

All of it is readable by the site's own account alone.
"""

import hashlib
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from cmrfed.config import Stage, UserError, read_stage_json, read_stage_yaml
from cmrfed.core import atomic
from cmrfed.core.json_lines import append_line
from cmrfed.core.progress import Progress
from cmrfed.outputs import open_to_others
from cmrfed.privacy import Cohort, Ledger, Limits, NoPrivacy, Paid, Plan, Random, epsilon, fresh_key, individuals
from cmrfed.privacy.cohort import people
from cmrfed.privacy.secure_aggregation import Identity
from cmrfed.site.division import HELD_OUT, TRAINED_ON, read_division
from cmrfed.site.pause import refuse_paused
from cmrfed.site.policy import Refusal, SitePolicy, default_ledger
from cmrfed.site.request import Request, digest
from cmrfed.slices import Slices
from cmrfed.training import private_random
from cmrfed.updates import Weights, load_weights, save_weights

_log = logging.getLogger(__name__)
_YEAR_S = 365 * 24 * 3600.0


T = TypeVar("T")


@dataclass(frozen=True)
class Admission:
    """A paid request: the slices of those who take part, and where sample and noise come from."""

    slices: Slices
    random: Random
    receipt: str

    def paid(self, answer: T) -> Paid[T]:
        """The answer that was paid for, computed from these slices with this randomness."""
        return Paid(answer, self.receipt)


class _Attempt(Stage):
    """What an answer at work is for, and the secret it is drawn from."""

    request: str
    key: str


class _Pinned(Stage):
    """The plan that a run began with here."""

    plan: Plan


class Home:
    """The folder, and the policy in it. Raises UserError when either is missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if said := open_to_others(folder, (TRAINED_ON, HELD_OUT)):
            _warn_once(said)
        policy = folder / "site.yaml"
        if not policy.exists():
            raise UserError(f"{policy}: is missing; `cmrfed prepare home={folder}` writes one to edit")
        self.policy = read_stage_yaml(SitePolicy, policy)

    @cached_property
    def ledger(self) -> Ledger:
        """The hospital's. Raises UserError where an earlier version left one in this home."""
        named = self.policy.ledger
        path = (self.folder / Path(named).expanduser()).resolve() if named else default_ledger()
        old = self.folder / "ledger.sqlite"
        if old.exists() and path != old.resolve():
            raise UserError(
                f"{old}: is a ledger of this home alone, and {path} is the hospital's; what it holds must not be "
                "forgotten: move it and ledger.anchor there, or name it as ledger in site.yaml"
            )
        return Ledger(path, witness=self.folder / "ledger.head")

    @property
    def identity(self) -> Identity:
        return Identity.load(self.folder / "identity.pem")

    def slices(self) -> Slices:
        """The slices to train on: of nobody who is held out and of nobody twice, whatever was put into the file."""
        slices, division = Slices.load(self.folder / TRAINED_ON), read_division(self.folder)
        names = set(slices.patient_names)
        kept_out = names.intersection(division.held_out if division else ())
        return individuals(slices.subset(names - kept_out) if kept_out else slices)

    def members(self, run: str) -> Slices:
        """Of the slices to train on, those of patients with whom the run began. Who came later was trained on little or
        never, and as a member would make a leak look smaller than it is."""
        slices, path = self.slices(), self._members(run)
        if not path.exists():
            return slices
        began = Cohort(bytes.fromhex(path.read_text(encoding="utf-8")))
        return slices.subset(record.patient for record in slices.records if began.holds(record))

    def held_out_slices(self) -> Slices:
        """The slices of patients who are kept out. Raises UserError where there are none."""
        path = self.folder / HELD_OUT
        if not path.exists():
            raise UserError(
                f"{path}: is missing; a membership audit needs patients who were held out before any training "
                "(`cmrfed prepare hold_out=0.2`)"
            )
        return Slices.load(path)

    # what a request may do

    def refuse(self, request: Request) -> None:
        """Raise Refusal by public facts alone: the request, this site's policy, and the plan the run began with."""
        self.policy.refuse_outside(request, self._image_size)
        self._pin_plan(request)

    def refuse_beyond(self, request: Request) -> None:
        """Raise BudgetExceeded where the run's budget does not allow another release of that kind; nothing is spent.

        Not for a request that may have been paid for already: `admission` asks where it pays."""
        if request.task.plan.private:
            event = request.task.private_plan.event(request.task.training.local_steps)
            self.ledger.refuse_beyond(self.row_name(request.run), event, self._limits(request))

    @contextmanager
    def admission(self, request: Request, slices: Slices, key: str) -> Iterator[Admission]:
        """Pay for the one answer to the request that `key` names, before anything is computed from these slices.

        Sample and noise are drawn from a secret that is on disk before the payment and until the answer is whole: an
        answer that is interrupted or fails, and is asked for again, is drawn again from the same secret and is the same
        release. So a crash costs nothing, and a failure tells no more the second time. Those whose budget is used up
        are not among the slices. Raises BudgetExceeded where the run's budget is.
        """
        plan, path = request.task.private_plan, self._file("attempts", request.run, "json")
        attempt = self._attempt(path, key)
        receipt = hashlib.sha256((attempt.key + key).encode()).hexdigest()
        cohort = Cohort.of(slices)
        admitted = self.ledger.paid(self.row_name(request.run), receipt)
        if admitted is None:
            _, admitted = self.ledger.record(
                cohort,
                self.row_name(request.run),
                request.task.round,
                receipt,
                plan.event(request.task.training.local_steps),
                self._limits(request),
            )
        taking_part = [record.patient for record in slices.records if admitted.holds(record)]
        yield Admission(slices.subset(taking_part), private_random(request.task, bytes.fromhex(attempt.key)), receipt)
        path.unlink()  # the answer is whole and on disk; what it was drawn from could take its noise away

    def _attempt(self, path: Path, key: str) -> _Attempt:
        """The attempt at the answer `key`, begun now or before an interruption."""
        if path.exists() and (begun := read_stage_json(_Attempt, path)).request == key:
            return begun
        attempt = _Attempt(request=key, key=fresh_key().hex())
        atomic.write_text(path, attempt.model_dump_json(), mode=atomic.PRIVATE)
        return attempt

    def _limits(self, request: Request) -> Limits:
        plan = request.task.private_plan
        return Limits(
            run_epsilon=plan.target_epsilon,
            total_epsilon=self.policy.maximum_epsilon,
            delta=plan.delta,
            order=self.policy.renyi_order,
            accountant=plan.accountant,
            total_delta=self.policy.delta_of_a_rule,
        )

    def row_name(self, run: str) -> str:
        """What a run is called in the ledger, which other sites of this hospital may write to as well."""
        return f"{run} at {self.policy.name}"

    def spent_in(self, run: str) -> list[tuple[int, float]]:
        """(Round, epsilon of all the run's releases up to it) by the plan's accountant; for the site's own eyes."""
        path, events, spent = self.plan(run), [], []
        if not path.exists() or isinstance(plan := read_stage_json(_Pinned, path).plan, NoPrivacy):
            return []
        for row in self.ledger.rows(run=self.row_name(run)):
            events.append(row.event)
            spent.append((row.round, epsilon(events, plan.delta, plan.accountant)))
        return spent

    def _pin_plan(self, request: Request) -> None:
        """Keep the first plan of each run. Raise Refusal when a later request of that run brings another."""
        path, text = self.plan(request.run), _Pinned(plan=request.task.plan).model_dump_json()
        if not path.exists():
            atomic.write_text(path, text, mode=atomic.PRIVATE)
        elif path.read_text(encoding="utf-8") != text:
            raise Refusal("the plan is not the one this run began with; start another run for another plan")

    def begin(self, request: Request, slices: Slices, weights: Weights) -> str:
        """Keep with whom the run began and the global weights it has come to; returns the digest of request, weights
        and patients, which names the answer."""
        members = self._members(request.run)
        cohort = Cohort.of(slices)
        if not members.exists():
            atomic.write_text(members, cohort.members.hex(), mode=atomic.PRIVATE)
        save_weights(self._file("weights", request.run, "safetensors"), weights, {"round": request.task.round})
        return digest(cohort.fingerprint + request.model_dump_json(), weights)

    def whole_weights(self, request: Request, sent: Weights) -> Weights:
        """All the weights to train from: those that came with the request, and for the others those of the run's last
        one. Raises Refusal where these together are not the weights that the server means; it then sends all."""
        if request.weights in (None, digest("", sent)):
            return sent
        whole = self.last_weights(request.run) | sent
        if digest("", whole) != request.weights:
            raise Refusal("the weights that came and those of this run's last request are not the ones that are meant")
        return whole

    @property
    def _image_size(self) -> int:
        return int(Slices.load(self.folder / TRAINED_ON).images.shape[1])

    # membership audits

    def last_weights(self, run: str) -> Weights:
        """The global weights of the run's last request. Raises Refusal where this site took no part in it."""
        path = self._file("weights", run, "safetensors")
        if not path.exists():
            raise Refusal("this site took no part in that run; there is nothing of its patients to find")
        return load_weights(path)[0]

    def membership_audit(self, run: str) -> Path:
        return self._file("audits", run, "json")

    def kept_membership_audit(self, path: Path, key: str) -> str | None:
        """The answer already given to this very question; None before the first. Raises Refusal for a second one."""
        if not path.exists():
            return None
        asked, _, answer = path.read_text(encoding="utf-8").partition("\n")
        if asked != key:
            raise Refusal("this run's membership audit was answered already, for other settings; there is one a run")
        return answer

    def refuse_membership_audit(self, run: str, family: str, members: Slices, non_members: Slices) -> None:
        """Raise Refusal before any patient of a membership audit that cannot be answered is touched."""
        answered = [path for path in (self.folder / "audits").glob("*.json") if path != self.membership_audit(run)]
        recent = sum(time.time() - path.stat().st_mtime < _YEAR_S for path in answered)
        self.policy.refuse_membership_audit(family, members.number_of_patients, non_members.number_of_patients, recent)
        ours, others = people([Cohort.of(self.slices()), Cohort.of(non_members)])
        if both := len(np.intersect1d(ours, others)):
            raise UserError(
                f"{self.folder}: {both} patients are both trained on and held out, by names or images; take every "
                "copy of them out of the data and prepare again"
            )
        prefix = f"{run} at "
        if known := self.ledger.exposed(Cohort.of(non_members), lambda row: row.startswith(prefix) or row == run):
            raise Refusal(
                f"{known} of the patients who are held out were trained on in this run before, as the ledger has it; "
                "it cannot be audited here"
            )

    # what is written down

    def plan(self, run: str) -> Path:
        return self._file("plans", run, "json")

    def outbox(self, run: str) -> Path:
        return self._file("outbox", run, "safetensors")

    def session(self, run: str) -> Path:
        return self._file("sessions", run, "json")

    def _members(self, run: str) -> Path:
        return self._file("members", run, "txt")

    def _file(self, folder: str, run: str, ending: str) -> Path:
        """A run's file in one of the home's folders. A server chooses a run's name: no path of ours follows it."""
        return self.folder / folder / f"{hashlib.sha256(run.encode()).hexdigest()[:16]}.{ending}"

    def progress(self, request: Request, started: float) -> Progress:
        """Writes the step at work for whoever watches this folder, at most twice a second; raises UserError where
        the round takes longer than the policy allows, or the site was paused: paid for, and nothing is released."""
        path, last = self.folder / "progress.json", [0.0]

        def write(step: int, steps: int) -> None:
            if time.time() - started > self.policy.maximum_seconds and step < steps:
                raise UserError(f"site policy: the round took more than {self.policy.maximum_seconds:g} seconds")
            if time.monotonic() - last[0] > 0.5 or step == steps:
                last[0] = time.monotonic()
                refuse_paused(self.folder)
                at_work = {"run": request.run, "round": request.task.round, "step": step}
                atomic.write_text(path, json.dumps(at_work), durable=False)

        return write

    def log_round(self, request: Request, started: float) -> None:
        """Add a line to the local log."""
        line = {"run": request.run, "round": request.task.round, "started": started, "finished": time.time()}
        self._log("rounds.jsonl", line)

    def log_refusal(self, reason: str) -> None:
        """Add a line to the local log of what was declined or failed."""
        self._log("refusals.jsonl", {"time": time.time(), "reason": reason})

    def _log(self, name: str, line: dict[str, object]) -> None:
        append_line(self.folder / name, line)


@cache
def _warn_once(said: str) -> None:
    _log.warning(said)
