"""A site's part in a step of distributed noise, of which the server learns only the sum over the sites.

The five phases of `cmrfed.privacy.secure_aggregation`, each a message that may find a new process, so that the state
between them is on the site's own disk. The session's `request` is the digest of the whole request, plan and
digest of the weights included, and every peer signs it: a site's guarantee rests on its peers' noise, and so on their
having been asked for the same. A server that sends one of them other weights gets no vector from it.

A step is paid for before patients' data are touched, and its masked vector leaves once: a site that crashed after it
was masked sits the round out. What was paid and never summed stays spent, since nobody can know that it was never
summed.
"""

import time
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from cmrfed.config import Stage, UserError
from cmrfed.core import atomic
from cmrfed.generators import build_generator
from cmrfed.privacy import DistributedNoise, Paid, Plan
from cmrfed.privacy.secure_aggregation import (
    Confirmation,
    EncryptedShare,
    Offer,
    Participant,
    Revealed,
    Session,
)
from cmrfed.site.home import Home
from cmrfed.site.policy import Refusal
from cmrfed.site.request import Request
from cmrfed.training import contribution
from cmrfed.updates import Weights, write_weights

S = TypeVar("S", bound=Stage)


class Offers(Stage):
    """What phase 2 is asked with."""

    run: str
    offers: tuple[Offer, ...]


class Shares(Stage):
    """What phase 2 answers, and what phase 3 is asked with: what is addressed to one site."""

    shares: tuple[EncryptedShare, ...]


class Survivors(Stage):
    """What phase 4 is asked with."""

    run: str
    survivors: tuple[str, ...]


class Confirmations(Stage):
    """What phase 5 is asked with."""

    run: str
    confirmations: tuple[Confirmation, ...]


def offer(home: Home, request: Request, session: Session) -> Offer:
    """Phase 1. Check request and budget before anybody works; offer fresh keys for this session.

    Raises Refusal outside the policy and BudgetExceeded beyond the budget.
    """
    home.refuse(request)
    home.refuse_beyond(request)
    plan = _distributed(request.task.plan)
    _require_same_request(request, session)
    if request.weights is None:
        raise Refusal("a joint step names the weights it starts from, so that all sites sign for the same ones")
    if session.threshold != plan.quorum:
        raise Refusal(f"the session's threshold is {session.threshold}, the plan's quorum {plan.quorum}")
    _require_registered(home)
    participant, message = Participant.begin(session, home.policy.name, home.identity)
    _save(home, _Begun(request, home.policy.digest, participant))
    return message


def share(home: Home, run: str, offers: tuple[Offer, ...]) -> tuple[EncryptedShare, ...]:
    """Phase 2. Check everybody's offers against this hospital's register; deal shares of the session's secrets."""
    begun = _open(home, run)
    plan = _distributed(begun.request.task.plan)
    if len(offers) > plan.sites:
        raise Refusal(f"{len(offers)} sites offered keys, the plan's noise is cut for {plan.sites}")
    message = begun.participant.share(offers, home.policy.peers, plan.colluders)
    _save(home, begun)
    return message


def mask(home: Home, request: Request, weights: Weights, shares: tuple[EncryptedShare, ...]) -> Paid[np.ndarray]:
    """Phase 3. Pay for the step, take it on this site's patients, and return it masked (uint32, one entry a
    coordinate), once.

    Raises Refusal unless request and policy are those that phase 1 checked against one another.
    """
    started = time.time()
    begun = _open(home, request.run)
    if request.digest != begun.request.digest:
        raise Refusal("the request is another than the one this session was begun for")
    if home.policy.digest != begun.policy:
        raise Refusal("site.yaml was changed since this session was begun; the next one keeps to it")
    begun.participant.require_ready_to_mask(shares)
    generator = build_generator(request.generator, seed=0)
    weights = home.whole_weights(request, weights)
    write_weights(generator, weights)
    slices = home.slices()
    key = begun.participant.session_digest + home.begin(request, slices, weights)
    training = request.task.training.executed_as(home.policy.execution)
    task = request.task.model_copy(update={"training": training})
    with home.admission(request, slices, key) as admitted:
        step = contribution(generator, admitted.slices, task, admitted.random)
        vector = admitted.paid(begun.participant.mask(step.values.numpy(), shares))
        _save(home, begun)
    home.progress(request, started)(1, 1)
    home.log_round(request, started)
    return vector


def confirm(home: Home, run: str, survivors: tuple[str, ...]) -> Confirmation:
    """Phase 4. Sign the one set of sites whose vectors arrived."""
    begun = _open(home, run)
    message = begun.participant.confirm(survivors, home.identity)
    _save(home, begun)
    return message


def reveal(home: Home, run: str, confirmations: tuple[Confirmation, ...]) -> Revealed:
    """Phase 5. Once a quorum has signed the same set, the shares that unmask its sum and nothing else."""
    begun = _open(home, run)
    message = begun.participant.reveal(confirmations)
    _save(home, begun)
    return message


def _distributed(plan: Plan) -> DistributedNoise:
    if not isinstance(plan, DistributedNoise):
        raise Refusal("the plan's noise is not distributed: there is nothing to aggregate securely")
    return plan


def _require_same_request(request: Request, session: Session) -> None:
    if session.request != request.digest:
        raise Refusal("the session is for another request than the one that came with it")


def _require_registered(home: Home) -> None:
    """This site under its own key in its own register, or its peers are not looking at it either."""
    found = home.policy.peers.get(home.policy.name)
    if found != home.identity.public:
        raise UserError(
            f"{home.folder / 'site.yaml'}: peers: {home.policy.name} is "
            f"{'missing' if found is None else 'registered under another key'}; its key is {home.identity.public}"
        )


@dataclass(frozen=True)
class _Begun:
    """A session between two phases. `policy`: digest of the one that its request was checked against."""

    request: Request
    policy: str
    participant: Participant


class _Saved(Stage):
    """The same on disk."""

    request: Request
    policy: str
    participant: str


def _save(home: Home, begun: _Begun) -> None:
    """Durably and readable by this account alone, before any message leaves."""
    path = home.session(begun.request.run)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    saved = _Saved(request=begun.request, policy=begun.policy, participant=begun.participant.to_json())
    atomic.write_text(path, saved.model_dump_json(), mode=atomic.PRIVATE)


def _open(home: Home, run: str) -> _Begun:
    path = home.session(run)
    if not path.exists():
        raise Refusal("this site is in no session of that run; begin one")
    saved = _Saved.model_validate_json(path.read_text(encoding="utf-8"))
    return _Begun(saved.request, saved.policy, Participant.from_json(saved.participant))
