"""What may come of a site's reply: it is read in one place, and used whole or not at all.

A reply is made on another's machine, and nothing in it is trusted: not its form, not its numbers, not the name in it.
Whatever it holds, the coordinator either has an update (a message, a summary) that an honest site could have sent, or
it drops the site from this round, says why in words of its own, and goes on with the others. No text of a site's gets
further than its name, and that only where it is one of those expected.
"""

import io
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TypeVar

import numpy as np
from jaxtyping import UInt32

from cmrfed.compression import NumberFormat, decompressed, forms
from cmrfed.config import GeneratorConfig, Stage, UserError
from cmrfed.generators import build_generator
from cmrfed.privacy import NoPrivacy
from cmrfed.privacy.secure_aggregation import Confirmation, Offer, Revealed
from cmrfed.site import Request
from cmrfed.training import LocalTask
from cmrfed.training.reach import Reach, norm_range, sent_reach
from cmrfed.updates import Weights

_LONGEST_JSON = 1 << 20
"""Characters of a message; the longest, the shares of a distributed step, have some 300 a site."""

_HEAD = re.compile("[0-9a-f]{64}")

T = TypeVar("T")
S = TypeVar("S", bound=Stage)
Named = TypeVar("Named", Offer, Confirmation, Revealed)


class InvalidReply(UserError):
    """A reply that no honest site sends: one line that says what was found and what belongs there."""


@dataclass(frozen=True)
class Reply:
    """What a node sent, as it came.

    failure: why the node sent nothing, in the transport's words. notes: values by name. arrays: arrays in the .npy
    format, by name.
    """

    node: int
    failure: str | None = None
    notes: Mapping[str, object] = field(default_factory=dict)
    arrays: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def site(self) -> str:
        """The name in it. Raises InvalidReply where it is no text."""
        name = self.notes.get("site")
        if not isinstance(name, str):
            raise InvalidReply("dropped: its reply says no name")
        return name


class Attendance:
    """Who takes part in one round, and who dropped out of it.

    heads: of each site the last head of its ledger that it told, kept for it elsewhere.
    reasons: of each site (or, where its name is not known, "node N") that dropped out, why. What drops a site out drops
    it out of this round alone. Where keys are registered, a node is the site whose key it connects by, whatever it
    calls itself. Else a name belongs to the node that first used it in the round; one that two nodes use is neither's,
    as nobody can tell which of them it is.
    """

    def __init__(
        self,
        expected: Iterable[str],
        nodes: Mapping[str, int] | None = None,
        registered: Mapping[int, str] | None = None,
    ) -> None:
        """`nodes`: of sites that were heard in this round already. `registered`: whose key each node has."""
        self.reasons: dict[str, str] = {}
        self.heads: dict[str, str] = {}
        self.nodes: dict[str, int] = dict(nodes or {})
        self._expected, self._registered = frozenset(expected), registered

    def heard(self, replies: Iterable[Reply], read: Callable[[Reply], T]) -> dict[str, T]:
        """What `read` makes of each site's reply, by site in order of names. `read` raises UserError on what is not to
        be used."""
        found = {}
        for site, reply in sorted(self._answers(replies)):
            try:
                found[site] = read(reply)
            except UserError as invalid:
                self.reasons[site] = f"dropped: {invalid}"
        return found

    def _answers(self, replies: Iterable[Reply]) -> Iterator[tuple[str, Reply]]:
        """The replies of expected sites that answered."""
        received = list(replies)
        speakers = Counter(one.notes.get("site") for one in received if isinstance(one.notes.get("site"), str))
        for reply in received:
            try:
                site = self._name(reply, speakers)
            except InvalidReply as invalid:
                self.reasons[self._label(reply.node)] = str(invalid)
                continue
            if "refused" in reply.notes:
                self.reasons[site] = "refused"
            else:
                self._keep_head(site, reply.notes.get("ledger_head"))
                yield site, reply

    def _keep_head(self, site: str, head: object) -> None:
        if isinstance(head, str) and _HEAD.fullmatch(head):
            self.heads[site] = head

    def _name(self, reply: Reply, speakers: Mapping[object, int]) -> str:
        if reply.failure is not None:
            raise InvalidReply(f"failed: {reply.failure}")
        if "refused" in reply.notes and "site" not in reply.notes:
            raise InvalidReply("refused")
        site = reply.site
        if site not in self._expected:
            raise InvalidReply("dropped: calls itself by a name that is not expected in this run (arm.json, sites)")
        if self._registered is not None:
            if (own := self._registered.get(reply.node, "nobody")) != site:
                raise InvalidReply(f"dropped: calls itself {site}, and its key is registered as that of {own}")
        elif self.nodes.get(site) != reply.node and (
            site in self.nodes or reply.node in self.nodes.values() or speakers[site] > 1
        ):
            raise InvalidReply(f"dropped: calls itself {site}, which is another node's name; each site needs its own")
        self.nodes[site] = reply.node
        return site

    def _label(self, node: int) -> str:
        known = {own: site for site, own in self.nodes.items()} | dict(self._registered or {})
        return known.get(node, f"node {node}")


