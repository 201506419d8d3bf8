"""A question to a site and its answer, as plain values, and as bytes (`cmrfed.core.packing`): what is read is bounded
first, and then checked against the types below."""

from typing import TypeVar

from pydantic import Field, StrictFloat, StrictStr

from cmrfed.config import Stage, UserError, read_stage
from cmrfed.core.packing import pack, unpack

REFUSED = "this site does not answer this request"
"""All that a server learns of a request that is declined or fails, whatever the cause."""

BUNDLE = "bundle"
"""The question whether an app is approved, which a node asks of the door before the app may ask anything."""

HEAD = "head"
"""Of any question, the document that says where the site's ledger stood when it last answered: its own head, told
back. A ledger that does not know it was restored from a backup or copied, and would let patients be paid for twice."""

M = TypeVar("M", "Question", "Answer")


class Question(Stage):
    """What is asked of a site. `action`: one of `cmrfed.door.answering.ACTIONS`. `documents`: JSON texts by name.
    `arrays`: arrays by name, each in the .npy format."""

    action: StrictStr = Field(min_length=1, max_length=100)
    documents: dict[StrictStr, StrictStr] = Field(default_factory=dict)
    arrays: dict[StrictStr, bytes] = Field(default_factory=dict)


class Answer(Stage):
    """What a site says. `notes`: single values by name. `arrays`: arrays by name in the .npy format, under the heading
    `record`."""

    notes: dict[StrictStr, StrictStr | StrictFloat] = Field(default_factory=dict)
    record: StrictStr = ""
    arrays: dict[StrictStr, bytes] = Field(default_factory=dict)

    @property
    def refused(self) -> bool:
        return "refused" in self.notes


def refusal(site: str = "") -> Answer:
    """The constant, and who says so where that is known."""
    return Answer(notes={"refused": REFUSED, **({"site": site} if site else {})})


def packed(message: Question | Answer) -> bytes:
    """As bytes."""
    return pack({name: getattr(message, name) for name in type(message).model_fields})


def unpacked(kind: type[M], data: bytes) -> M:
    """What `packed` wrote. Raises UserError for anything else."""
    try:
        values = unpack(data)
    except ValueError as error:
        raise UserError(f"a message to this site is malformed ({error})") from None
    return read_stage(kind, values, where="a message to this site")
