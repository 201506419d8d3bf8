"""Questions to nodes and their replies, over a network that loses some of them."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence

from flwr.app import Message, MessageType
from flwr.common.constant import ErrorCode
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.run import Run

_POLL_S = 1.0
"""Between two looks for replies."""
_PATIENCE = 1 / 12
"""Of the time there is for a reply, after which a silent node is asked again; then after twice as long, and so on."""
_LONGEST_PAUSE_S = 60.0
"""Between two questions for a reply that is lost again and again."""
_LOST = (ErrorCode.MESSAGE_UNAVAILABLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE)


class PersistentGrid(Grid):
    """Another grid, which asks again where a reply was lost.

    Flower waits for every reply until the deadline. One that was lost on its way, or that a node which was started anew
    in the meantime will never give, would so cost the whole round's time. A node is asked again as soon as its reply is
    known to be lost. Where it is silent it is asked a few times for its training: a site that has answered that answers
    again with the same bytes and pays nothing, and one that is still at work answers when it is done. The phases of a
    joint step are each answered once: a second question could be refused before the first one's answer is here.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._late: set[str] = set()
        """Questions that were answered by another reply than their own; theirs is fetched, so that nobody keeps it."""

    def set_run(self, run: Run) -> None:
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        return self._grid.run

    def create_message(self, *args: object, **kwargs: object) -> Message:
        return self._grid.create_message(*args, **kwargs)  # type: ignore[arg-type]

    def get_node_ids(self) -> Iterable[int]:
        return self._grid.get_node_ids()

    def get_nodes(self) -> Iterable[NodeInfo]:
        return self._grid.get_nodes()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self._grid.push_messages(list(messages))

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return self._grid.pull_messages(list(message_ids))

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """One reply to each message, in no order; of those that came to nothing until `timeout` seconds were over the
        loss, where it is known, and else none."""
        exchange = _Exchange(self._grid, list(messages), self._late)
        exchange.ask(exchange.open)
        passed, started = 0.0, time.monotonic()
        lost: set[int] = set()
        for_lost = _Pauses(0.0, _POLL_S, _LONGEST_PAUSE_S)
        for_silent = _Pauses(timeout * _PATIENCE, 2 * timeout * _PATIENCE) if timeout else _Pauses(math.inf, math.inf)
        while exchange.open and (timeout is None or passed < timeout):
            lost.update(exchange.listen())
            again = set(exchange.repeatable) if for_silent.over(passed) else set()
            if lost and for_lost.over(passed):
                again, lost = again | lost, set()
            exchange.ask(sorted(again.intersection(exchange.open)))
            if exchange.open:
                time.sleep(_POLL_S)
            passed = time.monotonic() - started
        return exchange.end()


class _Pauses:
    """Moments after which to do something once more, in seconds: the first, and then each twice as far from the one
    before, up to `longest`."""

    def __init__(self, first: float, pause: float, longest: float = math.inf) -> None:
        self._next, self._pause, self._longest = first, pause, longest

    def over(self, now: float) -> bool:
        """Whether the next moment has come; the one after it is then the next."""
        if now < self._next:
            return False
        self._next, self._pause = now + self._pause, min(2 * self._pause, self._longest)
        return True


class _Exchange:
    """Some messages and what came of them. open: those that have no reply yet, by their place."""

    def __init__(self, grid: Grid, messages: Sequence[Message], late: set[str]) -> None:
        self._grid, self._messages, self._late = grid, messages, late
        self._asked: dict[str, int] = {}
        self._replies: dict[int, Message] = {}
        self._losses: dict[int, Message] = {}

    @property
    def open(self) -> list[int]:
        return [place for place in range(len(self._messages)) if place not in self._replies]

    @property
    def repeatable(self) -> list[int]:
        """Of these, what may be asked while an answer may be on its way."""
        kinds = [message.metadata.message_type for message in self._messages]
        return [place for place in self.open if kinds[place] == MessageType.TRAIN]

    def ask(self, places: Sequence[int]) -> None:
        if places:
            ids = self._grid.push_messages([_anew(self._messages[place]) for place in places])
            self._asked |= {one: place for one, place in zip(ids, places, strict=False) if one}

    def listen(self) -> list[int]:
        """Fetch what has come; the places of replies that are now known to be lost."""
        lost = []
        for reply in self._grid.pull_messages([*self._asked, *self._late]):
            answered = reply.metadata.reply_to_message_id
            self._late.discard(answered)
            place = self._asked.pop(answered, None)
            if place is None or place in self._replies:
                continue
            if not reply.has_error():
                self._replies[place] = reply
                continue
            # an error may have come in the SuperLink's name; it is of this node
            failed = Message(reply.error, reply_to=self._messages[place])
            if reply.error.code in _LOST:
                self._losses[place] = failed
                lost.append(place)
            else:
                self._replies[place] = failed
        return lost

    def end(self) -> Iterator[Message]:
        """The replies, and the losses that none came after; each is let go of as it is taken."""
        self._late.update(self._asked)
        return _emptying(self._losses | self._replies)


def _emptying(messages: dict[int, Message]) -> Iterator[Message]:
    while messages:
        yield messages.pop(next(iter(messages)))


def _anew(message: Message) -> Message:
    """The same question as a message of its own."""
    return Message(message.content, message.metadata.dst_node_id, message.metadata.message_type)
