"""A server that says different things to different sites gets one sum or none: one survivor set, one secret a site."""

import contextlib
import itertools
import json

import pytest
from played_rounds import Round, new_identity, zeros
from refusals import refuses

from cmrfed.config import UserError
from cmrfed.privacy.secure_aggregation import Confirmation, check_threshold, protocol, unmask


def masked_round(sites=4, dropouts=1, masking=None):
    """All have shared, and `masking` have masked."""
    round = Round(sites, dropouts)
    return round, round.mask(zeros(masking or round.names), round.share())


def test_a_site_signs_one_survivor_set_only():
    round, _ = masked_round()
    round.confirm_of("a", "abc")
    with refuses("confirm: a", "one set a session"):
        round.confirm_of("a", "abcd")
    assert round.confirm_of("a", "cba") == round.confirm_of("a", "abc")


@pytest.mark.parametrize(
    ("survivors", "words"),
    [(["b", "c", "d"], "itself left out"), (["a", "b"], "2 sites are left"), (["a", "b", "c\n"], "'c\\n' was not in")],
)
def test_a_survivor_set_that_is_no_quorum_of_those_who_shared_is_not_signed(survivors, words):
    round, _ = masked_round()
    with refuses("confirm: a", words):
        round.confirm_of("a", survivors)


def test_a_site_that_did_not_share_is_no_survivor():
    round = Round(4, dropouts=1)
    round.mask(zeros("abc"), round.share("abc"))
    with refuses("'d' was not in the phase before"):
        round.confirm_of("a", "abcd")


def test_fewer_sharing_sites_than_the_threshold_are_not_masked_with():
    round = Round(4, dropouts=1)
    post = round.share()
    with refuses("mask: a", "2 sites are left and 3 must be"):
        round.participants["a"].mask(zeros("a")["a"], post["a"][:1])


def test_without_a_quorum_of_signatures_nothing_is_revealed():
    round, _ = masked_round()
    confirmations = round.confirm("abcd")
    for few in itertools.combinations(confirmations, 2):
        with refuses("reveal: a", "nothing was revealed"):
            round.participants["a"].reveal(list(few))
    with refuses("reveal: a", "1 survivors signed"):
        round.participants["a"].reveal([confirmations[0]] * 4)
    assert round.participants["a"].reveal(confirmations[1:])


def test_signatures_on_other_sets_under_other_names_or_by_the_server_do_not_count():
    round, _ = masked_round()
    mine = round.confirm_of("a", "abcd")
    elsewhere = [round.confirm_of(name, "bcd") for name in "bcd"]
    forged = [one.model_copy(update={"signature": new_identity().sign(b"")}) for one in elsewhere]
    renamed = [mine.model_copy(update={"name": name}) for name in "bcdz"]
    with refuses("reveal: a", "1 survivors signed"):
        round.participants["a"].reveal([mine, *elsewhere, *forged, *renamed])


def test_signatures_from_another_session_of_the_same_sites_do_not_count():
    round, _ = masked_round()
    other = Round(4, dropouts=1, identities=round.identities)
    other.mask(zeros("abcd"), other.share())
    mine = round.confirm_of("a", "abcd")
    with refuses("reveal: a", "1 survivors signed"):
        round.participants["a"].reveal([mine, *other.confirm("abcd", by="bcd")])


def test_the_signature_of_a_site_that_is_no_survivor_does_not_count():
    round, _ = masked_round()
    mine = round.confirm("abc", by="ab")
    statement = protocol._survivors_statement(round.participants["a"]._state, ("a", "b", "c"))
    dropped = Confirmation(name="d", signature=round.identities["d"].sign(statement))
    with refuses("reveal: a", "2 survivors signed"):
        round.participants["a"].reveal([*mine, dropped])


def test_sites_that_were_told_of_different_senders_reveal_nothing():
    round = Round(4, dropouts=1)
    post = round.share()
    without_d = {name: [share for share in post[name] if share.sender != "d"] for name in "bc"}
    round.mask(zeros("abc"), post | without_d)
    confirmations = round.confirm("abc")
    for name, like_minded in {"a": 1, "b": 2, "c": 2}.items():
        with refuses(f"reveal: {name}", f"{like_minded} survivors signed"):
            round.participants[name].reveal(confirmations)


