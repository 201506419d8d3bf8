"""Secure aggregation of integer vectors modulo 2^32: the site's half (`Participant`) and the server's (`unmask`).

The active-adversary protocol of Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine
Learning" (CCS 2017, figure 4), with the sum and the threshold of `check_threshold`:

    offer -> share -> mask -> confirm -> reveal -> unmask

What it promises. Against a server that deviates at will together with up to `colluding` sites, it learns of the
other sites' vectors their sum over one survivor set of at least `threshold` sites, or nothing. It rests on
Ed25519 public keys exchanged out of band, so that the registry is the hospital's and never the server's; X25519,
HKDF-SHA256, ChaCha20 and Poly1305; secure random numbers at the honest sites. Beyond the paper, keys and signatures
are bound to the session (what was asked of everybody) and to the roster (everybody's keys), so that sites that were
shown different ones get nowhere together; and the seeds are committed to, so that one put together from wrong shares
is noticed.

What it does not promise. Anybody may stop a round. A site may lie about its vector. The sum itself is as private as
the noise in it makes it. And each session stands alone: the same values masked in two sessions give the server two
sums, whose difference may be a single site's vector. A site must therefore mask given values in one session ever,
whether or not it saw that session end, and whoever calls `mask` has to see to it.
"""

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Int64, UInt32
from pydantic import ValidationError

from cmrfed.config import UserError
from cmrfed.privacy.secure_aggregation.identity import Identity, verify
from cmrfed.privacy.secure_aggregation.keys import commit, generate_private_key, public_key
from cmrfed.privacy.secure_aggregation.masks import add_pairwise_masks, add_self_mask
from cmrfed.privacy.secure_aggregation.messages import (
    Confirmation,
    EncryptedShare,
    Offer,
    ProtocolViolation,
    Revealed,
    Session,
    Share,
    offer_statement,
    transcript,
)
from cmrfed.privacy.secure_aggregation.roster import Roster
from cmrfed.privacy.secure_aggregation.sharing import combine, seal, split, unseal
from cmrfed.privacy.secure_aggregation.state import Confirmed, Masked, Secrets, Shared, State

_LARGEST_SUM = 2**31 - 1


