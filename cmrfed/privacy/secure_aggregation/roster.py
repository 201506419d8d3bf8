"""Who takes part in a session under which keys, and how many of them each phase needs."""

import hashlib
from collections.abc import Iterable, Mapping

from cmrfed.config import Stage, UserError
from cmrfed.privacy.secure_aggregation.identity import verify
from cmrfed.privacy.secure_aggregation.messages import Offer, ProtocolViolation, Session, transcript


def check_threshold(sites: int, dropouts: int, colluding: int) -> int:
    """How many of `sites` must take part in each phase so that `dropouts` may fail: sites - dropouts, at least 2.

    Raises UserError unless sites > 2 dropouts + colluding. Sites that collude with the server answer it twice. With
    fewer, they and one part of the honest sites could make up one quorum, and they and the other part a second; the
    one would reveal a site's self-mask seed, the other its mask key, and so its vector (Bonawitz et al. 2017, the
    active case of section 6). It follows that at least dropouts + 1 of the summed sites are honest; where that is 1,
    the colluding sites can subtract their own vectors, and the sum hides no more than that site's own noise does.
    """
    threshold = sites - dropouts
    if min(dropouts, colluding) < 0 or threshold < 2 or not _quorums_share_an_honest_site(threshold, sites, colluding):
        raise UserError(
            f"secure aggregation over {sites} sites cannot tolerate {dropouts} dropouts and {colluding} colluders: it "
            "needs sites - dropouts >= 2 and sites > 2 * dropouts + colluding; have more sites, or lower the others"
        )
    return threshold


def _quorums_share_an_honest_site(threshold: int, sites: int, colluding: int) -> bool:
    return 2 * threshold > sites + colluding


class Roster(Stage):
    """Every site's offer, by name; the same at all sites, or nothing that one sends can be read by another."""

    session: Session
    offers: tuple[Offer, ...]

    @classmethod
    def of(cls, session: Session, offers: Iterable[Offer]) -> "Roster":
        """Put the offers in order. Raises ProtocolViolation when a name comes twice or too few came."""
        ordered = tuple(sorted(offers, key=lambda offer: offer.name))
        names = [offer.name for offer in ordered]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ProtocolViolation(f"offer: {', '.join(repeated)} came twice; each site makes one offer a session")
        if len(names) < session.threshold:
            raise ProtocolViolation(f"offer: {len(names)} sites, and {session.threshold} must take part; wait for more")
        return cls(session=session, offers=ordered)

    @property
    def names(self) -> tuple[str, ...]:
        """In order; a site's shares are numbered by its place, from 1."""
        return tuple(offer.name for offer in self.offers)

    @property
    def digest(self) -> str:
        """SHA-256, hex, of the session and all offers."""
        offers = [offer.model_dump_json() for offer in self.offers]
        return hashlib.sha256(transcript("roster", self.session.digest, offers)).hexdigest()

    def __getitem__(self, name: str) -> Offer:
        return self.offers[self.names.index(name)]

    def verify(self, peers: Mapping[str, str], colluding: int) -> None:
        """Check all offers against a registry, name -> Ed25519 public key in hex.

        Raises ProtocolViolation on a site that is not registered, on an offer that its site did not sign for this
        session, on two sites with one identity, and on a threshold too low against `colluding` sites.
        """
        for offer in self.offers:
            _check_offer(offer, self.session, peers)
        if len({bytes.fromhex(peers[name]) for name in self.names}) < len(self.names):
            raise ProtocolViolation("offer: two sites are registered under one key; each must create its own")
        sites, threshold = len(self.names), self.session.threshold
        if not _quorums_share_an_honest_site(threshold, sites, colluding):
            raise ProtocolViolation(
                f"offer: a threshold of {threshold} among {sites} sites is unsafe against {colluding} colluding ones; "
                f"it must be above {(sites + colluding) // 2}"
            )


def _check_offer(offer: Offer, session: Session, peers: Mapping[str, str]) -> None:
    if offer.name not in peers:
        raise ProtocolViolation(
            f"offer: {offer.name} is not a registered peer; register its public key or leave it out"
        )
    if not verify(peers[offer.name], offer.statement(session), offer.signature):
        raise ProtocolViolation(
            f"offer: {offer.name} did not sign these keys for this session with its registered key; "
            f"somebody stands between, or the sites were asked for different things"
        )
