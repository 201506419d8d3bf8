"""Families of a comparison differ by their presets alone, and have equal time."""

import pytest
from tiny_runs import tiny_run_config

from cmrfed.comparison import ARMS, Speed, compared_runs, in_order
from cmrfed.comparison.plan import family_config, open_folder
from cmrfed.composition import option, options
from cmrfed.config import ComparisonConfig, UserError

SPEED = Speed(weights=10, pretraining_step_s=0.5, step_s=0.25, slice_s=0.1, slices_per_s=16.0)


def flow(config):
    return family_config(config, option("generator", "flow"))


@pytest.fixture
def config(tmp_path):
    return tiny_run_config(tmp_path, generator={"init": "phantom", "trainable": "directions", "directions": 320})


WITHOUT_PRIVACY = {
    "privacy": {"mode": "none"},
    "generator": {"trainable": "all"},
    "federation": {"rounds": 10},
    "training": {"optimizer": "adam", "batch_size": 8, "local_steps": 160},
}


@pytest.mark.parametrize("name", options("generator"))
def test_every_preset_is_a_run_that_starts_from_phantoms_of_its_own(config, name):
    family = family_config(config, option("generator", name))
    assert family.generator.init == "phantom" and family.generator.trainable != "directions"
    assert family.generator.channels == (8, 8), "what the run itself sets lies over all presets"
    others = {"generator", "preprocessing"}
    assert family.model_dump(exclude=others) == config.model_dump(exclude=others)


def test_all_families_train_for_the_same_time_and_by_one_privacy_plan(config):
    comparison = ComparisonConfig(seconds=100.0)
    plain, private = compared_runs("flow", flow(config), comparison, SPEED, WITHOUT_PRIVACY)
    assert plain.config.pretraining.steps == private.config.pretraining.steps == 200
    assert plain.config.training.local_steps * plain.config.federation.rounds * SPEED.step_s == 100.0
    assert private.config.training.local_steps == config.training.local_steps
    assert private.config.privacy == config.privacy and plain.config.privacy.mode == "none"
    assert (*plain.arms, *private.arms) == tuple(ARMS)
    assert plain.config.evaluation.arms == "all" and private.config.evaluation.arms == "own"


def test_without_a_time_all_take_the_steps_that_are_configured(config):
    comparison = ComparisonConfig(seconds=None, private=False)
    (plain,) = compared_runs("flow", flow(config), comparison, SPEED, WITHOUT_PRIVACY)
    assert plain.config.pretraining.steps == config.pretraining.steps
    assert plain.config.training.local_steps == 160


def test_a_folder_of_another_comparison_is_left_alone(config, tmp_path):
    comparison = ComparisonConfig()
    open_folder(tmp_path / "one", config, comparison)
    for later in ({"jobs": 3}, {"private": False}):
        open_folder(tmp_path / "one", config, comparison.model_copy(update=later))
    with pytest.raises(UserError, match="another configuration"):
        open_folder(tmp_path / "one", config, comparison.model_copy(update={"seconds": 5.0}))
    with pytest.raises(UserError, match=r"^evaluation: fidelity and utility"):
        open_folder(tmp_path / "two", tiny_run_config(tmp_path, evaluation={"utility": None}), comparison)


def test_without_privacy_alone_no_private_run_is_asked_for(tmp_path):
    config = tiny_run_config(tmp_path, privacy={"mode": "none"})
    with pytest.raises(UserError, match=r"^privacy.mode: none .*comparison.private=false"):
        open_folder(tmp_path / "one", config, ComparisonConfig())
    assert open_folder(tmp_path / "one", config, ComparisonConfig(private=False)).exists()


def test_a_familys_public_start_is_made_once_by_whichever_run_goes_first(config):
    runs = [
        one
        for name in ("flow", "ddpm")
        for one in compared_runs(name, flow(config), ComparisonConfig(), SPEED, WITHOUT_PRIVACY)
    ]
    names = [one.name for one in in_order(runs)]
    assert names == ["flow_non_private", "ddpm_non_private", "flow_private", "ddpm_private"]
