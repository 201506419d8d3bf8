"""A site's answer where its own noise protects its patients: check the request, train, pay, and only then release."""

import time
from pathlib import Path

from cmrfed.generators import build_generator
from cmrfed.privacy import Cohort, GaussianEvent
from cmrfed.site.home import Home
from cmrfed.site.policy import Refusal
from cmrfed.site.request import Request, digest
from cmrfed.slices import Slices
from cmrfed.training import LocalRun, train
from cmrfed.updates import Weights, load_weights, save_weights, write_weights


def answer(home: Home, request: Request, weights: Weights) -> LocalRun:
    """Train on the site's slices as requested and return what may leave.

    The answer is written to the outbox, then paid for in the ledger, then returned: an interruption before payment
    releases nothing, and after it the same bytes answer the same request again. Raises Refusal outside the policy and
    BudgetExceeded beyond the budget.
    """
    if request.task.plan and request.task.plan.sharing:
        raise Refusal("the plan's noise is shared between sites: it is answered under secure aggregation alone")
    slices, started = home.slices(), time.time()
    cohort = Cohort.of(slices)
    home.policy.refuse_outside(request, cohort.number_of_patients)
    key = digest(cohort.fingerprint + request.model_dump_json(), weights)
    outbox = home.outbox(request.run)
    run = _from_outbox(outbox, key, request)
    if run is None:
        home.refuse(request, cohort)
        run = _train_into_outbox(outbox, key, home, request, weights, slices)
    if run.event:
        _pay_once(home, request, cohort, run.event, digest(key, run.update))
    home.log_round(request, started)
    return run


def _from_outbox(outbox: Path, key: str, request: Request) -> LocalRun | None:
    """The answer already given to this very request from the very same patients, if there is one."""
    if not outbox.exists():
        return None
    update, notes = load_weights(outbox)
    if notes["request"] != key:
        return None
    task = request.task
    event = task.plan.event(task.training.local_steps) if task.plan else None
    return LocalRun(update, event, notes["loss"], notes["max_grad_norm"])  # type: ignore[arg-type]


def _train_into_outbox(
    outbox: Path, key: str, home: Home, request: Request, weights: Weights, slices: Slices
) -> LocalRun:
    generator = build_generator(request.generator, seed=0)
    write_weights(generator, weights)
    run = train(generator, slices, request.task, home.progress(request))
    outbox.parent.mkdir(exist_ok=True)
    notes = {"request": key, "loss": run.loss, "max_grad_norm": run.max_grad_norm}
    save_weights(outbox, run.update, notes)
    return run


def _pay_once(home: Home, request: Request, cohort: Cohort, event: GaussianEvent, key: str) -> None:
    """Record the event, unless this very answer was paid for before: `key` is of its bytes, not of the request alone,
    since the same request trained again is another release."""
    if not home.ledger.paid(request.run, key):
        home.pay(request, cohort, event, key)
