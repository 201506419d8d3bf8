"""Keys are bound to registered hospitals and to one session: nobody stands between, and nothing is replayed."""

import pytest
from played_rounds import Round, new_identity, zeros
from refusals import refuses

from cmrfed.privacy.secure_aggregation import Participant, Session, route
from cmrfed.privacy.secure_aggregation.keys import generate_private_key, public_key


def with_offer(round, offer):
    """The offers, one of them replaced by another of the same name."""
    return [offer if one.name == offer.name else one for one in round.offers]


def offer_of(name, session, identity):
    return Participant.begin(session, name, identity)[1]


@pytest.mark.parametrize("key", ["share_key", "mask_key", "seed_commitment"])
def test_a_key_swapped_by_the_server_is_refused(key):
    round = Round(3)
    swapped = round.offers[1].model_copy(update={key: public_key(generate_private_key())})
    with refuses("offer: b", "did not sign"):
        round.participants["a"].share(with_offer(round, swapped), round.peers, 0)


def test_an_offer_signed_by_the_server_in_a_peers_name_is_refused():
    round = Round(3)
    with refuses("offer: b", "did not sign"):
        round.participants["a"].share(with_offer(round, offer_of("b", round.session, new_identity())), round.peers, 0)


@pytest.mark.parametrize("change", [{"request": "cd" * 32}, {"nonce": "cd" * 32}, {"threshold": 2}])
def test_a_peer_that_was_asked_for_anything_else_is_refused(change):
    round = Round(3)
    elsewhere = Session(**(round.session.model_dump() | change))
    with refuses("offer: b", "this session"):
        round.participants["a"].share(
            with_offer(round, offer_of("b", elsewhere, round.identities["b"])), round.peers, 0
        )


def test_an_offer_of_one_site_under_the_name_of_another_is_refused():
    round = Round(3)
    renamed = round.offers[2].model_copy(update={"name": "b"})
    with refuses("offer: b"):
        round.participants["a"].share(with_offer(round, renamed), round.peers, 0)


def test_a_site_that_is_not_registered_is_refused():
    round = Round(3)
    stranger = offer_of("stranger", round.session, new_identity())
    with refuses("stranger", "not a registered peer"):
        round.participants["a"].share([*round.offers, stranger], round.peers, 0)


def test_two_offers_in_one_name_are_refused():
    round = Round(3)
    second = offer_of("b", round.session, round.identities["b"])
    with refuses("b came twice"):
        round.participants["a"].share([*round.offers, second], round.peers, 0)


def test_a_hospital_under_two_names_is_refused():
    round = Round(3)
    peers = round.peers | {"d": round.peers["c"].upper()}
    double = offer_of("d", round.session, round.identities["c"])
    with refuses("registered under one key"):
        round.participants["a"].share([*round.offers, double], peers, 0)


def test_a_roster_without_or_with_another_offer_of_this_site_is_refused():
    round = Round(4, dropouts=1)
    with refuses("share: a", "its own offer"):
        round.participants["a"].share(round.offers[1:], round.peers, 0)
    again = offer_of("a", round.session, round.identities["a"])
    with refuses("share: a", "its own offer"):
        round.participants["a"].share(with_offer(round, again), round.peers, 0)


def test_a_roster_below_the_threshold_is_refused():
    round = Round(4, dropouts=1)
    with refuses("2 sites", "3 must take part"):
        round.participants["a"].share(round.offers[:2], round.peers, 0)


def test_a_threshold_that_the_server_set_too_low_is_refused():
    round = Round(5, dropouts=2)
    with refuses("threshold of 3 among 5", "must be above 3"):
        round.participants["a"].share(round.offers, round.peers, 1)
    assert round.participants["a"].share(round.offers, round.peers, 0)


def test_a_key_with_which_every_secret_is_known_is_refused_though_signed():
    round = Round(3)
    identity = round.identities["b"]
    degenerate = round.offers[1].model_copy(update={"share_key": "00" * 32})
    signed = degenerate.model_copy(update={"signature": identity.sign(degenerate.statement(round.session))})
    with refuses("small order"):
        round.participants["a"].share(with_offer(round, signed), round.peers, 0)


@pytest.mark.parametrize("position", [0, 30, 100, 183])
def test_an_altered_share_is_refused_and_names_its_sender(position):
    round = Round(3)
    to_a = round.share()["a"]
    box = to_a[0].box
    flipped = box[:position] + format(int(box[position], 16) ^ 1, "x") + box[position + 1 :]
    with refuses("from b to a", "altered"):
        round.participants["a"].mask(zeros("a")["a"], [to_a[0].model_copy(update={"box": flipped}), to_a[1]])


def test_a_share_for_somebody_else_is_refused_whatever_is_written_on_it():
    round = Round(3)
    post = round.share()
    b_to_c = next(share for share in post["c"] if share.sender == "b")
    with refuses("mask: a", "addressed to c"):
        round.participants["a"].mask(zeros("a")["a"], [b_to_c, *post["a"]])
    c_to_a = next(share for share in post["a"] if share.sender == "c")
    with refuses("from b to a", "altered"):
        round.participants["a"].mask(zeros("a")["a"], [b_to_c.model_copy(update={"recipient": "a"}), c_to_a])
    with refuses("from b to a", "altered"):
        round.participants["a"].mask(zeros("a")["a"], [c_to_a.model_copy(update={"sender": "b"}), c_to_a])


def test_a_share_from_another_session_of_the_same_sites_is_refused():
    round = Round(3)
    other = Round(3, identities=round.identities)
    to_a, replayed = round.share()["a"], other.share()["a"]
    with refuses("from b to a", "another session"):
        round.participants["a"].mask(zeros("a")["a"], [replayed[0], to_a[1]])


def test_sites_that_were_shown_different_rosters_cannot_read_each_other():
    round = Round(4, dropouts=1)
    to_a = round.participants["b"].share(round.offers[:3], round.peers, 0)[0]
    post = [share for name in "cd" for share in round.share_of(name) if share.recipient == "a"]
    round.share_of("a")
    with refuses("from b to a", "roster"):
        round.participants["a"].mask(zeros("a")["a"], [to_a, *post])


@pytest.mark.parametrize("sender", "abz")
def test_shares_come_from_distinct_peers_of_the_roster(sender):
    round = Round(4, dropouts=1)
    from_b, *others = round.share()["a"]
    with refuses(f"mask: a: got a share from {sender}"):
        round.participants["a"].mask(zeros("a")["a"], [from_b, from_b.model_copy(update={"sender": sender}), *others])


def test_the_servers_post_refuses_a_share_in_anothers_name_or_a_missing_one():
    round = Round(3)
    sent = {name: round.share_of(name) for name in "abc"}
    with refuses("share: a", "another site's name"):
        route(sent | {"a": sent["b"]})
    with refuses("share: a", "one share to each"):
        route(sent | {"a": sent["a"][:1]})
    with refuses("share: a", "one share to each"):
        route(sent | {"a": (sent["a"][0], sent["a"][0])})
