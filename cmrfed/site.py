"""What a site does when a server asks for a round: check the request, train, pay, and only then release.

A site's home folder is its own and never leaves it:

    slices.safetensors   its prepared slices
    ledger.sqlite        what its patients have spent (`cmrfed.privacy.ledger`)
    outbox/              the last answer of each run, so that a request lost on the way costs nothing to repeat
    rounds.jsonl         a local log of rounds and their times
    progress.json        the step at work, for whoever watches
"""

import hashlib
import json
import time
from pathlib import Path

from pydantic import Field

from cmrfed.config import GeneratorConfig, Stage, UserError
from cmrfed.generators import build_generator
from cmrfed.privacy import Ledger, PrivacyPlan
from cmrfed.slices import Slices, fingerprint
from cmrfed.training import LocalRun, LocalTask, Progress, train
from cmrfed.updates import Weights, load_weights, save_weights, write_weights


class SitePolicy(Stage):
    """What a hospital allows any server to ask of it; read from its own disk, never from a message.

    `maximum_epsilon` holds over all runs on the same patients, and has no default: a hospital decides it.
    """

    name: str = Field(min_length=1, max_length=100, pattern=r"^[\w .-]+$")
    maximum_epsilon: float = Field(gt=0)
    maximum_delta: float = Field(default=1e-3, gt=0, lt=1)
    minimum_patients: int = Field(default=1, ge=1)
    allow_without_privacy: bool = False
    allow_seeded_noise: bool = False


class Request(Stage):
    """A server's request for one round of one run, apart from the weights."""

    run: str = Field(min_length=1, max_length=200)
    generator: GeneratorConfig
    task: LocalTask

    def for_site(self, number: int) -> "Request":
        """The same request at site `number`, whose number separates its seeded randomness from the others'."""
        return self.model_copy(update={"task": self.task.model_copy(update={"site": number})})


class Refusal(UserError):
    """The site declines a request; nothing was released and nothing was spent."""


def answer(home: Path, policy: SitePolicy, request: Request, weights: Weights) -> LocalRun:
    """Train on the site's slices as requested and return what may leave.

    The answer is written to the outbox, then paid for in the ledger, then returned: an interruption before payment
    releases nothing, and after it the same bytes answer the same request again. Raises Refusal outside the policy and
    BudgetExceeded beyond the budget.
    """
    slices = Slices.load(home / "slices.safetensors")
    _refuse_outside_policy(policy, request.task.plan, slices)
    key = _digest(request.model_dump_json(), weights)
    outbox = home / "outbox" / f"{hashlib.sha256(request.run.encode()).hexdigest()[:16]}.safetensors"
    started = time.time()
    run = _from_outbox(outbox, key, request) or _train_into_outbox(outbox, key, home, request, weights, slices)
    if run.event:
        _pay(home, policy, request, _digest(key, run.update), run, fingerprint(slices))
    _log_round(home, request, started)
    return run


def _refuse_outside_policy(policy: SitePolicy, plan: PrivacyPlan | None, slices: Slices) -> None:
    if plan is None:
        if not policy.allow_without_privacy:
            raise Refusal("site policy: training without privacy is not allowed here (allow_without_privacy is false)")
        return
    if plan.seed is not None and not policy.allow_seeded_noise:
        raise Refusal("site policy: the plan's noise is seeded, so that whoever knows the seed can take it away")
    if plan.delta > policy.maximum_delta:
        raise Refusal(f"site policy: delta {plan.delta:g} is above the allowed {policy.maximum_delta:g}")
    needed = max(plan.minimum_patients, policy.minimum_patients)
    if slices.number_of_patients < needed:
        raise Refusal(f"site policy: this site has fewer than the {needed} patients the plan needs")


def _digest(text: str, weights: Weights) -> str:
    """SHA-256 of a text and weights: a request with what it starts from, or that digest with the answer."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].tobytes())
    return digest.hexdigest()


def _from_outbox(outbox: Path, key: str, request: Request) -> LocalRun | None:
    """The answer already given to this very request, if there is one."""
    if not outbox.exists():
        return None
    update, notes = load_weights(outbox)
    if notes["request"] != key:
        return None
    task = request.task
    return LocalRun(update, task.plan.event(task.training.local_steps) if task.plan else None, notes["loss"])  # type: ignore[arg-type]


def _train_into_outbox(
    outbox: Path, key: str, home: Path, request: Request, weights: Weights, slices: Slices
) -> LocalRun:
    generator = build_generator(request.generator, seed=0)
    write_weights(generator, weights)
    run = train(generator, slices, request.task, _progress_file(home, request))
    outbox.parent.mkdir(exist_ok=True)
    save_weights(outbox, run.update, {"request": key, "loss": run.loss})
    return run


def _pay(home: Path, policy: SitePolicy, request: Request, key: str, run: LocalRun, patients: str) -> None:
    """Record the event, unless this very answer was paid for before: `key` is of its bytes, not of the request alone,
    since the same request trained again is another release."""
    plan = request.task.plan
    if plan is None or run.event is None:
        raise UserError("only a private run is paid for")
    ledger = Ledger(home / "ledger.sqlite")
    if any(row.request == key for row in ledger.entries(patients, request.run)):
        return
    ledger.record(
        patients,
        request.run,
        request.task.round,
        key,
        run.event,
        plan.delta,
        plan.target_epsilon,
        policy.maximum_epsilon,
    )


def _progress_file(home: Path, request: Request) -> Progress:
    """Writes the step at work for whoever watches this folder, at most twice a second."""
    path, last = home / "progress.json", [0.0]

    def write(step: int, steps: int) -> None:
        if time.monotonic() - last[0] > 0.5 or step == steps:
            last[0] = time.monotonic()
            temporary = path.with_suffix(".tmp")
            temporary.write_text(json.dumps({"run": request.run, "round": request.task.round, "step": step}))
            temporary.replace(path)

    return write


def _log_round(home: Path, request: Request, started: float) -> None:
    line = {"run": request.run, "round": request.task.round, "started": started, "finished": time.time()}
    with (home / "rounds.jsonl").open("a") as log:
        log.write(json.dumps(line) + "\n")
