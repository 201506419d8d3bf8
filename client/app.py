"""The site's Flower app: turns a message into a request to `cmrfed.site` and its answer into a reply. Nothing else.

Whatever goes wrong, the server is told one constant, `REFUSED`: Flower would send it an error's text, which may hold
counts, sizes or names. The reason is for the site's own log and console.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from cmrfed.config import Stage, UserError, read_stage_json_text
from cmrfed.privacy import Paid
from cmrfed.site import Home, Request, answer, distributed
from cmrfed.site.membership_audit import MembershipAuditRequest, answer_membership_audit
from cmrfed.training import LocalRun
from cmrfed.updates import Weights

app = ClientApp()

REFUSED = "this site does not answer this request"
"""All that a server learns of a request that is declined or fails, whatever the cause."""

Answer = RecordDict
"""What goes back, apart from who it is from."""

_log = logging.getLogger("cmrfed.site")


def _answering(action: Callable[[Home, int, Message], Answer]) -> Callable[[Message, Context], Message]:
    """An action as Flower calls it. An answer carries the site's name and its ledger's head; a refusal the name."""

    def answering(message: Message, context: Context) -> Message:
        home = None
        try:
            folder, number = _home(context)
            home = Home(folder)
            torch.set_num_threads(home.policy.execution.threads)
            content = action(home, number, message)
            content.config_records["answer"].update({"ledger_head": home.ledger.head()} | _name(home))
        except Exception as error:  # also of memory, or of a library: none of its words may leave
            _note(home, error)
            content = RecordDict({"answer": ConfigRecord({"refused": REFUSED, **_name(home)})})
        return Message(content, reply_to=message)

    return answering


def _name(home: Home | None) -> dict[str, str]:
    return {"site": home.policy.name} if home else {}


def _note(home: Home | None, error: Exception) -> None:
    """The reason, on this site's console and in its log."""
    reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    _log.warning("%s: not answered: %s", home.folder if home else "no home", reason)
    if home:
        home.log_refusal(reason)


@app.train()
@_answering
def train(home: Home, number: int, message: Message) -> Answer:
    """A round of local training, with this site's own noise or without any."""
    return _update(answer(home, _request(message, number), _weights(message)))


def _update(paid: Paid[LocalRun]) -> Answer:
    run = paid.value
    told = {"loss": run.loss, "max_grad_norm": run.max_grad_norm}
    notes = ConfigRecord({name: value for name, value in told.items() if value is not None})
    return RecordDict({"answer": notes, "update": ArrayRecord({n: Array(array) for n, array in run.update.items()})})


@app.query("membership_audit")
@_answering
def membership_audit(home: Home, number: int, message: Message) -> Answer:
    """Attacks on this site's own patients, summed up."""
    asked = read_stage_json_text(
        MembershipAuditRequest, str(message.content["asked"]["json"]), where="the server's message"
    )
    return _said(answer_membership_audit(home, asked))


@app.query("offer")
@_answering
def offer(home: Home, number: int, message: Message) -> Answer:
    """A distributed step, phase 1."""
    return _said(distributed.offer(home, _request(message, number), _read(message, distributed.Session)))


@app.query("share")
@_answering
def share(home: Home, number: int, message: Message) -> Answer:
    """A distributed step, phase 2."""
    asked = _read(message, distributed.Offers)
    return _said(distributed.Shares(shares=distributed.share(home, asked.run, asked.offers)))


@app.query("mask")
@_answering
def mask(home: Home, number: int, message: Message) -> Answer:
    """A distributed step, phase 3: the one that computes."""
    asked = _read(message, distributed.Shares)
    return _masked(distributed.mask(home, _request(message, number), _weights(message), asked.shares))


def _masked(paid: Paid[np.ndarray]) -> Answer:
    return RecordDict({"answer": ConfigRecord(), "masked": ArrayRecord({"masked": Array(paid.value)})})


@app.query("confirm")
@_answering
def confirm(home: Home, number: int, message: Message) -> Answer:
    """A distributed step, phase 4."""
    asked = _read(message, distributed.Survivors)
    return _said(distributed.confirm(home, asked.run, asked.survivors))


@app.query("reveal")
@_answering
def reveal(home: Home, number: int, message: Message) -> Answer:
    """A distributed step, phase 5."""
    asked = _read(message, distributed.Confirmations)
    return _said(distributed.reveal(home, asked.run, asked.confirmations))


def _home(context: Context) -> tuple[Path, int]:
    """The site's home folder and number: from the node's own configuration, or one of a simulated run's sites."""
    if "home" in context.node_config:
        return Path(str(context.node_config["home"])), 0
    number = int(context.node_config["partition-id"])
    arm = Path(str(context.run_config["arm"]))
    sites = json.loads((arm / "arm.json").read_text(encoding="utf-8"))["sites"]
    return arm.parents[1] / "sites" / str(sites[number]), number


def _request(message: Message, number: int) -> Request:
    request = read_stage_json_text(Request, str(message.content["request"]["json"]), where="the server's request")
    return request.for_site(number)


def _read(message: Message, stage: type[distributed.S]) -> distributed.S:
    return read_stage_json_text(stage, str(message.content["asked"]["json"]), where="the server's message")


def _weights(message: Message) -> Weights:
    return {name: np.asarray(array.numpy()) for name, array in message.content.array_records["weights"].items()}


def _said(message: Stage) -> Answer:
    return RecordDict({"answer": ConfigRecord({"json": message.model_dump_json()})})
