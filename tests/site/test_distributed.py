"""Distributed noise: the server learns the sum, each site pays before its vector leaves, nobody can be played apart."""

import numpy as np
import pytest
from conftest import toy_plan
from homes import make_home, make_peers
from scipy import stats

from cmrfed.federation import distributed_update
from cmrfed.generators import build_generator
from cmrfed.privacy import BudgetExceeded, Cohort, Limits, NoPrivacy, epsilon
from cmrfed.privacy.randomness import KEY_BYTES
from cmrfed.privacy.rounding import GRID
from cmrfed.privacy.secure_aggregation import ProtocolViolation, Session, route, unmask
from cmrfed.site import Refusal, Request, distributed
from cmrfed.site.request import digest
from cmrfed.training import LocalTask, contribution
from cmrfed.updates import read_weights

NAMES = ["A", "B", "C", "D"]


@pytest.fixture
def homes(tmp_path):
    return make_peers(tmp_path, NAMES)


@pytest.fixture
def weights(tiny_generator_config):
    return read_weights(build_generator(tiny_generator_config, seed=0))


@pytest.fixture
def request_round(tiny_generator_config, fp32_training, weights):
    training = fp32_training.model_copy(update={"local_steps": 1})

    def make(round=1, starts_from=None, **plan):
        among = {"sites": 4, "dropouts": 1, "colluders": 1}
        values = {"seed": None, "target_epsilon": 1000.0, "steps": 6} | among | plan
        task = LocalTask(training=training, plan=toy_plan(**values), round=round, rounds=6)
        named = digest("", weights if starts_from is None else starts_from)
        return Request(run="run", generator=tiny_generator_config, task=task, weights=named)

    return make


def until_masked(homes, request, weights, dropped=()):
    """Phases 1 to 3; `dropped` sites fail before their vectors arrive."""
    session = Session.fresh(request.digest, request.task.plan.quorum)
    offers = tuple(distributed.offer(home, request, session) for home in homes.values())
    shares = route({name: distributed.share(home, request.run, offers) for name, home in homes.items()})
    masked = {
        name: distributed.mask(home, request, weights, tuple(shares[name])).value
        for name, home in homes.items()
        if name not in dropped
    }
    return session, offers, masked


def finish(homes, request, session, offers, masked):
    """Phases 4 and 5, and the sum."""
    survivors = tuple(sorted(masked))
    confirmations = tuple(distributed.confirm(homes[name], request.run, survivors) for name in survivors)
    revealed = [distributed.reveal(homes[name], request.run, confirmations) for name in survivors]
    return unmask(session, offers, list(homes), masked, revealed)


@pytest.mark.parametrize("dropped", [(), ("C",)])
def test_the_sum_is_that_of_the_sites_contributions(homes, request_round, weights, monkeypatch, dropped):
    made = []

    def remembered(*arguments):
        made.append(contribution(*arguments))
        return made[-1]

    monkeypatch.setattr(distributed, "contribution", remembered)
    request = request_round()
    total = finish(homes, request, *until_masked(homes, request, weights, dropped))
    assert np.array_equal(total, sum(one.values for one in made))
    assert len(made) == 4 - len(dropped)


def test_the_distributed_noise_is_what_the_plan_says(homes, request_round, weights, monkeypatch):
    """With so much noise that the gradients vanish in it: of four shares cut for two, twice the variance is left."""
    keys = (bytes([number]) * KEY_BYTES for number in range(4))
    monkeypatch.setattr("cmrfed.site.home.fresh_key", lambda: next(keys))  # the same statistics in every run
    request = request_round(noise_multiplier=50.0)
    task = request.task
    total = finish(homes, request, *until_masked(homes, request, weights))
    jitter = np.random.default_rng(0).uniform(-0.5, 0.5, len(total))
    scale = np.sqrt(4 / task.plan.shares) / GRID
    assert stats.kstest(total + jitter, "norm", args=(0, scale)).pvalue > 1e-4
    update, norm = distributed_update(task, total, 4, request.generator)
    moved = np.concatenate([part.ravel() for part in update.values()])
    expected = -task.learning_rate * total * GRID * 50.0 * 0.5 / (0.5 * 4 * 4)
    assert np.allclose(moved, expected, rtol=1e-5)
    assert norm == 0.5


@pytest.mark.parametrize("plan", [NoPrivacy(), toy_plan()], ids=["none", "local"])
def test_no_other_plan_is_taken_for_one_of_distributed_noise(plan, request_round):
    request = request_round()
    task = request.task.model_copy(update={"plan": plan})
    with pytest.raises(ValueError, match="among which noise is distributed"):
        distributed_update(task, np.zeros(9, np.int64), 4, request.generator)


