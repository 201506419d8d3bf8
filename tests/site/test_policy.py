"""A hospital's own limits decide, each of them, whatever a server asks."""

import pytest
from conftest import toy_plan
from pydantic import ValidationError

from cmrfed.config import AdaptiveClipping
from cmrfed.privacy import NoiseSharing
from cmrfed.site import Refusal, Request, SitePolicy
from cmrfed.training import LocalTask

SECURE = {"seed": None, "target_epsilon": 1000.0}


@pytest.fixture
def asked(tiny_generator_config, fp32_training):
    def make(plan, **task):
        values = {"training": fp32_training, "plan": plan, "round": 1, "rounds": 3} | task
        return Request(run="run", generator=tiny_generator_config, task=LocalTask(**values))

    return make


def policy(**changes):
    return SitePolicy(**({"name": "here", "maximum_epsilon": 8.0, "noise": ("site", "shared")} | changes))


@pytest.mark.parametrize(
    ("plan", "limits", "said"),
    [
        (None, {}, "without privacy is not allowed"),
        ({"seed": 3}, {}, "seeded"),
        ({"delta": 0.01}, {"maximum_delta": 1e-3}, "delta 0.01 is above the allowed 0.001"),
        ({"minimum_patients": 5}, {}, "fewer than the 5 patients"),
        ({}, {"minimum_patients": 6}, "fewer than the 6 patients"),
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
        ({}, {"noise": ("shared",)}, "noise of kind 'site' is not among the allowed shared"),
        ({"sharing": NoiseSharing(sites=3)}, {"noise": ("site",)}, "noise of kind 'shared' is not among"),
        ({"sharing": NoiseSharing(sites=3)}, {"minimum_sites": 4}, "3 sites are fewer than the 4 required"),
        ({}, {"units": ()}, "unit patient is not among"),
    ],
)
def test_a_request_outside_a_limit_is_refused_with_the_reason(asked, plan, limits, said):
    request = asked(None if plan is None else toy_plan(**(SECURE | plan)))
    with pytest.raises(Refusal, match=f"^site policy: .*{said}"):
        policy(**limits).refuse_outside(request, number_of_patients=4)


def test_a_request_within_every_limit_is_let_through(asked):
    policy().refuse_outside(asked(toy_plan(**SECURE)), number_of_patients=4)
    policy(allow_without_privacy=True).refuse_outside(asked(None), number_of_patients=1)
    policy(allow_seeded_noise=True).refuse_outside(asked(toy_plan(seed=1)), number_of_patients=4)


def test_a_servers_word_on_the_clipping_norm_stays_in_the_plans_range(asked):
    plan = toy_plan(**SECURE, max_grad_norm=0.5)
    with pytest.raises(Refusal, match="this round's clipping norm 50 is above"):
        policy().refuse_outside(asked(plan, max_grad_norm=50.0), number_of_patients=4)


def test_a_hospital_must_decide_its_epsilon_itself():
    with pytest.raises(ValidationError, match="maximum_epsilon"):
        SitePolicy(name="here")


def test_noise_is_the_sites_own_unless_the_hospital_says_otherwise():
    assert SitePolicy(name="here", maximum_epsilon=1.0).noise == ("site",)