@dataclass(frozen=True)
class SiteReply:
    """A site's answer to a round: an update, or the reason why there is none. `loss` only without privacy.

    Where the noise is distributed no site has an update of its own, and `reason` alone says who was not in the sum.
    `ledger_head` is of the hospital's ledger after it paid, hex.
    """

    site: str
    update: Weights | None
    reason: str | None = None
    loss: float | None = None
    max_grad_norm: float | None = None
    ledger_head: str | None = None


@dataclass(frozen=True)
class Terms:
    """What a round's request makes of an honest answer. `weights` are those that were sent out.

    What was not asked for, as a loss with privacy, is not read.
    """

    request: Request
    weights: Weights

    def update(self, reply: Reply) -> SiteReply:
        """The update in a reply. Raises UserError unless it has exactly the trained weights, sent as they were asked
        for, all finite and within an honest site's reach (`cmrfed.training.reach`), and the clipping norm and the loss
        that were asked for."""
        messages, shapes = self.request.messages, trained_shapes(self.request)
        wanted = forms(messages, shapes)
        if reply.arrays.keys() != wanted.keys():
            few = len(wanted.keys() & reply.arrays.keys())
            raise InvalidReply(
                f"its update has {few} of the {len(wanted)} arrays of trained weights and {len(reply.arrays)} in all"
            )
        arrays = {name: array_of(reply.arrays[name], *form, name) for name, form in wanted.items()}
        update = decompressed(messages, arrays, shapes)
        _require_finite(update)
        self._require_within_reach(update)
        return SiteReply(reply.site, update, loss=self._loss(reply), max_grad_norm=self._norm(reply))

    @cached_property
    def _reach(self) -> Reach:
        largest = max(float(np.abs(array).max(initial=0)) for array in self.weights.values())
        return sent_reach(self._task, self.request.messages, count(trained_shapes(self.request)), largest)

    @property
    def _task(self) -> LocalTask:
        return self.request.task

    def _require_within_reach(self, update: Weights) -> None:
        entry, norm = size(update)
        if not self._reach.holds(entry, norm):
            raise InvalidReply(
                f"its update moves a weight by {entry:.3g} and all by {norm:.3g}; {self._task.training.local_steps} "
                f"steps at learning rate {self._task.learning_rate:.3g} reach {self._reach.entry:.3g} and "
                f"{self._reach.norm:.3g} at most, with up to a hundred times privacy.declared_patients"
            )

    def _norm(self, reply: Reply) -> float | None:
        if isinstance(self._task.plan, NoPrivacy) or self._task.plan.clipping.adaptive is None:
            return None
        least, largest = norm_range(self._task)
        found = _number(reply, "max_grad_norm")
        if not least * (1 - 1e-6) <= found <= largest * (1 + 1e-6):
            raise InvalidReply(
                f"its clipping norm is {found:.3g}; from here it can come to {least:.3g} to {largest:.3g}"
            )
        return found

    def _loss(self, reply: Reply) -> float | None:
        return _number(reply, "loss") if isinstance(self._task.plan, NoPrivacy) else None


