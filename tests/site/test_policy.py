"""A hospital's own limits decide, each of them, whatever a server asks."""

import re
import time

import pytest
import torch
from conftest import toy_plan
from pydantic import ValidationError
from refusals import refuses
from toy_batches import a_batch, drawn

from cmrfed.config import AdaptiveClipping, GeneratorConfig, TrainingConfig
from cmrfed.generators import build_generator
from cmrfed.privacy import NoPrivacy, epsilon
from cmrfed.site import Refusal, Request, SitePolicy
from cmrfed.site.compute import needs
from cmrfed.training import LocalTask

SECURE = {"seed": None, "target_epsilon": 1000.0}


@pytest.fixture
def asked(tiny_generator_config, fp32_training):
    def make(plan, **task):
        values = {"training": fp32_training, "plan": plan, "round": 1, "rounds": 3} | task
        return Request(run="run", generator=tiny_generator_config, task=LocalTask(**values))

    return make


def policy(**changes):
    wide = {"name": "here", "maximum_epsilon": 1000.0, "maximum_delta": 1e-3, "noise": ("local", "distributed")}
    return SitePolicy(**(wide | changes))


@pytest.mark.parametrize(
    ("plan", "limits", "said"),
    [
        (None, {}, "without privacy is not allowed"),
        ({"seed": 3}, {}, "seeded"),
        ({"delta": 0.01}, {"maximum_delta": 1e-3}, "delta 0.01 is above the allowed 0.001"),
        ({"noise_multiplier": 0.2}, {}, "noise multiplier 0.2 is below the allowed 0.3"),
        ({"max_grad_norm": 20.0}, {"maximum_grad_norm": 10.0}, "clipping norm 20 is above the allowed 10"),
        (
            {"max_grad_norm": 2.0, "adaptive": AdaptiveClipping(range=10.0)},
            {"maximum_grad_norm": 10.0},
            "clipping norm 20 is above the allowed 10",
        ),
        ({"steps": 500}, {"maximum_steps": 400}, "number of steps 500 is above the allowed 400"),
        ({"steps": 1}, {}, "number of local steps 2 is above the allowed 1"),
        ({}, {"generators": ("ddpm",)}, "generator flow is not among the allowed ddpm"),
        ({}, {"noise": ("distributed",)}, "noise of kind 'local' is not among the allowed distributed"),
        ({"sites": 3}, {"noise": ("local",)}, "noise of kind 'distributed' is not among"),
        ({"sites": 3}, {"minimum_sites": 4}, "3 sites are fewer than the 4 required"),
        ({}, {"units": ()}, "unit patient is not among"),
        ({"sites": 4}, {"minimum_colluders": 1}, "tolerates 0 colluders, this site insists on 1"),
        (
            {"sites": 4},
            {"maximum_epsilon_alone": 5.0},
            "own share of the noise [0-9.]+ is above the allowed 5",
        ),
        ({}, {"maximum_epsilon": 1.0}, "epsilon of the whole run [0-9.]+ is above the allowed 1"),
        ({}, {"maximum_rows": 1}, "number of rows at once 2 is above the allowed 1"),
        ({}, {"maximum_weights": 1000}, "number of weights [0-9.e+]+ is above the allowed 1000"),
        ({}, {"maximum_memory_gb": 1e-4}, "memory in GB [0-9.e+-]+ is above the allowed 0.0001"),
    ],
)
def test_a_request_outside_a_limit_is_refused_with_the_reason(asked, plan, limits, said):
    request = asked(NoPrivacy() if plan is None else toy_plan(**(SECURE | plan)))
    with pytest.raises(Refusal, match=f"^site policy: .*{said}"):
        policy(**limits).refuse_outside(request, size=16)


def test_a_request_within_every_limit_is_let_through(asked):
    policy().refuse_outside(asked(toy_plan(**SECURE)), size=16)
    policy(allow_without_privacy=True).refuse_outside(asked(NoPrivacy()), size=16)
    policy(allow_seeded_noise=True).refuse_outside(asked(toy_plan(seed=1)), size=16)
    shared = toy_plan(**SECURE, sites=4, colluders=1)
    policy(minimum_colluders=1, maximum_epsilon_alone=50.0).refuse_outside(asked(shared), size=16)


