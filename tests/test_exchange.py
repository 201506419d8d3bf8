"""Over a network that loses replies each question is answered once, and nobody waits for what is lost."""

import itertools
import time

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from cmrfed.apps.server import exchange
from cmrfed.apps.server.exchange import PersistentGrid

LOST, AWAY = Error(ErrorCode.MESSAGE_UNAVAILABLE, "gone"), Error(ErrorCode.NODE_UNAVAILABLE, "away")
SILENT = None


class Losing(Grid):
    """By node, what becomes of each of its replies in turn: a number is one; SILENT none."""

    def __init__(self, fates):
        self.fates = {node: iter(own) for node, own in fates.items()}
        self.asked, self.waiting, self.numbers = [], {}, itertools.count()

    def push_messages(self, messages):
        ids = []
        for message in messages:
            self.asked.append(message.metadata.dst_node_id)
            ids.append(f"m{next(self.numbers)}")
            message.metadata.__dict__["_message_id"] = ids[-1]
            self.waiting[ids[-1]] = [next(self.fates[self.asked[-1]]), message]
        return ids

    def pull_messages(self, message_ids):
        came = []
        for one in [one for one in message_ids if one in self.waiting]:
            fate = self.waiting[one][0]
            if fate is not SILENT:
                content = fate if isinstance(fate, Error) else RecordDict({"answer": ConfigRecord({"number": fate})})
                came.append(Message(content, reply_to=self.waiting.pop(one)[1]))
        return came

    def send_and_receive(self, messages, *, timeout=None):
        raise AssertionError("Flower's own waits for what is lost")

    def set_run(self, run): ...

    @property
    def run(self):
        return Run.create_empty(1)

    def create_message(self, content, message_type, dst_node_id, group_id, ttl=None): ...

    def get_node_ids(self):
        return list(self.fates)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(exchange, "_POLL_S", 0.001)
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1


def messages(*nodes, kind="train"):
    return [Message(RecordDict(), node, kind) for node in nodes]


def told(replies):
    return {
        one.metadata.src_node_id: one.error.code if one.has_error() else one.content["answer"]["number"]
        for one in replies
    }


def test_a_reply_that_is_lost_is_asked_for_again_at_once_and_nobody_else_is():
    network = Losing({2: [4], 3: [LOST, LOST, 5]})
    started = time.monotonic()
    assert told(PersistentGrid(network).send_and_receive(messages(2, 3), timeout=3600.0)) == {2: 4, 3: 5}
    assert network.asked == [2, 3, 3, 3] and time.monotonic() - started < 60


def test_a_silent_node_is_asked_again_a_few_times():
    network = Losing({2: [SILENT, SILENT, 7], 3: [8]})
    assert told(PersistentGrid(network).send_and_receive(messages(2, 3), timeout=6.0)) == {2: 7, 3: 8}
    assert network.asked == [2, 3, 2, 2]


def test_of_a_phase_that_is_answered_once_a_silent_node_is_not_asked_twice_and_a_lost_reply_is():
    network = Losing({2: [SILENT, 7], 3: [LOST, 8]})
    replies = PersistentGrid(network).send_and_receive(messages(2, 3, kind="query.mask"), timeout=1.0)
    assert told(replies) == {3: 8}
    assert network.asked == [2, 3, 3]


def test_after_its_time_an_exchange_ends_with_what_came_and_the_losses_by_their_nodes():
    network = Losing({2: itertools.repeat(SILENT), 3: itertools.repeat(LOST), 4: [9]})
    replies = PersistentGrid(network).send_and_receive(messages(2, 3, 4), timeout=0.2)
    assert told(replies) == {3: ErrorCode.MESSAGE_UNAVAILABLE, 4: 9}
    assert network.asked.count(2) <= 5, "a silent node may be at work"
    assert 1 < network.asked.count(3) <= 12, "less and less often"


def test_a_node_that_is_away_is_not_asked_again():
    """The strategy looks for it where a round needs it."""
    network = Losing({2: [AWAY]})
    assert told(PersistentGrid(network).send_and_receive(messages(2), timeout=60.0)) == {2: ErrorCode.NODE_UNAVAILABLE}


def test_of_two_replies_to_a_question_one_is_heard_and_the_other_is_fetched_later():
    network = Losing({2: [SILENT, 2, 6]})
    grid = PersistentGrid(network)
    assert told(grid.send_and_receive(messages(2), timeout=1.2)) == {2: 2}
    (first,) = network.waiting.values()
    first[0] = 5  # its reply arrives after all
    assert told(grid.send_and_receive(messages(2), timeout=60.0)) == {2: 6}
    assert not network.waiting, "no reply is left for the SuperLink to keep"


def test_without_messages_nobody_is_asked():
    network = Losing({2: []})
    assert list(PersistentGrid(network).send_and_receive([], timeout=60.0)) == []
    assert network.asked == []