class Participant:
    """One site's half of one session.

    Each phase moves the state on. Save `to_json()`, mode 0600, BEFORE the phase's message leaves: a site that forgot
    what it said could be made to say something else. A phase repeated with the same input returns the same message,
    save `mask`, which happens once; all else out of order raises ProtocolViolation and changes nothing.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    @classmethod
    def begin(cls, session: Session, name: str, identity: Identity) -> tuple["Participant", Offer]:
        """Phase 1, offer: fresh keys and a fresh seed, signed for this session. Begin a session only once."""
        own = Secrets(share_key=generate_private_key(), mask_key=generate_private_key(), seed=secrets.token_hex(32))
        public = {
            "name": name,
            "share_key": public_key(own.share_key),
            "mask_key": public_key(own.mask_key),
            "seed_commitment": commit(own.seed, session.digest, name),
        }
        offer = Offer(**public, signature=identity.sign(offer_statement(session, **public)))
        return cls(State(session=session, offer=offer, secrets=own)), offer

    @classmethod
    def from_json(cls, text: str) -> "Participant":
        """The participant that `to_json` wrote. Raises UserError when the text is not one."""
        try:
            return cls(State.model_validate_json(text))
        except ValidationError as error:
            key = ".".join(str(part) for part in error.errors()[0]["loc"]) or "the beginning"
            raise UserError(
                f"secure aggregation: the saved state is damaged at {key}; this site must sit the session out"
            ) from None

    def to_json(self) -> str:
        """The whole state, secrets included."""
        return self._state.model_dump_json()

    def share(self, offers: Iterable[Offer], peers: Mapping[str, str], colluding: int) -> tuple[EncryptedShare, ...]:
        """Phase 2, share: check everybody's offers against this hospital's registry, then deal shares of the secrets.

        `peers` maps each registered site, this one too, to its Ed25519 public key in hex; `colluding` is how many of
        them may side with the server. Returns a share for each other site of the roster.
        """
        state = self._state
        roster = Roster.of(state.session, offers)
        if state.shared is not None:
            if roster != state.shared.roster:
                raise state.violation("share", "was done for another roster; start a new session")
            return state.shared.sent
        if state.offer not in roster.offers:
            raise state.violation("share", "its own offer is missing or was changed; start a new session")
        roster.verify(peers, colluding)
        shared = _deal(state, roster, {name: peers[name] for name in roster.names})
        self._state = state.model_copy(update={"shared": shared})
        return shared.sent

    def require_ready_to_mask(self, shares: Iterable[EncryptedShare]) -> None:
        """Raise ProtocolViolation where `mask` would, whatever the values; before anything is spent on them."""
        _ready_to_mask(self._state, shares)

    @property
    def session_digest(self) -> str:
        """SHA-256, hex, of the session."""
        return self._state.session.digest

    def mask(
        self, values: Int64[np.ndarray, " entry"], shares: Iterable[EncryptedShare]
    ) -> UInt32[np.ndarray, " entry"]:
        """Phase 3, mask: open the shares addressed to this site, then hide the values modulo 2^32.

        The shares' senders and this site are U2. |values| must be at most (2^31 - 1) // |U2|, so that no sum wraps.
        The keys are forgotten with it: a second vector under the same masks would give away the difference.
        """
        state = self._state
        own, shared, held, senders = _ready_to_mask(state, shares)
        _require_range(state, values, _LARGEST_SUM // len(senders))
        vector = _mask(values, state.name, own, senders, shared.roster)
        self._state = state.model_copy(update={"masked": Masked(senders=senders, held=held), "secrets": None})
        return vector

    def confirm(self, survivors: Collection[str], identity: Identity) -> Confirmation:
        """Phase 4, confirm: sign the one set of sites (U3) whose vectors arrived, as the server announces it."""
        state = self._state
        masked = state.require(state.masked, "confirm", "comes after mask")
        if state.confirmed is not None:
            if set(survivors) != set(state.confirmed.survivors):
                raise state.violation("confirm", "was done for other survivors; a site signs one set a session")
            return state.confirmed.confirmation
        names = _quorum(state, "confirm", survivors, masked.senders)
        confirmation = Confirmation(name=state.name, signature=identity.sign(_survivors_statement(state, names)))
        confirmed = Confirmed(survivors=names, confirmation=confirmation)
        self._state = state.model_copy(update={"confirmed": confirmed})
        return confirmation

    def reveal(self, confirmations: Iterable[Confirmation]) -> Revealed:
        """Phase 5, reveal: once `threshold` survivors have signed the set this site signed, its shares for the server.

        Of a survivor the share of the seed, of a dropped site (U2 minus U3) that of the mask key, of none both; its
        peers' other shares are forgotten. What does not verify counts for nothing, and any quorum gets the same.
        """
        state = self._state
        confirmed = state.require(state.confirmed, "reveal", "comes after confirm")
        masked = state.require(state.masked, "reveal", "comes after mask")
        _require_quorum_of_signatures(state, confirmed.survivors, confirmations)
        if state.revealed is not None:
            return state.revealed
        revealed = Revealed(
            name=state.name,
            seeds={name: share.seed for name, share in masked.held.items() if name in confirmed.survivors},
            mask_keys={name: share.mask_key for name, share in masked.held.items() if name not in confirmed.survivors},
        )
        forgotten = masked.model_copy(update={"held": {}})
        self._state = state.model_copy(update={"revealed": revealed, "masked": forgotten})
        return revealed


def _deal(state: State, roster: Roster, identities: dict[str, str]) -> Shared:
    own = state.require(state.secrets, "share", "comes before mask")
    context, threshold, count = roster.digest, state.session.threshold, len(roster.names)
    mask_keys, seeds = split(own.mask_key, threshold, count), split(own.seed, threshold, count)
    dealt = {
        name: Share(mask_key=mask_key, seed=seed)
        for name, mask_key, seed in zip(roster.names, mask_keys, seeds, strict=True)
    }
    kept = dealt.pop(state.name)
    sent = tuple(
        seal(share, own.share_key, roster[peer].share_key, state.name, peer, context) for peer, share in dealt.items()
    )
    return Shared(roster=roster, identities=identities, kept=kept, sent=sent)


def _ready_to_mask(
    state: State, shares: Iterable[EncryptedShare]
) -> tuple[Secrets, Shared, dict[str, Share], tuple[str, ...]]:
    """Own secrets, what was shared, the shares held by name, and their senders (U2)."""
    own = state.require(state.secrets, "mask", "was done; a second vector would undo the masks of the first")
    shared = state.require(state.shared, "mask", "comes after share")
    held = {state.name: shared.kept} | _unseal_all(state, own, shared.roster, shares)
    return own, shared, held, _quorum(state, "mask", held, shared.roster.names)


def _unseal_all(state: State, own: Secrets, roster: Roster, shares: Iterable[EncryptedShare]) -> dict[str, Share]:
    context, opened = roster.digest, dict[str, Share]()
    for sealed in shares:
        sender = sealed.sender
        if sealed.recipient != state.name:
            raise state.violation("mask", f"got the share that {sender} addressed to {sealed.recipient}")
        if sender in (state.name, *opened) or sender not in roster.names:
            raise state.violation("mask", f"got a share from {sender}, who is not in the roster or sent one already")
        opened[sender] = unseal(sealed, own.share_key, roster[sender].share_key, context)
    return opened


def _quorum(state: State, phase: str, names: Collection[str], among: tuple[str, ...]) -> tuple[str, ...]:
    """The distinct names, sorted: at least `threshold`, this site with them, and none that is not in `among`."""
    distinct, threshold = tuple(sorted(set(names))), state.session.threshold
    if strangers := sorted(set(distinct) - set(among)):
        raise state.violation(phase, f"{strangers[0]!r} was not in the phase before; start a new session")
    if state.name not in distinct:
        raise state.violation(phase, "was itself left out; start a new session")
    if len(distinct) < threshold:
        raise state.violation(phase, f"{len(distinct)} sites are left and {threshold} must be; start a new session")
    return distinct


def _require_range(state: State, values: Int64[np.ndarray, " entry"], largest: int) -> None:
    low, high = values.min(initial=0), values.max(initial=0)
    if low < -largest or high > largest:
        raise state.violation("mask", f"values from {low} to {high} could wrap the sum; keep them within +-{largest}")


def _mask(
    values: Int64[np.ndarray, " entry"], name: str, own: Secrets, senders: tuple[str, ...], roster: Roster
) -> UInt32[np.ndarray, " entry"]:
    vector = values.astype(np.uint32)
    add_self_mask(vector, own.seed, name, roster.digest, sign=1)
    peers = [(peer, roster[peer].mask_key) for peer in senders if peer != name]
    add_pairwise_masks(vector, own.mask_key, name, peers, roster.digest)
    return vector


def _survivors_statement(state: State, survivors: tuple[str, ...]) -> bytes:
    """What is signed in phase 4. The roster's digest stands for the session as well."""
    shared = state.require(state.shared, "confirm", "comes after share")
    masked = state.require(state.masked, "confirm", "comes after mask")
    return transcript("survivors", shared.roster.digest, list(masked.senders), list(survivors))