def _number(reply: Reply, name: str) -> float:
    value = reply.notes.get(name)
    if not isinstance(value, float) or not math.isfinite(value):
        raise InvalidReply(f"its {name} is missing or not a finite number")
    return value


def _require_finite(update: Weights) -> None:
    for name, array in update.items():
        if not np.isfinite(array).all():
            raise InvalidReply(f"{name} holds values that are not finite")


def size(update: Weights) -> tuple[float, float]:
    """(The largest size of an entry, the Euclidean norm of all), in double precision."""
    entry = max(float(np.abs(array).max(initial=0)) for array in update.values())
    return entry, math.sqrt(sum(float(np.square(array, dtype=np.float64).sum()) for array in update.values()))


def trained_shapes(request: Request) -> dict[str, tuple[int, ...]]:
    """The weights that a round trains, in order, with their shapes."""
    return _shapes(request.generator, request.task.round, request.task.rounds)


@lru_cache
def _shapes(config: GeneratorConfig, round: int, rounds: int) -> dict[str, tuple[int, ...]]:
    generator = build_generator(config, seed=0).enter(round, rounds)
    return {name: tuple(weight.shape) for name, weight in generator.named_parameters() if weight.requires_grad}


def count(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """How many entries there are in all."""
    return sum(map(math.prod, shapes.values()))


def array_of(encoded: bytes, dtype: NumberFormat, shape: tuple[int, ...], name: str) -> np.ndarray:
    """The array in .npy bytes, if they are as NumPy writes one of this type and shape. Raises InvalidReply, with the
    array's name, where they are not.

    The header is compared and never parsed: what it claims is allocated nowhere.
    """
    header = _header(dtype, shape)
    wanted = len(header) + np.dtype(dtype).itemsize * math.prod(shape)
    if len(encoded) != wanted or not encoded.startswith(header):
        raise InvalidReply(f"{name} is not {dtype} of shape {shape}")
    return np.frombuffer(encoded, dtype, offset=len(header)).reshape(shape)


@lru_cache
def _header(dtype: str, shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, described)
    return stream.getvalue()


def message_of(stage: type[S], reply: Reply) -> S:
    """The message in a reply. Raises InvalidReply where there is none of that kind."""
    text = reply.notes.get("json")
    if not isinstance(text, str) or len(text) > _LONGEST_JSON:
        raise InvalidReply(f"its reply holds no {stage.__name__} of at most {_LONGEST_JSON} characters")
    try:
        return stage.model_validate_json(text)
    except ValueError:
        raise InvalidReply(f"its reply holds no valid {stage.__name__}") from None


def own_message_of(stage: type[Named], reply: Reply) -> Named:
    """The same, where the message says whose it is. Raises InvalidReply where it is another's."""
    said = message_of(stage, reply)
    if said.name != reply.site:
        raise InvalidReply(f"its {stage.__name__} is in another site's name")
    return said


def masked_vector(request: Request, reply: Reply) -> UInt32[np.ndarray, " coordinate"]:
    """The masked vector of a distributed step. Raises InvalidReply unless there is one of the right length."""
    if reply.arrays.keys() != {"masked"}:
        raise InvalidReply("its reply holds no masked vector")
    return array_of(reply.arrays["masked"], "uint32", (coordinates(request),), "the vector")


def coordinates(request: Request) -> int:
    """Entries of a step's sum: the trained weights, and with adaptive clipping one more."""
    plan = request.task.plan
    adaptive = not isinstance(plan, NoPrivacy) and plan.clipping.adaptive is not None
    return count(trained_shapes(request)) + adaptive
