"""A site's phases strictly advance, survive a crash, and never answer one question in two ways."""

import json

import numpy as np
from played_rounds import Round, restore, zeros
from refusals import refuses

from cmrfed.privacy.secure_aggregation import Participant, unmask


def test_a_site_that_starts_again_after_every_phase_goes_on_where_it_was():
    round, values = Round(4, dropouts=1), {name: np.arange(3) for name in "abc"}
    restore(round)
    post = round.share()
    restore(round)
    masked = round.mask(values, post)
    restore(round)
    confirmations = round.confirm("abc")
    restore(round)
    revealed = round.reveal(confirmations)
    restore(round)
    assert revealed == round.reveal(confirmations)
    np.testing.assert_array_equal(unmask(round.session, round.offers, round.names, masked, revealed), 3 * np.arange(3))


def test_a_phase_repeated_with_the_same_input_gives_the_same_message():
    round = Round(3)
    post = round.share()
    restore(round)
    assert round.share() == post
    round.mask(zeros("abc"), post)
    confirmations = round.confirm("abc")
    assert round.confirm("abc") == confirmations
    revealed = round.reveal(confirmations)
    restore(round)
    assert round.reveal(confirmations[::-1]) == revealed[::-1]
    assert round.share() == post


def test_another_roster_after_shares_were_dealt_is_refused():
    round = Round(4, dropouts=1)
    round.share()
    with refuses("share: a", "another roster"):
        round.participants["a"].share(round.offers[:3], round.peers, 0)


def test_a_site_masks_once_and_forgets_its_keys_with_it():
    round = Round(3)
    secrets = round.secrets("a")
    post = round.share()
    round.mask(zeros("abc"), post)
    assert not any(secret in round.participants["a"].to_json() for secret in secrets.values())
    for values in (zeros("a"), {"a": np.ones(3, dtype=np.int64)}):
        with refuses("mask: a", "was done"):
            round.mask(values, post)
    restore(round)
    with refuses("mask: a", "was done"):
        round.mask(zeros("a"), post)


def test_no_phase_can_be_skipped():
    round = Round(3)
    first = round.participants["a"]
    with refuses("mask: a", "comes after share"):
        first.mask(zeros("a")["a"], [])
    with refuses("confirm: a", "comes after mask"):
        round.confirm_of("a", "abc")
    with refuses("reveal: a", "comes after confirm"):
        first.reveal([])
    post = round.share()
    with refuses("confirm: a", "comes after mask"):
        round.confirm_of("a", "abc")
    round.mask(zeros("abc"), post)
    with refuses("reveal: a", "comes after confirm"):
        first.reveal(round.confirm("abc", by="bc"))


def test_a_refusal_leaves_the_state_as_it_was():
    round = Round(3)
    post = round.share()
    before = round.participants["a"].to_json()
    with refuses("mask: a"):
        round.participants["a"].mask(zeros("a")["a"], post["b"])
    assert round.participants["a"].to_json() == before


def test_a_damaged_state_is_refused_by_the_place_of_the_damage():
    round = Round(3)
    state = json.loads(round.participants["a"].to_json())
    state["secrets"]["seed"] += "00"
    with refuses("saved state is damaged at secrets.seed"):
        Participant.from_json(json.dumps(state))
    with refuses("saved state is damaged at the beginning"):
        Participant.from_json("{")


def test_neither_repr_nor_error_shows_a_secret():
    round = Round(3)
    round.share()
    state = round.participants["a"]._state
    for secret in round.secrets("a").values():
        assert secret not in repr(state) and secret not in str(state.secrets)