def _require_quorum_of_signatures(
    state: State, survivors: tuple[str, ...], confirmations: Iterable[Confirmation]
) -> None:
    identities = state.require(state.shared, "reveal", "comes after share").identities
    statement, threshold = _survivors_statement(state, survivors), state.session.threshold
    signed = {
        one.name
        for one in confirmations
        if one.name in survivors and verify(identities[one.name], statement, one.signature)
    }
    if len(signed) < threshold:
        raise state.violation(
            "reveal", f"{len(signed)} survivors signed these survivors and {threshold} must; nothing was revealed"
        )


def route(shares: Mapping[str, Sequence[EncryptedShare]]) -> dict[str, list[EncryptedShare]]:
    """The server's post: what each site of U2 (the keys) sent, sorted by recipient.

    Only what is addressed to a site of U2 is kept. Raises ProtocolViolation, naming the site, when one sent a share in
    another's name, or not exactly one to each other site of U2.
    """
    routed: dict[str, list[EncryptedShare]] = {name: [] for name in shares}
    for sender, sent in shares.items():
        wanted = [share for share in sent if share.recipient in shares]
        require_dealt(sender, wanted, shares)
        for share in wanted:
            routed[share.recipient].append(share)
    return routed


def require_dealt(sender: str, sent: Sequence[EncryptedShare], sites: Collection[str]) -> None:
    """Raise ProtocolViolation, naming the sender, unless it sent exactly one share to each other site, in its name."""
    if any(share.sender != sender for share in sent):
        raise ProtocolViolation(f"share: {sender} sent a share in another site's name; leave it out")
    if sorted(share.recipient for share in sent) != sorted(set(sites) - {sender}):
        raise ProtocolViolation(f"share: {sender} did not send one share to each other site; leave it out")


