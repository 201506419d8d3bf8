"""The strategy of distributed noise: in each step the server relays five phases and learns one sum.

See `cmrfed.privacy.secure_aggregation` for the protocol and `cmrfed.site.distributed` for the sites' side. A round in
which too few sites got through is over without an update, and is not asked for again: sites may have paid for it.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TypeVar

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord
from flwr.serverapp import Grid

from cmrfed.config import UserError
from cmrfed.federation import distributed_update
from cmrfed.privacy import DistributedNoise
from cmrfed.privacy.secure_aggregation import (
    Confirmation,
    Offer,
    ProtocolViolation,
    Revealed,
    Session,
    require_dealt,
    require_revealed,
    require_usable,
    route,
    unmask,
)
from cmrfed.replies import InvalidReply, Reply, SiteReply, masked_vector, message_of, own_message_of
from cmrfed.site.distributed import Confirmations, Offers, Shares, Survivors

from .strategy import PrivateFederation, TooFewReplies, said

T = TypeVar("T")


class DistributedFederation(PrivateFederation):
    """Each round one private step over all sites; any one site's part stays hidden from the server."""

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Phases 1 and 2, and the messages of phase 3."""
        self._begin_round(grid)
        self._request = self.arm.request(self.state)
        self._session = Session.fresh(self._request.digest, self._plan.quorum)
        try:
            self._offers = self._collect_offers()
            shares = route({name: answer.shares for name, answer in self._require_quorum(self._deal()).items()})
        except ProtocolViolation as violation:
            self._attendance.reasons["the round"] = str(violation)
            return []
        self.arm.attempt(self.state.round + 1)
        self._senders = sorted(shares)
        nodes, request = self._attendance.nodes, said(self._request)
        weights = self._weights_for([nodes[name] for name in shares])
        return self._sent(
            self._to_site(
                "mask",
                name,
                {"weights": weights[nodes[name]], "request": request, "asked": said(Shares(shares=tuple(own)))},
            )
            for name, own in shares.items()
        )

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Phases 4 and 5, and the step."""
        masked = self._heard(replies, "masked", partial(masked_vector, self._request))
        updates, norm, reasons = [], self.state.max_grad_norm, self._attendance.reasons
        try:
            total = self._unmask(masked)
            update, norm = distributed_update(self._request.task, total, len(masked), self.arm.config.generator)
            updates = [update]
        except (ProtocolViolation, InvalidReply) as violation:
            reasons.setdefault("the round", str(violation))
        state = self.arm.advance(self.state, updates, [norm] if norm else [], len(masked))
        told = [SiteReply(name, None, reason) for name, reason in sorted(reasons.items())]
        heads = self._attendance.heads
        told += [SiteReply(name, None, ledger_head=heads.get(name)) for name in sorted(masked) if name not in reasons]
        return self._end_round(state, told, masked)

    @property
    def _plan(self) -> DistributedNoise:
        if not isinstance(self.arm.plan, DistributedNoise):
            raise UserError(f"{self.arm.folder / 'arm.json'}: plan: its noise is not distributed among the sites")
        return self.arm.plan

    def _collect_offers(self) -> tuple[Offer, ...]:
        """Phase 1, from every node that is there. Raises TooFewReplies where too few are willing."""
        content = {"request": said(self._request), "asked": said(self._session)}
        nodes = self._nodes()
        messages = [self._message(content, node, f"{MessageType.QUERY}.offer") for node in nodes]
        offers = self._exchanged(messages, _offer)
        reasons = self._attendance.reasons
        willing = len(nodes) - sum(reason == "refused" for reason in reasons.values())
        if len(offers) < self._session.threshold and willing < self._session.threshold:
            told = "; ".join(f"{site}: {reason}" for site, reason in sorted(reasons.items()))
            raise TooFewReplies(
                f"round {self.state.round + 1} needs {self._session.threshold} sites, and {len(offers)} take part "
                f"({told or 'no other is connected'})"
            )
        return tuple(self._require_quorum(offers).values())

    def _deal(self) -> Mapping[str, Shares]:
        """Phase 2, from every site that made an offer."""
        asked, names = said(Offers(run=self._request.run, offers=self._offers)), [offer.name for offer in self._offers]

        def dealt(reply: Reply) -> Shares:
            found = message_of(Shares, reply)
            require_dealt(reply.site, found.shares, names)
            return found

        return self._ask("share", names, {"asked": asked}, dealt)

    def _unmask(self, masked: Mapping[str, np.ndarray]) -> np.ndarray:
        """Phases 4 and 5: the sum over the sites whose vectors came."""
        run, names = self._request.run, sorted(self._require_quorum(masked))
        survivors = said(Survivors(run=run, survivors=tuple(names)))
        signed = self._ask("confirm", names, {"asked": survivors}, partial(own_message_of, Confirmation))
        asked = said(Confirmations(run=run, confirmations=tuple(signed.values())))

        def revealed(reply: Reply) -> Revealed:
            found = own_message_of(Revealed, reply)
            require_revealed(found, names, set(self._senders).difference(names))
            return found

        told = self._ask("reveal", list(signed), {"asked": asked}, revealed)
        return unmask(self._session, self._offers, self._senders, masked, list(told.values()))

    def _require_quorum(self, answers: Mapping[str, T]) -> Mapping[str, T]:
        if len(answers) < self._session.threshold:
            raise ProtocolViolation(f"{len(answers)} sites got through, {self._session.threshold} are needed")
        return answers

    def _ask(
        self, action: str, names: Iterable[str], content: dict[str, ConfigRecord], read: Callable[[Reply], T]
    ) -> dict[str, T]:
        return self._exchanged([self._to_site(action, name, content) for name in names], read)

    def _exchanged(self, messages: Iterable[Message], read: Callable[[Reply], T]) -> dict[str, T]:
        sent = self._sent(messages)
        return self._heard(self._grid.send_and_receive(sent, timeout=self._timeout_s), "", read)

    def _to_site(self, action: str, name: str, content: Mapping[str, ConfigRecord | ArrayRecord]) -> Message:
        return self._message(content, self._attendance.nodes[name], f"{MessageType.QUERY}.{action}")

    @property
    def _timeout_s(self) -> float:
        return self.arm.config.federation.round_timeout_s


def _offer(reply: Reply) -> Offer:
    """An offer of keys that work; with others no peer could go on."""
    offer = own_message_of(Offer, reply)
    for public in (offer.share_key, offer.mask_key):
        require_usable(public)
    return offer
