"""One strategy for every aggregation rule: ask each site, join what the answers hold, remember the state."""

import time
from collections.abc import Iterable
from dataclasses import replace
from logging import INFO

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.common.constant import ErrorCode
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from cmrfed.config import Stage
from cmrfed.federation import Arm
from cmrfed.replies import Attendance, Reply, SiteReply, Terms
from cmrfed.updates import Weights


class EverySiteRefused(RuntimeError):
    """Too few sites answered a round, because they refuse to; going on would change nothing."""


class PrivateFederation(Strategy):
    """Sends every site the same request each round and hands the updates to `cmrfed.federation`.

    Sites that refuse, fail or send what no honest site sends are noted by name, and the others go on.
    """

    def __init__(self, arm: Arm) -> None:
        self.arm = arm
        self.state = arm.resume()
        self._round_started = 0.0

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        self._round_started = time.time()
        content = {"weights": to_record(self.state.weights), "request": said(self.arm.request(self.state))}
        return [Message(RecordDict(content), node, MessageType.TRAIN) for node in grid.get_node_ids()]  # type: ignore[arg-type]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        attendance = Attendance(self.arm.sites)
        terms = Terms(self.arm.request(self.state), self.state.weights)
        answers = attendance.heard((received(reply, "update") for reply in replies), terms.update)
        if not answers:
            reasons = "; ".join(f"{site}: {reason}" for site, reason in sorted(attendance.reasons.items()))
            raise EverySiteRefused(
                f"round {self.state.round + 1} got no update ({reasons or 'no site replied in time'})"
            )
        updates = [answer.update for answer in answers.values() if answer.update is not None]
        norms = [answer.max_grad_norm for answer in answers.values() if answer.max_grad_norm is not None]
        self.state = self.arm.advance(self.state, updates, norms)
        told = [replace(answer, ledger_head=attendance.heads.get(site)) for site, answer in answers.items()]
        left_out = [SiteReply(site, None, reason) for site, reason in sorted(attendance.reasons.items())]
        self.arm.end_round(self.state, [*told, *left_out], self._round_started)
        return to_record(self.state.weights), None

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Nothing: a score computed on patients would have to be paid for. The evaluator is central."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        return None

    def summary(self) -> None:
        log(INFO, "arm %s: %d sites, from round %d", self.arm.name, len(self.arm.sites), self.state.round + 1)


def to_record(weights: Weights) -> ArrayRecord:
    """Weights as Flower carries them."""
    return ArrayRecord({name: Array(array) for name, array in weights.items()})


def said(message: Stage) -> ConfigRecord:
    """A stage as Flower carries it."""
    return ConfigRecord({"json": message.model_dump_json()})


def received(message: Message, arrays: str = "") -> Reply:
    """A message as the library reads it, with the record of arrays of that name. What a record of another kind holds is
    not looked at, nor is the text of an error, which is written at the site."""
    node = message.metadata.src_node_id
    if not message.has_content():
        return Reply(node, failure=_failure(message))
    notes = message.content.config_records.get("answer") or ConfigRecord()
    encoded = message.content.array_records.get(arrays) or ArrayRecord()
    return Reply(node, None, dict(notes), {name: array.data for name, array in encoded.items()})


def _failure(message: Message) -> str:
    """Flower's name of an error."""
    code = message.error.code if message.has_error() else ErrorCode.UNKNOWN
    names = {value: name for name, value in vars(ErrorCode).items() if isinstance(value, int)}
    return names.get(code, "UNKNOWN")
