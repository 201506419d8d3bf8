"""A site's answer where its own noise protects its patients: check the request, pay, train, and only then release."""

import time
from dataclasses import replace
from pathlib import Path

from cmrfed.compression import compressed
from cmrfed.generators import Generator, build_generator
from cmrfed.privacy import DistributedNoise, GaussianEvent, Paid
from cmrfed.site.home import Home
from cmrfed.site.policy import Refusal
from cmrfed.site.request import Request
from cmrfed.slices import Slices
from cmrfed.training import LocalRun, train
from cmrfed.updates import Weights, load_arrays, save_weights, write_weights


def answer(home: Home, request: Request, weights: Weights) -> Paid[LocalRun]:
    """Train on the site's slices as requested and return what may leave, its update as it is sent.

    Everything that can be refused is refused by public facts. Then the answer is paid for in the ledger, computed,
    written to the outbox, and returned: an interruption releases nothing, costs nothing twice, and the same bytes
    answer the same request again. Raises Refusal outside the policy and BudgetExceeded beyond the run's budget.
    """
    started = time.time()
    if isinstance(request.task.plan, DistributedNoise):
        raise Refusal("the plan's noise is distributed: it is answered under secure aggregation alone")
    home.refuse(request)
    generator = build_generator(request.generator, seed=0)
    weights = home.whole_weights(request, weights)
    write_weights(generator, weights)
    slices = home.slices()
    key = home.begin(request, slices, weights)
    run = _from_outbox(home, request, key) or _trained(home, request, generator, slices, key, started)
    home.log_round(request, started)
    return run


def _from_outbox(home: Home, request: Request, key: str) -> Paid[LocalRun] | None:
    """The answer already given to this very request from the very same patients, if there is one that was paid for."""
    outbox = home.outbox(request.run)
    if not outbox.exists():
        return None
    arrays, notes = load_arrays(outbox)
    if notes["request"] != key:
        return None
    if request.task.plan.private and home.ledger.paid(home.row_name(request.run), str(notes["receipt"])) is None:
        return None
    sent = {name: array for name, array in arrays.items() if not name.startswith(_RESIDUAL)}
    run = LocalRun(sent, _event(request), notes["loss"], notes["max_grad_norm"])  # type: ignore[arg-type]
    return Paid(run, str(notes["receipt"]))


def _trained(
    home: Home, request: Request, generator: Generator, slices: Slices, key: str, started: float
) -> Paid[LocalRun]:
    training = request.task.training.executed_as(home.policy.execution)
    task = request.task.model_copy(update={"training": training})
    progress, outbox = home.progress(request, started), home.outbox(request.run)
    if not task.plan.private:
        run = train(generator, slices, task, progress)
        return _kept(outbox, Paid(run, _FREE), request, key)
    with home.admission(request, slices, key) as admitted:
        run = train(generator, admitted.slices, task, progress, random=admitted.random)
        return _kept(outbox, admitted.paid(run), request, key)


_FREE = ""
"""The receipt of what a policy lets out without privacy (`allow_without_privacy`)."""


_RESIDUAL = "residual/"
"""In the outbox, before the names of weights of which something is still to be sent."""


def _kept(outbox: Path, answer: Paid[LocalRun], request: Request, key: str) -> Paid[LocalRun]:
    """The answer as it is sent, once it is in the outbox. What is left of it is in the same file, and so is there if
    and only if the answer is: however the site ends, no part of an update is sent twice or forgotten."""
    run = answer.value
    sent, residual = compressed(request.messages, run.update, _residual(outbox))
    notes = {"request": key, "receipt": answer.receipt, "loss": run.loss, "max_grad_norm": run.max_grad_norm}
    save_weights(outbox, sent | {_RESIDUAL + name: array for name, array in residual.items()}, notes)
    return Paid(replace(run, update=sent), answer.receipt)


def _residual(outbox: Path) -> Weights:
    """What of the run's earlier updates is still to be sent."""
    arrays = load_arrays(outbox)[0] if outbox.exists() else {}
    return {n.removeprefix(_RESIDUAL): array for n, array in arrays.items() if n.startswith(_RESIDUAL)}


def _event(request: Request) -> GaussianEvent | None:
    task = request.task
    return task.private_plan.event(task.training.local_steps) if task.plan.private else None
