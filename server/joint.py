"""The strategy of a joint step, whose noise the sites share: the server relays five phases and learns one sum.

See `cmrfed.privacy.secure_aggregation` for the protocol and `cmrfed.site.joint` for the sites' side. A round in which
too few sites got through is over without an update, and is not asked for again: sites may have paid for it.
"""

import time
from collections.abc import Iterable, Mapping

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid

from cmrfed.config import UserError, read_stage_json_text
from cmrfed.federation import SiteReply, advance, joint_update
from cmrfed.privacy import NoiseSharing
from cmrfed.privacy.secure_aggregation import (
    Confirmation,
    Offer,
    ProtocolViolation,
    Revealed,
    Session,
    route,
    unmask,
)
from cmrfed.site.joint import Confirmations, Offers, S, Shares, Survivors
from server.strategy import EverySiteRefused, PrivateFederation, said, to_record


class JointFederation(PrivateFederation):
    """Each round one private step over all sites; any one site's part stays hidden from the server."""

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Phases 1 and 2, and the messages of phase 3."""
        self._round_started, self._grid = time.time(), grid
        self._reasons: dict[str, str] = {}
        self._nodes: dict[str, int] = {}
        self._request = self.arm.request(self.state)
        self._session = Session.fresh(self._request.digest, self._sharing.quorum)
        try:
            self._offers = self._collect_offers()
            shares = route({name: answer.shares for name, answer in self._deal().items()})
        except ProtocolViolation as violation:
            self._reasons["the round"] = str(violation)
            return []
        self.arm.attempt(self.state.round + 1)
        self._senders = sorted(shares)
        content = {"weights": to_record(self.state.weights), "request": said(self._request)}
        return [
            self._message("mask", name, {**content, "asked": said(Shares(shares=tuple(own)))})
            for name, own in shares.items()
        ]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Phases 4 and 5, and the step."""
        masked = {name: _vector(content) for name, content in self._sort(replies).items()}
        updates, norm = [], self.state.max_grad_norm
        try:
            total = self._unmask(masked)
            update, norm = joint_update(self._request.task, total, len(masked), self.arm.config.generator)
            updates = [update]
        except ProtocolViolation as violation:
            self._reasons.setdefault("the round", str(violation))
        self.state = advance(self.state, updates, self.arm.config.aggregation, [norm] if norm else [])
        replies_of_sites = [SiteReply(name, None, reason) for name, reason in sorted(self._reasons.items())]
        replies_of_sites += [SiteReply(name, None) for name in sorted(masked) if name not in self._reasons]
        self.arm.end_round(self.state, replies_of_sites, self._round_started)
        return to_record(self.state.weights), None

    @property
    def _sharing(self) -> NoiseSharing:
        if self.arm.plan is None or self.arm.plan.sharing is None:
            raise UserError(f"{self.arm.folder / 'arm.json'}: plan: its noise is not shared; no joint step is possible")
        return self.arm.plan.sharing

    def _collect_offers(self) -> tuple[Offer, ...]:
        """Phase 1, from every node that is there. Raises EverySiteRefused where too few are willing."""
        content = {"request": said(self._request), "asked": said(self._session)}
        nodes = list(self._grid.get_node_ids())
        messages = [Message(RecordDict(content), node, f"{MessageType.QUERY}.offer") for node in nodes]  # type: ignore[arg-type]
        offers = _parse(self._sort(self._grid.send_and_receive(messages, timeout=self._timeout_s)), Offer)
        willing = len(nodes) - sum(reason.startswith("refused") for reason in self._reasons.values())
        if len(offers) < self._session.threshold and willing < self._session.threshold:
            reasons = "; ".join(f"{site}: {reason}" for site, reason in sorted(self._reasons.items()))
            raise EverySiteRefused(
                f"round {self.state.round + 1} needs {self._session.threshold} sites, and {len(offers)} take part "
                f"({reasons or 'no other is connected'})"
            )
        return tuple(offers.values())

    def _deal(self) -> Mapping[str, Shares]:
        """Phase 2, from every site that made an offer."""
        asked = said(Offers(run=self._request.run, offers=self._offers))
        return _parse(self._ask("share", [offer.name for offer in self._offers], {"asked": asked}), Shares)

    def _unmask(self, masked: Mapping[str, np.ndarray]) -> np.ndarray:
        """Phases 4 and 5: the sum over the sites whose vectors came."""
        if len(masked) < self._session.threshold:
            raise ProtocolViolation(f"{len(masked)} sites got through, {self._session.threshold} are needed")
        run, names = self._request.run, sorted(masked)
        survivors = said(Survivors(run=run, survivors=tuple(names)))
        signed = _parse(self._ask("confirm", names, {"asked": survivors}), Confirmation)
        asked = said(Confirmations(run=run, confirmations=tuple(signed.values())))
        revealed = _parse(self._ask("reveal", list(signed), {"asked": asked}), Revealed)
        return unmask(self._session, self._offers, self._senders, masked, list(revealed.values()))

    def _ask(self, action: str, names: Iterable[str], content: dict[str, ConfigRecord]) -> dict[str, RecordDict]:
        messages = [self._message(action, name, content) for name in names]
        return self._sort(self._grid.send_and_receive(messages, timeout=self._timeout_s))

    def _message(self, action: str, name: str, content: Mapping[str, ConfigRecord | ArrayRecord]) -> Message:
        return Message(RecordDict(dict(content)), self._nodes[name], f"{MessageType.QUERY}.{action}")

    @property
    def _timeout_s(self) -> float:
        return self.arm.config.federation.round_timeout_s

    def _sort(self, replies: Iterable[Message]) -> dict[str, RecordDict]:
        """Contents by site; who failed or refused goes to the reasons. A name is the node's that first used it."""
        found = {}
        for reply in replies:
            node = reply.metadata.src_node_id
            if reply.has_error():
                known = next((name for name, own in self._nodes.items() if own == node), f"node {node}")
                self._reasons[known] = f"failed: {reply.error.reason}"
                continue
            notes = reply.content["answer"]
            name = str(notes["site"])
            if self._nodes.setdefault(name, node) != node:
                self._reasons[f"node {node}"] = f"failed: calls itself {name}, as another node does"
            elif "refused" in notes:
                self._reasons[name] = f"refused: {notes['refused']}"
            else:
                found[name] = reply.content
        return found


def _parse(contents: Mapping[str, RecordDict], stage: type[S]) -> dict[str, S]:
    """What the sites said; what cannot be read counts as not said, and the protocol bears it or stops the round."""
    said_by: dict[str, S] = {}
    for name, content in contents.items():
        try:
            said_by[name] = read_stage_json_text(stage, str(content["answer"]["json"]), where=f"{name}'s answer")
        except (UserError, KeyError):
            continue
    return said_by


def _vector(content: RecordDict) -> np.ndarray:
    return np.asarray(content["masked"]["masked"].numpy())