def test_every_masked_vector_was_paid_for_before_it_left(homes, request_round, weights, monkeypatch):
    request = request_round()
    session, offers, masked = until_masked(homes, request, weights, dropped=("C",))
    finish(homes, request, session, offers, masked)
    for name in "ABD":
        assert [row.event for row in homes[name].ledger.rows()] == [request.task.plan.event(1)]
        assert homes[name].ledger.rows()[0].event.noise == "distributed"
    assert homes["C"].ledger.rows() == []


def test_a_crash_before_the_vector_is_masked_costs_nothing_again_and_after_it_the_round_is_sat_out(
    homes, request_round, weights, monkeypatch
):
    def crash(*_):
        raise KeyboardInterrupt

    request = request_round()
    session = Session.fresh(request.digest, 3)
    offers = tuple(distributed.offer(home, request, session) for home in homes.values())
    shares = route({name: distributed.share(home, request.run, offers) for name, home in homes.items()})
    with monkeypatch.context() as broken:
        broken.setattr(distributed, "contribution", crash)
        with pytest.raises(KeyboardInterrupt):
            distributed.mask(homes["A"], request, weights, tuple(shares["A"]))
    assert len(homes["A"].ledger.rows()) == 1, "paid before anything was computed"
    distributed.mask(homes["A"], request, weights, tuple(shares["A"]))
    assert len(homes["A"].ledger.rows()) == 1, "and once"
    with pytest.raises(ProtocolViolation, match="was done"):
        distributed.mask(homes["A"], request, weights, tuple(shares["A"]))
    assert len(homes["A"].ledger.rows()) == 1


def test_shares_that_cannot_be_opened_cost_nothing(homes, request_round, weights):
    """A server must not be able to use up a budget for nothing."""
    request = request_round()
    session = Session.fresh(request.digest, 3)
    offers = tuple(distributed.offer(home, request, session) for home in homes.values())
    shares = route({name: distributed.share(home, request.run, offers) for name, home in homes.items()})
    with pytest.raises(ProtocolViolation):
        distributed.mask(homes["A"], request, weights, tuple(shares["B"]))
    assert homes["A"].ledger.rows() == []


def test_a_site_masks_once_a_session_and_a_new_session_is_paid_for_again(homes, request_round, weights):
    request = request_round()
    until_masked(homes, request, weights)
    until_masked(homes, request, weights)
    assert len(homes["A"].ledger.rows()) == 2


def test_a_run_beyond_its_plan_is_declined_in_the_first_phase(homes, request_round, weights):
    """By the run's own rows, which are public; patients without budget are left out and nobody is told."""
    short = {"target_epsilon": epsilon([toy_plan().event(1)], 1e-3)}
    until_masked(homes, request_round(**short), weights)
    request = request_round(round=2, **short)
    with pytest.raises(BudgetExceeded, match="the run to epsilon"):
        distributed.offer(homes["A"], request, Session.fresh(request.digest, 3))


def test_patients_without_budget_are_left_out_of_a_step_silently(homes, request_round, weights, monkeypatch):
    taking_part = []
    monkeypatch.setattr(
        distributed, "contribution", lambda g, s, t, r: taking_part.append(s) or contribution(g, s, t, r)
    )
    request = request_round()
    whole = epsilon([request.task.plan.event(6)], 1e-3)
    homes["A"] = make_home(
        homes["A"].folder, name="A", noise=["distributed"], peers=homes["A"].policy.peers, maximum_epsilon=whole
    )
    earlier = Limits(1e6, 1e6, 1e-3, 3.0)
    spent = Cohort.of(homes["A"].slices().subset(["toy-1"]))
    homes["A"].ledger.record(spent, "earlier", 1, "", request.task.plan.event(6), earlier)
    finish(homes, request, *until_masked(homes, request, weights))
    assert [slices.number_of_patients for slices in taking_part] == [3, 4, 4, 4]


def test_a_hospital_that_has_not_allowed_it_takes_no_part(homes, request_round):
    home = make_home(homes["A"].folder, name="A", peers=homes["A"].policy.peers)
    request = request_round()
    with pytest.raises(Refusal, match="'distributed' is not among"):
        distributed.offer(home, request, Session.fresh(request.digest, 3))


def test_sites_that_were_asked_for_different_plans_do_not_work_together(homes, request_round):
    """A server asks D for less noise: D's signature is then for another session, and A will have none of it."""
    request, weaker = request_round(), request_round(noise_multiplier=0.4)
    session = Session.fresh(request.digest, 3)
    offers = [distributed.offer(homes[name], request, session) for name in "ABC"]
    other = session.model_copy(update={"request": weaker.digest})
    offers.append(distributed.offer(homes["D"], weaker, other))
    with pytest.raises(ProtocolViolation, match="D did not sign these keys for this session"):
        distributed.share(homes["A"], request.run, tuple(offers))


