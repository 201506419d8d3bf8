"""The audit refutes a plan whose noise is missing, and a run at its claimed epsilon stands."""

import numpy as np
import pytest
from conftest import toy_plan, toy_slices
from scipy.stats import norm

from cmrfed import canary_audit
from cmrfed.canary_audit import Canaries, CanaryAuditConfig, evidence, run_canary_audit
from cmrfed.config import AdaptiveClipping, TrainingConfig, UserError
from cmrfed.generators import build_generator
from cmrfed.privacy import GaussianEvent, SecureRandom, epsilon

TRAINING = TrainingConfig(local_steps=2, optimizer="sgd", learning_rate=0.05, slices_per_patient=1, precision="fp32")


def plan_of(**changes):
    plan = toy_plan(**{"seed": None, "steps": 8, "noise_multiplier": 2.5, "delta": 1e-5} | changes)
    return plan.model_copy(update={"target_epsilon": epsilon([plan.event(plan.steps)], plan.delta)})


def found(tiny_generator_config, plan, training=TRAINING, sites=1, **config):
    generator = build_generator(tiny_generator_config, seed=0)
    slices = [toy_slices([1, 1, 1], first=3 * site) for site in range(sites)]
    return run_canary_audit(generator, slices, plan, training, CanaryAuditConfig(**{"canaries": 500} | config))


def stands(*asked, **config):
    """What an audit of a kept plan found. Nothing is seeded, and one in a thousand is refuted, two in a row hardly."""
    outcome = found(*asked, **config)
    return found(*asked, **config) if outcome.refuted else outcome


class Quiet(SecureRandom):
    """Four fifths of the noise."""

    def normal(self, count):
        return 0.8 * super().normal(count)


RULES = [{}, {"rule": "automatic"}]


@pytest.mark.parametrize("rule", RULES)
def test_a_run_at_its_claimed_epsilon_stands_and_most_of_it_is_measured(tiny_generator_config, rule):
    """Of 600 guesses 536 are right, give or take 8; 467 prove half of epsilon, and 560 would refute the plan."""
    outcome = stands(tiny_generator_config, plan_of(sample_rate=1.0, noise_multiplier=1.75, **rule), canaries=1000)
    assert outcome.has_power
    assert not outcome.refuted
    by_plan = outcome.by_plan
    assert 0 < outcome.best.epsilon_lower < outcome.by_curve.epsilon_lower < by_plan.epsilon_lower
    assert by_plan.epsilon_lower > outcome.claimed_epsilon / 2
    assert outcome.doubtful == (by_plan.noise_multiplier <= 1.75)


def test_a_fifth_less_noise_than_planned_is_refuted(tiny_generator_config, monkeypatch):
    monkeypatch.setattr(canary_audit, "SecureRandom", Quiet)
    outcome = found(tiny_generator_config, plan_of(sample_rate=1.0, steps=4, noise_multiplier=1.25), canaries=2000)
    assert outcome.power > 0.999
    assert outcome.refuted


def test_where_the_clipping_norm_moves_with_all_patients_the_curve_alone_decides(tiny_generator_config):
    plan = plan_of(sample_rate=1.0, noise_multiplier=4.0, adaptive=AdaptiveClipping())
    outcome = stands(tiny_generator_config, plan)
    assert outcome.by_plan is None and outcome.sharpest is outcome.by_curve
    assert not outcome.refuted
    assert found(tiny_generator_config, plan, noise=False).refuted


@pytest.mark.parametrize("rule", RULES)
def test_noise_switched_off_behind_the_plans_back_is_refuted(tiny_generator_config, rule):
    outcome = found(tiny_generator_config, plan_of(sample_rate=1.0, **rule), noise=False)
    assert outcome.refuted
    assert outcome.by_plan.noise_multiplier < 1.25, "half of the planned"


def test_distributed_noise_stands_as_well_and_a_share_too_small_is_refuted(tiny_generator_config):
    """Most shares are left out, as if the plan had been cut for sites that are not there."""
    one_step = TRAINING.model_copy(update={"local_steps": 1})
    plan = plan_of(sample_rate=1.0, sites=3)
    assert not stands(tiny_generator_config, plan, one_step, sites=3).refuted
    alone = plan.model_copy(update={"sites": 60})
    outcome = found(tiny_generator_config, alone, one_step, sites=3)
    assert outcome.refuted


def test_a_sampling_that_the_accountant_does_not_know_of_is_refuted(tiny_generator_config):
    """The plan says a tenth of the patients, and everybody is taken: amplification was claimed and not earned."""
    plan = plan_of(sample_rate=0.1, noise_multiplier=1.0, steps=16)

    class Everybody(type(plan)):
        def sample_patients(self, number_of_patients, random):
            return super().sample_patients(number_of_patients, random).new_tensor(range(number_of_patients))

    outcome = found(tiny_generator_config, Everybody(**plan.model_dump()))
    assert outcome.claimed_epsilon < 4
    assert outcome.refuted


def test_evidence_is_the_sampled_steps_likelihood_in_whatever_unit_it_is_seen():
    event = GaussianEvent(sample_rate=0.3, noise_multiplier=0.8, steps=2)
    random = np.random.default_rng(0)
    taken = random.binomial(2, 0.3, 40_000) * (random.random(40_000) < 0.5)
    x = taken + 0.8 * 2**0.5 * random.normal(size=40_000)
    density = [norm.pdf(x, mean, 0.8 * 2**0.5) for mean in range(3)]
    exact = np.log((0.49 * density[0] + 0.42 * density[1] + 0.09 * density[2]) / density[0])
    np.testing.assert_allclose(evidence(x, event), exact, atol=0.05)
    np.testing.assert_allclose(evidence(1e-3 * x, event), evidence(x, event))
    assert not evidence(np.zeros(5), event).any(), "nothing was seen"


def test_what_no_outcome_could_refute_is_said(tiny_generator_config):
    outcome = found(tiny_generator_config, plan_of(sample_rate=1.0, noise_multiplier=0.5), canaries=20)
    assert outcome.power < 0.01
    assert not outcome.has_power


def test_canaries_are_on_weights_of_their_own():
    canaries = Canaries(np.array([4, 0, 2]), 6, 0.5)
    assert [int(one.nonzero().item()) for one in canaries] == [4, 0, 2]
    assert all(one.norm() == 5.0 for one in canaries)


def test_more_canaries_than_weights_are_refused_with_the_key(tiny_generator_config):
    config = tiny_generator_config.model_copy(update={"trainable": "modulation"})
    with pytest.raises(UserError, match=r"^canary_audit.canaries: 20000 canaries need as many trained weights"):
        found(config, plan_of(), canaries=20_000)
