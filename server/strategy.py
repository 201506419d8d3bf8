"""One strategy for every aggregation rule: ask each site, join what the answers hold, remember the state."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from logging import INFO
from typing import TypeVar

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.common.constant import ErrorCode
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from cmrfed.config import Stage
from cmrfed.core.packing import npy, pack, unpack_arrays
from cmrfed.door.messages import HEAD
from cmrfed.federation import Arm, GlobalState, Traffic
from cmrfed.provision import Register
from cmrfed.replies import Attendance, Reply, SiteReply, Terms
from cmrfed.updates import Weights, changed

T = TypeVar("T")

_POLL_S = 1.0
"""Between two looks for sites that a round still needs."""


class TooFewReplies(RuntimeError):
    """Too few sites answered a round, in time or at all; it is not applied, and the rounds end."""


class PrivateFederation(Strategy):
    """Sends every site the same request each round and hands the updates to `cmrfed.federation`.

    Sites that refuse, fail or send what no honest site sends are noted by name, and the others go on, where they are
    enough (`Arm.minimum_replies`). Until then, and until the round's deadline, the others are asked again with the same
    request: a site that had answered it sends the same bytes and pays nothing. A round that is still short then is not
    applied: what was answered is kept with the arm, and whoever starts it again goes on with the same round.
    """

    def __init__(self, arm: Arm, register: Register | None = None) -> None:
        self.arm, self.register = arm, register or Register()
        self.state = arm.resume()
        self._informed: set[int] = set()
        self._known: Weights = {}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        self._begin_round(grid)
        self._answers = self.arm.answers_kept(self.state)
        return self._asked()

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        self._hear(replies)
        while self._is_short and self._may_grow and (left_s := self._left_s) > 0:
            time.sleep(min(_POLL_S, left_s))
            if messages := self._asked():
                self._hear(self._grid.send_and_receive(messages, timeout=max(self._left_s, _POLL_S)))
        told = [*self._answers.values(), *self._missing]
        if self._is_short:
            self.arm.leave_open(self.state, told, self._round_started, self._traffic)
            raise TooFewReplies(self._why_short())
        updates = [answer.update for answer in self._answers.values() if answer.update is not None]
        norms = [answer.max_grad_norm for answer in self._answers.values() if answer.max_grad_norm is not None]
        answered, self._answers = self._answers, {}
        return self._end_round(self.arm.advance(self.state, updates, norms), told, answered)

    def _begin_round(self, grid: Grid) -> None:
        self._round_started, self._grid, self._traffic = time.time(), grid, Traffic()
        self._registered = self.register.nodes
        self._attendance = Attendance(self.arm.sites, registered=self._registered)

    def _nodes(self) -> list[int]:
        """Those of the arm's sites that are connected."""
        self._registered = self.register.nodes
        return self.register.among(self._grid.get_node_ids(), self.arm.sites)

    def _message(self, content: Mapping[str, ConfigRecord | ArrayRecord], node: int, kind: str) -> Message:
        """A message to a node, with the last head that its site's ledger told."""
        head = self.register.heads.get((self._registered or {}).get(node, ""))
        countersigned = {HEAD: ConfigRecord({"json": head})} if head else {}
        return Message(RecordDict({**content, **countersigned}), node, kind)

    def _end_round(
        self, state: GlobalState, told: list[SiteReply], answered: Iterable[str]
    ) -> tuple[ArrayRecord, MetricRecord | None]:
        """Remember the state, durably, and who has the weights that this round began with."""
        nodes = self._attendance.nodes
        self._informed, self._known = {nodes[site] for site in answered if site in nodes}, self.state.weights
        self.state = state
        self.arm.end_round(state, told, self._round_started, self._traffic)
        return to_record(state.weights), None

    def _asked(self) -> list[Message]:
        """The round's request to every node whose site has not answered it."""
        done = {self._attendance.nodes.get(site) for site in self._answers}
        nodes = [node for node in self._nodes() if node not in done]
        request = said(self.arm.request(self.state))
        return self._sent(
            self._message({"weights": weights, "request": request}, node, MessageType.TRAIN)
            for node, weights in self._weights_for(nodes).items()
        )

    def _weights_for(self, nodes: Sequence[int]) -> dict[int, ArrayRecord]:
        """By node, what it must be sent of the weights: all, or those that changed since a request that it answered;
        its site has kept that one's (`Home.whole_weights`)."""
        if not nodes:
            return {}
        whole, few = to_record(self.state.weights), to_record(changed(self.state.weights, self._known))
        return {node: few if node in self._informed else whole for node in nodes}

    def _hear(self, replies: Iterable[Message]) -> None:
        """Add to the round's answers. Of those who gave none, what they know is not relied on any more."""
        nodes = {s: node for s, node in self._attendance.nodes.items() if s in self._answers}
        self._attendance = Attendance(self.arm.sites, nodes, self._registered)
        terms = Terms(self.arm.request(self.state), self.state.weights)
        found = self._heard(replies, "update", terms.update)
        heads = self._attendance.heads
        told = {site: replace(answer, ledger_head=heads.get(site)) for site, answer in found.items()}
        self._answers = dict(sorted((told | self._answers).items()))
        self._informed.clear()

    def _heard(self, replies: Iterable[Message], arrays: str, read: Callable[[Reply], T]) -> dict[str, T]:
        found = self._attendance.heard((received(reply, arrays) for reply in self._counted(replies)), read)
        self.register.keep_heads(self._attendance.heads)
        return found

    def _counted(self, replies: Iterable[Message]) -> Iterator[Message]:
        """The same replies, one after the other: of many sites' updates one alone is there twice at a moment."""
        for reply in replies:
            self._traffic += Traffic(up=_bytes(reply))
            yield reply

    def _sent(self, messages: Iterable[Message]) -> list[Message]:
        """The same messages, counted."""
        counted = list(messages)
        self._traffic += Traffic(down=sum(map(_bytes, counted)))
        return counted

    @property
    def _is_short(self) -> bool:
        return len(self._answers) < self.arm.minimum_replies

    @property
    def _missing(self) -> list[SiteReply]:
        """Who gave the round no update when asked last, and why."""
        reasons = sorted(self._attendance.reasons.items())
        return [SiteReply(site, None, reason) for site, reason in reasons if site not in self._answers]

    @property
    def _may_grow(self) -> bool:
        """Whether enough sites are left that could not be reached, or said nothing: who refuses would refuse again."""
        turned_down = sum(not str(one.reason).endswith("UNAVAILABLE") for one in self._missing)
        return len(self.arm.sites) - turned_down >= self.arm.minimum_replies

    @property
    def _left_s(self) -> float:
        return self._round_started + self.arm.config.federation.round_timeout_s - time.time()

    def _why_short(self) -> str:
        answered, needed = len(self._answers), self.arm.minimum_replies
        reasons = "; ".join(f"{one.site}: {one.reason}" for one in self._missing)
        got = f"{answered} of the {needed} updates it needs" if answered else "no update"
        return f"round {self.state.round + 1} got {got} ({reasons or 'no other site replied in time'})"

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Nothing: a score computed on patients would have to be paid for. The evaluator is central."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        return None

    def summary(self) -> None:
        log(INFO, "arm %s: %d sites, from round %d", self.arm.name, len(self.arm.sites), self.state.round + 1)