def unmask(
    session: Session,
    offers: Iterable[Offer],
    senders: Collection[str],
    masked: Mapping[str, np.ndarray],
    revealed: Sequence[Revealed],
) -> Int64[np.ndarray, " entry"]:
    """The sum of the survivors' uint32 vectors (`masked`, U3), each entry in [-2^31, 2^31).

    `offers` is the roster and `senders` U2, as they were shown to the sites. Raises ProtocolViolation when fewer than
    `threshold` sites revealed, and, naming the site, when its vector has another shape, when it revealed other shares
    than it was asked for, or when the shares of its secrets do not give what it offered.
    """
    roster = Roster.of(session, offers)
    survivors, dropped = sorted(masked), sorted(set(senders) - set(masked))
    _check_vectors(masked, roster, senders)
    _check_revealed(revealed, roster, survivors, dropped)
    total = np.zeros_like(masked[survivors[0]])
    for name in survivors:
        total += masked[name]
        add_self_mask(total, _seed(name, roster, revealed), name, roster.digest, sign=-1)
    for name in dropped:
        # Its own side of each pair is what it never sent; added now, it cancels the survivors'.
        peers = [(survivor, roster[survivor].mask_key) for survivor in survivors]
        add_pairwise_masks(total, _mask_key(name, roster, revealed), name, peers, roster.digest)
    return total.view(np.int32).astype(np.int64)


def _check_vectors(masked: Mapping[str, np.ndarray], roster: Roster, senders: Collection[str]) -> None:
    if len(masked) < roster.session.threshold:
        raise ProtocolViolation(f"unmask: {len(masked)} vectors, and {roster.session.threshold} must have come")
    shape = next(iter(masked.values())).shape
    for name, vector in masked.items():
        if name not in senders or name not in roster.names:
            raise ProtocolViolation(f"unmask: {name} sent a vector and took no part in the phases before")
        if vector.dtype != np.uint32 or vector.ndim != 1 or vector.shape != shape:
            raise ProtocolViolation(f"unmask: {name} sent {vector.dtype}{vector.shape}, others uint32{shape}")


def _check_revealed(revealed: Sequence[Revealed], roster: Roster, survivors: list[str], dropped: list[str]) -> None:
    names = [one.name for one in revealed]
    if len(names) < roster.session.threshold or len(set(names)) < len(names) or set(names) - set(survivors):
        raise ProtocolViolation(
            f"unmask: {len(names)} sites revealed shares; it takes {roster.session.threshold} distinct survivors"
        )
    for one in revealed:
        require_revealed(one, survivors, dropped)


def require_revealed(one: Revealed, survivors: Collection[str], dropped: Collection[str]) -> None:
    """Raise ProtocolViolation, naming the site, unless it revealed just what it was asked for: of each survivor a share
    of the seed, and of each dropped site one of the mask key."""
    if set(one.seeds) != set(survivors) or set(one.mask_keys) != set(dropped):
        raise ProtocolViolation(f"unmask: {one.name} revealed other shares than it was asked for; leave it out")


def _seed(name: str, roster: Roster, revealed: Sequence[Revealed]) -> str:
    seed = _combine({one.name: one.seeds[name] for one in revealed}, roster)
    if commit(seed, roster.session.digest, name) != roster[name].seed_commitment:
        raise ProtocolViolation(f"unmask: the shares of {name}'s seed do not give the seed it committed to")
    return seed


def _mask_key(name: str, roster: Roster, revealed: Sequence[Revealed]) -> str:
    mask_key = _combine({one.name: one.mask_keys[name] for one in revealed}, roster)
    if public_key(mask_key) != roster[name].mask_key:
        raise ProtocolViolation(f"unmask: the shares of {name}'s mask key do not give the key it offered")
    return mask_key


def _combine(shares: Mapping[str, str], roster: Roster) -> str:
    """The secret, from the first `threshold` of the shares (holder -> share)."""
    holders = sorted(shares)[: roster.session.threshold]
    return combine({roster.names.index(holder) + 1: shares[holder] for holder in holders})
