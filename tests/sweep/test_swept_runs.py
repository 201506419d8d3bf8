"""Which runs a sweep has, and that a folder belongs to one sweep."""

import pytest
from tiny_runs import tiny_run_config

from cmrfed.config import SweepConfig, UserError
from cmrfed.sweep import open_folder, swept_runs

NONE = {"privacy": {"mode": "none"}, "generator": {"trainable": "all"}}


def test_every_mode_and_budget_has_its_runs_and_one_more_is_without_privacy(tmp_path):
    sweep = SweepConfig(epsilons=(8.0, 1.0), modes=("local", "distributed"), noises=2)
    config = tiny_run_config(tmp_path, training={"local_steps": 1}, privacy={"noise_multiplier": 3.0})
    runs = swept_runs(config, sweep, NONE)
    assert [one.name for one in runs] == [
        *(f"{mode}_epsilon={epsilon}_noise={n}" for epsilon in (1, 8) for mode in sweep.modes for n in (1, 2)),
        "without-privacy",
    ]
    for one in runs[:-1]:
        assert one.config.privacy.target_epsilon == one.epsilon
        assert one.config.privacy.mode == one.name.partition("_")[0]
        assert one.config.privacy.noise_multiplier is None, "the budget decides the noise"
    assert runs[-1].config.privacy.mode == "none" and runs[-1].epsilon is None
    assert all(one.config.data == config.data and one.config.evaluation.utility is None for one in runs)


def test_a_budget_that_makes_no_valid_run_is_refused_by_its_key(tmp_path):
    config = tiny_run_config(tmp_path, training={"local_steps": 2})
    with pytest.raises(UserError, match=r"privacy.mode: distributed takes one step a round"):
        swept_runs(config, SweepConfig(modes=("distributed",)), NONE)


def test_a_sweep_that_would_measure_nothing_is_refused_before_anything_is_trained(tmp_path):
    config = tiny_run_config(tmp_path, evaluation={"utility": None})
    with pytest.raises(UserError, match=r"^evaluation.utility: is null, and usefulness is what a sweep compares"):
        swept_runs(config, SweepConfig(), NONE)


def test_a_folder_goes_on_with_its_own_sweep_however_it_is_launched_and_with_no_other(tmp_path):
    config = tiny_run_config(tmp_path)
    folder = open_folder(tmp_path / "sweep", config, SweepConfig())
    assert open_folder(folder, config, SweepConfig(jobs=7, launcher="submitit")) == folder
    for other in (SweepConfig(noises=2), SweepConfig(epsilons=(2.0,))):
        with pytest.raises(UserError, match=r"^out: .* holds a sweep of another configuration; choose another folder"):
            open_folder(folder, config, other)