def _bytes(message: Message) -> int:
    """Of the arrays and texts in a message, with their names. Counted here, since Flower's own count raises on some of
    what a site can send."""
    if not message.has_content():
        return 0
    records = message.content
    arrays = [(name, one.data) for record in records.array_records.values() for name, one in record.items()]
    notes = [(name, one) for record in records.config_records.values() for name, one in record.items()]
    return sum(len(name) + len(one) for name, one in [*arrays, *notes] if isinstance(one, str | bytes))


def to_record(weights: Weights) -> ArrayRecord:
    """Weights as Flower carries them: packed into one array, for Flower sends every array by requests of its own, three
    times on its way, and a network has some hundred weights."""
    data = pack({name: npy(array) for name, array in weights.items()})
    return ArrayRecord({"packed": Array("uint8", (len(data),), "msgpack", data)})


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
    return Reply(node, None, dict(notes), _unpacked(encoded))


def _unpacked(record: ArrayRecord) -> dict[str, bytes]:
    """The arrays in a record, undecoded: none, where they are not packed as sites pack them."""
    try:
        return unpack_arrays(record["packed"].data) if "packed" in record else {}
    except ValueError:
        return {}


def _failure(message: Message) -> str:
    """Flower's name of an error."""
    code = message.error.code if message.has_error() else ErrorCode.UNKNOWN
    names = {value: name for name, value in vars(ErrorCode).items() if isinstance(value, int)}
    return names.get(code, "UNKNOWN")