def test_a_servers_word_on_the_clipping_norm_stays_in_the_plans_range(asked):
    plan = toy_plan(**SECURE, max_grad_norm=0.5)
    with pytest.raises(Refusal, match="this round's clipping norm 50 is above"):
        policy().refuse_outside(asked(plan, max_grad_norm=50.0), size=16)


@pytest.mark.parametrize(
    "change",
    [
        {"channels": [10**6, 10**6]},
        {"patch": 10**6},
        {"channels": []},
        {"residual_blocks": 10**9},
    ],
)
def test_networks_that_nobody_would_train_are_no_requests_at_all(change, tiny_generator_config):
    with pytest.raises(ValidationError):
        GeneratorConfig(**(tiny_generator_config.model_dump() | change))


@pytest.mark.parametrize(
    "change",
    [{"sample_rate": 1e-300}, {"declared_patients": 10**400}, {"steps": 10**400}, {"noise_multiplier": 1e300}],
)
def test_plans_beyond_any_sense_are_no_plans_at_all(change):
    with pytest.raises(ValidationError):
        toy_plan(**change)


@pytest.mark.parametrize("device", ["meta", "cuda:x", "cpu;rm", ""])
def test_a_device_is_one_that_computes(device):
    with pytest.raises(ValidationError):
        TrainingConfig(device=device)


def test_a_huge_request_is_measured_on_paper_and_refused_in_little_time_and_memory(asked, fp32_training):
    started = time.monotonic()
    rows = fp32_training.model_copy(update={"slices_per_patient": 10**7})
    draws = fp32_training.model_copy(update={"noise_multiplicity": 10**9})
    for training, said in ((rows, "rows at once 1e+07"), (draws, "rows at once 2e+09")):
        with pytest.raises(Refusal, match=re.escape(said)):
            policy().refuse_outside(asked(toy_plan(**SECURE), training=training), size=16)
    wide = asked(toy_plan(**SECURE))
    wide = wide.model_copy(update={"generator": wide.generator.model_copy(update={"channels": (2048, 4096, 4096)})})
    with pytest.raises(Refusal, match="number of weights"):
        policy().refuse_outside(wide, size=64)
    assert time.monotonic() - started < 60


def test_what_a_step_needs_is_near_what_it_takes():
    """The bytes that the backward pass keeps, on paper, are those of a real one."""
    config = GeneratorConfig(channels=(8, 16), norm_groups=4, trainable="all")
    generator, kept = build_generator(config, seed=0), []
    batch = drawn(generator, a_batch(3))
    generator.requires_grad_(True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.nbytes) or t, lambda t: t):
        generator(batch)
    three, one = needs(config, rows=3, size=16), needs(config, rows=1, size=16)
    assert three.weights == sum(weight.numel() for weight in generator.parameters())
    weights_kept = 4 * three.weights
    assert sum(kept) == pytest.approx(weights_kept + 3 * ((three.memory_bytes - one.memory_bytes) / 4), rel=1.0)


def test_each_of_the_filters_two_rules_is_held_to_half_of_the_largest_delta(asked):
    """Which of them held is decided by what was seen, so that both count."""
    plan = toy_plan(**SECURE)
    whole = epsilon([plan.event(plan.steps)], plan.delta)
    policy(maximum_epsilon=whole, maximum_delta=2 * plan.delta).refuse_outside(asked(plan), size=16)
    with pytest.raises(Refusal, match="epsilon of the whole run"):
        policy(maximum_epsilon=whole, maximum_delta=plan.delta).refuse_outside(asked(plan), size=16)


def test_too_few_patients_are_the_hospitals_own_matter():
    policy(minimum_patients=4).refuse_few(4)
    with refuses("minimum_patients: here has 3 patients", "takes part with 4 or more", "site.yaml"):
        policy(minimum_patients=4).refuse_few(3)


def test_a_hospital_must_decide_its_epsilon_itself():
    with pytest.raises(ValidationError, match="maximum_epsilon"):
        SitePolicy(name="here")


def test_noise_is_the_sites_own_unless_the_hospital_says_otherwise():
    assert SitePolicy(name="here", maximum_epsilon=1.0).noise == ("local",)
    assert SitePolicy(name="here", maximum_epsilon=1.0, noise=("site", "shared")).noise == ("local", "distributed")
