"""The audit refutes a plan whose noise is missing, and a run at its claimed epsilon stands."""

import numpy as np
import pytest
from conftest import toy_plan, toy_slices

from cmrfed.canary_audit import Canaries, CanaryAuditConfig, run_canary_audit
from cmrfed.config import TrainingConfig, UserError
from cmrfed.generators import build_generator
from cmrfed.privacy import epsilon

TRAINING = TrainingConfig(local_steps=2, optimizer="sgd", learning_rate=0.05, slices_per_patient=1, precision="fp32")


def plan_of(**changes):
    plan = toy_plan(**{"seed": None, "steps": 8, "noise_multiplier": 2.5, "delta": 1e-5} | changes)
    return plan.model_copy(update={"target_epsilon": epsilon([plan.event(plan.steps)], plan.delta)})


def found(tiny_generator_config, plan, training=TRAINING, sites=1, **config):
    generator = build_generator(tiny_generator_config, seed=0)
    slices = [toy_slices([1, 1, 1], first=3 * site) for site in range(sites)]
    return run_canary_audit(generator, slices, plan, training, CanaryAuditConfig(**{"canaries": 500} | config))


RULES = [{}, {"rule": "automatic"}]


@pytest.mark.parametrize("rule", RULES)
def test_a_run_at_its_claimed_epsilon_stands_and_something_is_measured(tiny_generator_config, rule):
    """Nothing here is seeded. Of 500 guesses 370 are right, give or take 10 (6,000 draws of the scores' distribution);
    300 are enough for 0.2, and 499 would refute the claim."""
    outcome = found(tiny_generator_config, plan_of(noise_multiplier=1.75, **rule), canaries=1000)
    assert outcome.has_power
    assert not outcome.refuted
    assert 0.2 < outcome.best.epsilon_lower < outcome.claimed_epsilon


@pytest.mark.parametrize("rule", RULES)
def test_noise_switched_off_behind_the_plans_back_is_refuted(tiny_generator_config, rule):
    outcome = found(tiny_generator_config, plan_of(**rule), noise=False)
    assert outcome.refuted
    assert outcome.has_power


def test_distributed_noise_stands_as_well_and_a_share_too_small_is_refuted(tiny_generator_config):
    """Most shares are left out, as if the plan had been cut for sites that are not there. Some 8 of 800 guesses are
    wrong, and 30 would still refute it."""
    one_step = TRAINING.model_copy(update={"local_steps": 1})
    plan = plan_of(sites=3)
    assert not found(tiny_generator_config, plan, one_step, sites=3).refuted
    alone = plan.model_copy(update={"sites": 60})
    outcome = found(tiny_generator_config, alone, one_step, sites=3, canaries=8000)
    assert outcome.refuted


def test_a_sampling_that_the_accountant_does_not_know_of_is_refuted(tiny_generator_config):
    """The plan says a tenth of the patients, and everybody is taken: amplification was claimed and not earned."""
    plan = plan_of(sample_rate=0.1, noise_multiplier=1.0, steps=16)

    class Everybody(type(plan)):
        def sample_patients(self, number_of_patients, random):
            return super().sample_patients(number_of_patients, random).new_tensor(range(number_of_patients))

    outcome = found(tiny_generator_config, Everybody(**plan.model_dump()), canaries=1000)
    assert outcome.claimed_epsilon < 4
    assert outcome.refuted


def test_what_no_outcome_could_refute_is_said(tiny_generator_config):
    outcome = found(tiny_generator_config, plan_of(noise_multiplier=0.5), canaries=20)
    assert not outcome.has_power


def test_canaries_are_on_weights_of_their_own():
    canaries = Canaries(np.array([4, 0, 2]), 6, 0.5)
    assert [int(one.nonzero().item()) for one in canaries] == [4, 0, 2]
    assert all(one.norm() == 5.0 for one in canaries)


def test_more_canaries_than_weights_are_refused_with_the_key(tiny_generator_config):
    config = tiny_generator_config.model_copy(update={"trainable": "modulation"})
    with pytest.raises(UserError, match=r"^canary_audit.canaries: 20000 canaries need as many trained weights"):
        found(config, plan_of(), canaries=20_000)
