"""The federation in one process, without Ray: for debugging and tests. Same apps, same messages, same result."""

import copy
import logging
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from flwr.app import Context, Message, RecordDict, UserConfig
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from cmrfed.apps.client.app import app as client_app
from cmrfed.apps.server.app import app as server_app

_SERVER_NODE = 1


class InProcessGrid(Grid):
    """Calls the client app directly for each message, one site after the other."""

    def __init__(self, contexts: dict[int, Context], tick: Callable[[], None]) -> None:
        self.contexts, self.tick = contexts, tick
        self._pending: dict[str, Message] = {}

    def set_run(self, run: Run) -> None:
        """There is only one run."""

    @property
    def run(self) -> Run:
        return Run.create_empty(TaskIdentity.run_id)

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        return list(self.contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Answer each message at once; a copy goes in, as all recipients may share one record."""
        ids = []
        for message in messages:
            ids.append(secrets.token_hex(8))
            message.metadata.__dict__["_message_id"] = ids[-1]  # as Flower's own grids number what they are given
            self._pending[ids[-1]] = client_app(copy.deepcopy(message), self.contexts[message.metadata.dst_node_id])
            self.tick()
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self._pending.pop(message_id) for message_id in message_ids if message_id in self._pending]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return self.pull_messages(self.push_messages(messages))


def run_in_process(arm: Path, number_of_sites: int, tick: Callable[[], None]) -> None:
    """Run an arm to its end in this process, with each site's thread count while it trains.

    `tick` is called after each site's answer.
    """
    logging.getLogger("flwr").setLevel(logging.WARNING)
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, _SERVER_NODE
    run_config = UserConfig({"arm": str(arm)})
    contexts = {
        _SERVER_NODE + 1 + number: Context(
            run_id=1,
            node_id=_SERVER_NODE + 1 + number,
            node_config=UserConfig({"partition-id": number, "num-partitions": number_of_sites}),
            state=RecordDict(),
            run_config=run_config,
        )
        for number in range(number_of_sites)
    }
    context = Context(
        run_id=1, node_id=_SERVER_NODE, node_config=UserConfig(), state=RecordDict(), run_config=run_config
    )
    threads = torch.get_num_threads()
    try:
        server_app(grid=InProcessGrid(contexts, tick), context=context)
    finally:
        torch.set_num_threads(threads)
