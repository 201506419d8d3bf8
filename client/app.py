"""The site's Flower app: carries a server's message to the site's door and brings back its answer. Nothing else.

It holds no data, reads no file and knows no policy. At a hospital the door is `cmrfed site serve`, behind a socket that
the node's configuration names, under an account whose files this process cannot read. In a simulation it is the
same code, called in this process.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from cmrfed.config import UserError
from cmrfed.core.packing import pack, unpack_arrays
from cmrfed.door import Answer, Question, refusal
from cmrfed.door.sockets import ask

app = ClientApp()

PATIENCE_S = 120.0
"""For a door that is away, as while it is started again."""

Door: TypeAlias = Callable[[Question], Answer]

QUERIES = ("membership_audit", "offer", "share", "mask", "confirm", "reveal")
"""What a server may ask for beside training, each by its own kind of message."""


def _relay(action: str) -> Callable[[Message, Context], Message]:
    """The door's answer to that action as Flower carries it; the constant refusal where there is none to be had."""

    def relaying(message: Message, context: Context) -> Message:
        try:
            answer = _door(context)(_question(action, message))
        except Exception:  # its text would travel to the server
            answer = refusal()
        return Message(content_of(answer), reply_to=message)

    return relaying


app.train()(_relay("train"))
for query in QUERIES:
    app.query(query)(_relay(query))


def _question(action: str, message: Message) -> Question:
    texts = {name: str(record["json"]) for name, record in message.content.config_records.items() if "json" in record}
    weights = message.content.array_records.get("weights")
    return Question(action=action, documents=texts, arrays=unpack_arrays(weights["packed"].data) if weights else {})


def content_of(answer: Answer) -> RecordDict:
    """An answer as Flower carries it."""
    content = RecordDict({"answer": ConfigRecord(dict(answer.notes))})
    if answer.record:
        data = pack(answer.arrays)
        content[answer.record] = ArrayRecord({"packed": Array("uint8", (len(data),), "msgpack", data)})
    return content


def _door(context: Context) -> Door:
    """At a hospital behind the socket that its own configuration names, else in this process."""
    if "socket" in context.node_config:
        path = Path(str(context.node_config["socket"]))
        return lambda question: ask(path, question, PATIENCE_S)
    return _within(context)


def _within(context: Context) -> Door:
    """The door of one of a simulated run's sites."""
    from cmrfed.door.answering import answered  # torch, for which a node that only relays need not wait

    home = _home(context)
    return lambda question: answered(home, question).answer


def _home(context: Context) -> Path:
    if "partition-id" not in context.node_config:
        raise UserError("node config: names no socket; give the one of `cmrfed site serve`")
    arm = Path(str(context.run_config["arm"]))
    sites = json.loads((arm / "arm.json").read_text(encoding="utf-8"))["sites"]
    return arm.parents[1] / "sites" / str(sites[int(context.node_config["partition-id"])])
