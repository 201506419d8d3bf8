"""What becomes of a question: one table of all that may be asked of a site, and one way to say no.

Whatever goes wrong, the server is told one constant (`cmrfed.door.messages.refusal`): an error's text may hold counts,
sizes or names. The reason is for the site's own log; a console's lines are read by others and kept elsewhere, so that
they hold what policy and budget say and no other error's words (`for_the_console`).
"""

import io
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from cmrfed.config import Stage, UserError, read_stage_json_text
from cmrfed.core.packing import npy
from cmrfed.door.messages import HEAD, Answer, Question, refusal
from cmrfed.privacy import BudgetExceeded, Paid
from cmrfed.site import Home, Request, answer, distributed
from cmrfed.site.membership_audit import MembershipAuditRequest, answer_membership_audit
from cmrfed.site.pause import Paused, refuse_paused
from cmrfed.site.policy import Refusal
from cmrfed.training import LocalRun
from cmrfed.updates import Weights

_log = logging.getLogger("cmrfed.site")

Action: TypeAlias = Callable[[Home, Question], Answer]
"""A home and a question -> what to answer."""


@dataclass(frozen=True)
class Outcome:
    """An answer, and why it is a refusal where it is one: for the site's own eyes."""

    answer: Answer
    reason: str = ""


def answered(folder: Path, question: Question) -> Outcome:
    """The answer of the site whose home this is, with its name and its ledger's head; or the constant refusal."""
    home = None
    try:
        home = Home(folder)
        refuse_paused(folder)
        torch.set_num_threads(home.policy.execution.threads)
        if HEAD in question.documents:
            home.ledger.refuse_unknown(question.documents[HEAD])
        found = _action(question.action)(home, question)
        said = {"ledger_head": home.ledger.head(), "site": home.policy.name}
        return Outcome(found.model_copy(update={"notes": found.notes | said}))
    except Exception as error:  # also of memory, or of a library: none of its words may leave
        return Outcome(refusal(home.policy.name if home else ""), _noted(home, error))


def _noted(home: Home | None, error: Exception) -> str:
    """The reason, once it is in this site's log."""
    reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    _log.warning("%s: not answered: %s", home.folder if home else "no home", for_the_console(error))
    if home:
        try:
            home.log_refusal(reason)
        except OSError as full:  # as where it is the disk that is full: the answer is a refusal all the same
            _log.warning("%s: refusals.jsonl: %s", home.folder, full.strerror)
    return reason


def for_the_console(error: Exception) -> str:
    """An error's words where they come of public facts alone, by which policy and budget decide; of any other its kind,
    for it may name a patient, as may the words of whoever paused the site."""
    if isinstance(error, Paused):
        return "the site is paused"
    if isinstance(error, Refusal | BudgetExceeded):
        return str(error)
    return f"{type(error).__name__}; `cmrfed site journal` has its words"


def _action(name: str) -> Action:
    if name not in ACTIONS:
        raise UserError(f"there is no such question as {name!r:.100}")
    return ACTIONS[name]


def _train(home: Home, question: Question) -> Answer:
    """A round of local training, with this site's own noise or without any."""
    return _update(answer(home, _request(home, question), _weights(question)))


def _update(paid: Paid[LocalRun]) -> Answer:
    run = paid.value
    told = {"loss": run.loss, "max_grad_norm": run.max_grad_norm}
    return Answer(
        notes={name: float(value) for name, value in told.items() if value is not None},
        record="update",
        arrays={name: npy(array) for name, array in sorted(run.update.items())},  # the same from the outbox
    )


def _membership_audit(home: Home, question: Question) -> Answer:
    """Attacks on this site's own patients, summed up."""
    return _said(answer_membership_audit(home, _asked(question, MembershipAuditRequest)))


def _offer(home: Home, question: Question) -> Answer:
    """A distributed step, phase 1."""
    return _said(distributed.offer(home, _request(home, question), _asked(question, distributed.Session)))


def _share(home: Home, question: Question) -> Answer:
    """A distributed step, phase 2."""
    asked = _asked(question, distributed.Offers)
    return _said(distributed.Shares(shares=distributed.share(home, asked.run, asked.offers)))


def _mask(home: Home, question: Question) -> Answer:
    """A distributed step, phase 3: the one that computes."""
    shares = _asked(question, distributed.Shares).shares
    return _masked(distributed.mask(home, _request(home, question), _weights(question), shares))


def _masked(paid: Paid[np.ndarray]) -> Answer:
    return Answer(record="masked", arrays={"masked": npy(paid.value)})


def _confirm(home: Home, question: Question) -> Answer:
    """A distributed step, phase 4."""
    asked = _asked(question, distributed.Survivors)
    return _said(distributed.confirm(home, asked.run, asked.survivors))


def _reveal(home: Home, question: Question) -> Answer:
    """A distributed step, phase 5."""
    asked = _asked(question, distributed.Confirmations)
    return _said(distributed.reveal(home, asked.run, asked.confirmations))


ACTIONS: Mapping[str, Action] = {
    "train": _train,
    "membership_audit": _membership_audit,
    "offer": _offer,
    "share": _share,
    "mask": _mask,
    "confirm": _confirm,
    "reveal": _reveal,
}
"""All that may be asked of a site."""


def _said(message: Stage) -> Answer:
    return Answer(notes={"json": message.model_dump_json()})


def _document(question: Question, name: str) -> str:
    if name not in question.documents:
        raise UserError(f"the server's message: has no {name}")
    return question.documents[name]


def _request(home: Home, question: Question) -> Request:
    text = _document(question, "request")
    return read_stage_json_text(Request, text, where="the server's request").for_site(home.policy.number)


def _asked(question: Question, stage: type[distributed.S]) -> distributed.S:
    return read_stage_json_text(stage, _document(question, "asked"), where="the server's message")


def _weights(question: Question) -> Weights:
    return {name: decoded(data, f"weights: {name:.100}") for name, data in question.arrays.items()}


def decoded(data: bytes, name: str) -> np.ndarray:
    """The numbers in bytes of the .npy format. Raises UserError where they are not exactly as many as its header says:
    what a header claims is allocated nowhere."""
    buffer = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(buffer)
        if version != (1, 0):
            raise ValueError("another version of the format")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(buffer, max_header_size=1000)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise UserError(f"{name}: is no array in the .npy format ({error})") from None
    numbers = data[buffer.tell() :]
    if (
        dtype.kind not in "fui"
        or fortran
        or len(numbers) != math.prod(shape) * dtype.itemsize
        or min(shape, default=1) < 0
    ):
        raise UserError(f"{name}: its bytes are not the numbers that its header announces")
    return np.frombuffer(numbers, dtype).reshape(shape)
