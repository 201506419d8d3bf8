"""A round played by hand: every site and the server, phase by phase, so that a test can put anything in between."""

import json
from collections.abc import Iterable, Mapping

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cmrfed.privacy.secure_aggregation import (
    Confirmation,
    EncryptedShare,
    Identity,
    Participant,
    Revealed,
    Session,
    check_threshold,
    route,
    unmask,
)

REQUEST = "ab" * 32


def new_identity() -> Identity:
    return Identity(Ed25519PrivateKey.generate())


class Round:
    """`sites` sites, named a, b, ..., of which `dropouts` may fail, and that have made their offers."""

    def __init__(self, sites: int, dropouts: int = 0, identities: Mapping[str, Identity] | None = None) -> None:
        self.session = Session.fresh(REQUEST, check_threshold(sites, dropouts, colluding=0))
        self.names = [chr(ord("a") + number) for number in range(sites)]
        self.identities = identities or {name: new_identity() for name in self.names}
        self.peers = {name: identity.public for name, identity in self.identities.items()}
        begun = {name: Participant.begin(self.session, name, self.identities[name]) for name in self.names}
        self.participants = {name: participant for name, (participant, _) in begun.items()}
        self.offers = [offer for _, offer in begun.values()]

    def secrets(self, name: str) -> dict[str, str]:
        """The site's private keys and seed, which are there until it has masked."""
        return json.loads(self.participants[name].to_json())["secrets"]

    def share(self, senders: Iterable[str] | None = None) -> dict[str, list[EncryptedShare]]:
        """All of `senders` share; returns the server's post for each."""
        return route({name: self.share_of(name) for name in senders or self.names})

    def share_of(self, name: str) -> tuple[EncryptedShare, ...]:
        return self.participants[name].share(self.offers, self.peers, 0)

    def mask(self, values: Mapping[str, np.ndarray], post: dict[str, list[EncryptedShare]]) -> dict[str, np.ndarray]:
        return {name: self.participants[name].mask(values[name], post[name]) for name in values}

    def confirm(self, survivors: Iterable[str], by: Iterable[str] | None = None) -> list[Confirmation]:
        survivors = sorted(survivors)
        return [self.confirm_of(name, survivors) for name in by or survivors]

    def confirm_of(self, name: str, survivors: Iterable[str]) -> Confirmation:
        return self.participants[name].confirm(list(survivors), self.identities[name])

    def reveal(self, confirmations: list[Confirmation]) -> list[Revealed]:
        return [self.participants[one.name].reveal(confirmations) for one in confirmations]

    def run(self, values: Mapping[str, np.ndarray], senders: Iterable[str], late: Iterable[str] = ()) -> np.ndarray:
        """A whole round: `senders` share, those with `values` mask, those not `late` confirm and reveal."""
        post = self.share(senders)
        masked = self.mask(values, post)
        revealed = self.reveal(self.confirm(masked, by=sorted(set(masked) - set(late))))
        return unmask(self.session, self.offers, list(post), masked, revealed)


def restore(round: Round) -> None:
    """Every site's process ends, and starts again from what it saved."""
    saved = {name: participant.to_json() for name, participant in round.participants.items()}
    round.participants = {name: Participant.from_json(text) for name, text in saved.items()}


def zeros(names: Iterable[str], count: int = 3) -> dict[str, np.ndarray]:
    return {name: np.zeros(count, dtype=np.int64) for name in names}