def test_two_quorums_cannot_be_had_for_two_survivor_sets():
    round, _ = masked_round(sites=5, dropouts=2)
    first = [round.confirm_of(name, "abc") for name in "abc"]
    second = [round.confirm_of(name, "cde") for name in "de"]
    assert all(round.participants[name].reveal(first) for name in "abc")
    for name in "de":
        with refuses(f"reveal: {name}"):
            round.participants[name].reveal([*first, *second])


def test_of_no_site_are_both_secrets_revealed_and_the_rest_is_forgotten():
    round, _ = masked_round(masking="abc")
    participant = round.participants["a"]
    confirmations = round.confirm("abc")
    held = json.loads(participant.to_json())["masked"]["held"]
    revealed = participant.reveal(confirmations)
    assert sorted(revealed.seeds) == ["a", "b", "c"]
    assert sorted(revealed.mask_keys) == ["d"]
    kept_back = [held["d"]["seed"], held["b"]["mask_key"], held["c"]["mask_key"]]
    assert not any(share in participant.to_json() for share in kept_back)


def test_fewer_revealing_sites_than_the_threshold_give_the_server_nothing():
    round, masked = masked_round()
    revealed = round.reveal(round.confirm("abcd"))
    with refuses("unmask: 2 sites revealed", "3"):
        unmask(round.session, round.offers, round.names, masked, revealed[:2])
    with refuses("unmask", "distinct"):
        unmask(round.session, round.offers, round.names, masked, [*revealed[:2], revealed[0]])
    with refuses("unmask: 2 vectors", "3"):
        unmask(round.session, round.offers, round.names, {name: masked[name] for name in "ab"}, revealed)


def with_wrong_share(revealed, kind, site):
    shares = getattr(revealed, kind)
    return revealed.model_copy(update={kind: shares | {site: "00" * 32}})


@pytest.mark.parametrize(("kind", "site"), [("seeds", "b"), ("mask_keys", "d")])
def test_a_secret_put_together_from_a_wrong_share_is_noticed_and_named(kind, site):
    round, masked = masked_round(masking="abc")
    revealed = round.reveal(round.confirm("abc"))
    revealed[1] = with_wrong_share(revealed[1], kind, site)
    with refuses(f"unmask: the shares of {site}'s"):
        unmask(round.session, round.offers, round.names, masked, revealed)


def test_shares_that_were_not_asked_for_or_are_missing_are_refused_by_name():
    round, masked = masked_round()
    revealed = round.reveal(round.confirm("abcd"))
    revealed[1] = revealed[1].model_copy(update={"mask_keys": {"d": "00" * 32}})
    with refuses("unmask: b revealed other shares"):
        unmask(round.session, round.offers, round.names, masked, revealed)


@pytest.mark.parametrize(("sites", "dropouts", "colluding", "threshold"), [(3, 1, 0, 2), (4, 1, 1, 3), (10, 3, 3, 7)])
def test_the_threshold_is_what_is_left_when_all_allowed_have_dropped(sites, dropouts, colluding, threshold):
    assert check_threshold(sites, dropouts, colluding) == threshold


@pytest.mark.parametrize(("sites", "dropouts", "colluding"), [(2, 1, 0), (4, 2, 0), (4, 1, 2), (1, 0, 0), (5, -1, 0)])
def test_more_dropouts_and_colluding_sites_than_an_honest_overlap_allows_are_refused(sites, dropouts, colluding):
    with refuses(f"{sites} sites", f"{dropouts} dropouts", f"{colluding} colluders"):
        check_threshold(sites, dropouts, colluding)


def allowed_thresholds(sites):
    for dropouts, colluding in itertools.product(range(sites), repeat=2):
        with contextlib.suppress(UserError):
            yield check_threshold(sites, dropouts, colluding), colluding


@pytest.mark.parametrize("sites", range(2, 7))
def test_any_two_quorums_share_an_honest_site_at_every_allowed_threshold(sites):
    for threshold, colluding in allowed_thresholds(sites):
        quorums = [set(quorum) for quorum in itertools.combinations(range(sites), threshold)]
        liars = set(range(colluding))
        assert all((one & other) - liars for one in quorums for other in quorums)