def test_a_session_for_another_request_or_threshold_is_refused(homes, request_round):
    request = request_round()
    with pytest.raises(Refusal, match="another request"):
        distributed.offer(homes["A"], request, Session.fresh(request_round(round=2).digest, 3))
    with pytest.raises(Refusal, match="threshold is 2"):
        distributed.offer(homes["A"], request, Session.fresh(request.digest, 2))


def test_the_request_cannot_change_after_the_sites_agreed(homes, request_round, weights):
    request = request_round()
    session = Session.fresh(request.digest, 3)
    offers = tuple(distributed.offer(home, request, session) for home in homes.values())
    shares = route({name: distributed.share(home, request.run, offers) for name, home in homes.items()})
    with pytest.raises(Refusal, match="another than the one"):
        distributed.mask(homes["A"], request_round(noise_multiplier=0.4), weights, tuple(shares["A"]))


def test_a_policy_that_changes_after_the_sites_agreed_ends_the_session_unpaid(homes, request_round, weights):
    request = request_round()
    session = Session.fresh(request.digest, 3)
    offers = tuple(distributed.offer(home, request, session) for home in homes.values())
    shares = route({name: distributed.share(home, "run", offers) for name, home in homes.items()})["A"]
    allowed = {"name": "A", "noise": ["distributed"], "peers": homes["A"].policy.peers}
    stricter = make_home(homes["A"].folder, **allowed, maximum_epsilon=1e-3)
    with pytest.raises(Refusal, match=r"site\.yaml was changed"):
        distributed.mask(stricter, request, weights, tuple(shares))
    assert stricter.ledger.rows() == []


def test_more_sites_than_the_noise_was_cut_for_are_refused(tmp_path, request_round):
    homes = make_peers(tmp_path, [*NAMES, "E"])
    request = request_round()
    session = Session.fresh(request.digest, 3)
    offers = tuple(distributed.offer(home, request, session) for home in homes.values())
    with pytest.raises(Refusal, match="5 sites offered keys, the plan's noise is cut for 4"):
        distributed.share(homes["A"], request.run, offers)


def test_a_site_missing_from_its_own_register_is_told_its_key(tmp_path, request_round):
    home = make_home(tmp_path, noise=["distributed"])
    request = request_round()
    with pytest.raises(Exception, match=f"here is missing; its key is {home.identity.public}"):
        distributed.offer(home, request, Session.fresh(request.digest, 3))


def test_secrets_on_disk_are_for_the_owner_alone(homes, request_round):
    request = request_round()
    distributed.offer(homes["A"], request, Session.fresh(request.digest, 3))
    path = homes["A"].session(request.run)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_too_few_survivors_reveal_nothing(homes, request_round, weights):
    request = request_round()
    _, _, masked = until_masked(homes, request, weights, dropped=("C", "D"))
    with pytest.raises(ProtocolViolation):
        distributed.confirm(homes["A"], request.run, tuple(sorted(masked)))


def test_one_masked_vector_tells_nothing(homes, request_round, weights):
    """What the server holds of one site is uniform, whatever the site's sum was."""
    _, _, masked = until_masked(homes, request_round(), weights)
    for vector in masked.values():
        assert stats.kstest(vector / 2.0**32, "uniform").pvalue > 1e-4
    pair = (masked["A"] + masked["B"]) / 2.0**32
    assert stats.kstest(pair, "uniform").pvalue > 1e-4


def test_a_site_that_is_sent_other_weights_than_its_peers_signed_for_answers_nothing(homes, request_round, weights):
    """Or the server would learn from the difference what a single site's patients do to weights of its choosing."""
    request = request_round()
    session = Session.fresh(request.digest, 3)
    offers = tuple(distributed.offer(home, request, session) for home in homes.values())
    shares = route({name: distributed.share(home, request.run, offers) for name, home in homes.items()})
    other = {name: array + np.float32(1e-3) for name, array in weights.items()}
    with pytest.raises(Refusal):
        distributed.mask(homes["A"], request, other, tuple(shares["A"]))
    assert homes["A"].ledger.rows() == []
    with pytest.raises(Refusal, match="another than the one"):
        distributed.mask(homes["A"], request_round(starts_from=other), other, tuple(shares["A"]))
    assert distributed.mask(homes["A"], request, weights, tuple(shares["A"])).value.size


def test_a_joint_step_that_names_no_weights_is_refused(homes, request_round):
    request = request_round().model_copy(update={"weights": None})
    with pytest.raises(Refusal, match="names the weights"):
        distributed.offer(homes["A"], request, Session.fresh(request.digest, 3))
