"""One strategy for every aggregation rule: ask each site, join what the answers hold, remember the state."""

import time
from collections.abc import Iterable
from logging import INFO

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from cmrfed.config import Stage
from cmrfed.federation import Arm, SiteReply, advance
from cmrfed.updates import Weights


class EverySiteRefused(RuntimeError):
    """Too few sites answered a round, because they refuse to; going on would change nothing."""


class PrivateFederation(Strategy):
    """Sends every site the same request each round and hands the updates to `cmrfed.federation`.

    Sites that refuse or fail are noted by name, and the others go on.
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
        answers = sorted((_read(reply) for reply in replies), key=lambda answer: answer.site)
        updates = [answer.update for answer in answers if answer.update is not None]
        if not updates:
            reasons = "; ".join(f"{answer.site}: {answer.reason}" for answer in answers) or "no site replied in time"
            raise EverySiteRefused(f"round {self.state.round + 1} got no update ({reasons})")
        norms = [answer.max_grad_norm for answer in answers if answer.max_grad_norm is not None]
        self.state = advance(self.state, updates, self.arm.config.aggregation, norms)
        self.arm.end_round(self.state, answers, self._round_started)
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


def _read(reply: Message) -> SiteReply:
    if reply.has_error():
        return SiteReply(site=f"node {reply.metadata.src_node_id}", update=None, reason=f"failed: {reply.error.reason}")
    notes, update = reply.content["answer"], reply.content.get("update")
    return SiteReply(
        site=str(notes["site"]),
        update=None if update is None else {name: array.numpy() for name, array in update.items()},  # type: ignore[union-attr]
        reason=f"refused: {notes['refused']}" if "refused" in notes else None,  # type: ignore[operator]
        loss=notes.get("loss"),  # type: ignore[union-attr]
        max_grad_norm=notes.get("max_grad_norm"),  # type: ignore[union-attr]
    )
