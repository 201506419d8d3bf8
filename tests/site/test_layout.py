"""Homes of one run, laid out together: each site allows that run and no other kind, and they know one another."""

import pytest
from conftest import toy_plan, toy_slices
from tiny_runs import tiny_run_config

from cmrfed.privacy import NoPrivacy
from cmrfed.privacy.secure_aggregation import Identity
from cmrfed.site import Home, Refusal, Request
from cmrfed.site.layout import identity_of, lay_out_homes
from cmrfed.training import LocalTask

PRIVATE = {"seed": None, "target_epsilon": 1000.0}
DISTRIBUTED = PRIVATE | {"sites": 2}


@pytest.fixture
def homes(tmp_path):
    """Lays out two homes for a run of this privacy; returns them by name."""

    def make(**privacy):
        sites = {"A": toy_slices([2, 2]), "B": toy_slices([1, 3], first=2)}
        lay_out_homes(tmp_path, sites, tiny_run_config(tmp_path, privacy={"seed": None} | privacy))
        return {name: Home(tmp_path / name) for name in sites}

    return make


@pytest.fixture
def asked(tiny_generator_config, fp32_training):
    def make(plan):
        task = LocalTask(training=fp32_training, plan=plan, round=1, rounds=3)
        return Request(run="run", generator=tiny_generator_config, task=task)

    return make


@pytest.mark.parametrize(
    ("privacy", "allowed", "refused"),
    [
        ({}, PRIVATE, {"seeded": PRIVATE | {"seed": 1}, "without privacy": None, "kind 'distributed'": DISTRIBUTED}),
        ({"seed": 1}, PRIVATE | {"seed": 1}, {"without privacy": None}),
        ({"mode": "none"}, None, {"seeded": PRIVATE | {"seed": 1}}),
        ({"noise_multiplier": 0.9}, PRIVATE, {"below the allowed 0.9": PRIVATE | {"noise_multiplier": 0.8}}),
    ],
)
def test_a_site_allows_what_the_run_is_about_and_no_more(homes, asked, privacy, allowed, refused):
    def request(plan):
        return asked(toy_plan(**plan) if plan else NoPrivacy())

    policy = homes(**privacy)["A"].policy
    policy.refuse_outside(request(allowed), size=16)
    for said, plan in refused.items():
        with pytest.raises(Refusal, match=said):
            policy.refuse_outside(request(plan), size=16)


def test_each_has_its_own_patients_and_every_site_s_key(homes):
    made = homes()
    assert [home.slices().patient_names for home in made.values()] == [("toy-0", "toy-1"), ("toy-2", "toy-3")]
    keys = {name: home.identity.public for name, home in made.items()}
    assert made["A"].policy.peers == made["B"].policy.peers == keys
    assert keys["A"] != keys["B"]


def test_a_key_is_made_once_and_kept(tmp_path):
    first = identity_of(tmp_path)
    assert isinstance(first, Identity)
    assert identity_of(tmp_path).public == first.public
