"""The privacy commands show the plan that simulate would run, and say what it means without a figure too low."""

import re
import sys

import pytest
from composed import composed_run

from cmrfed.privacy import LocalNoise, compare, epsilon

QUICK = ["privacy.target_epsilon=6", "federation.rounds=4", "training.local_steps=2"]


@pytest.fixture
def run(run_in_one_line):
    """A privacy command; returns (exit code, what was printed, unwrapped)."""
    return lambda *arguments: run_in_one_line("privacy", *arguments)


def simulated_plan(*overrides):
    """The plan of `cmrfed simulate` with these overrides."""
    config = composed_run("simulate", *overrides)
    return LocalNoise.calibrated(config.privacy, config.federation, config.training)


@pytest.mark.parametrize("command", ["calibrate", "epsilon"])
def test_help_teaches(run, command):
    code, printed = run(command, "--help")
    assert code == 0
    assert f"cmrfed privacy {command}" in printed
    assert ".noise_multiplier=null noise per unit of clipping norm" in printed
    assert "evaluation" not in printed, "no key that a plan does not depend on"
    assert "Any key can be set" in printed


@pytest.mark.parametrize(
    "overrides", [QUICK, [*QUICK, "privacy.sample_rate=0.3", "privacy.delta=1e-5"], ["recipe=distributed", QUICK[0]]]
)
def test_the_plan_calibrated_is_the_plan_that_simulate_runs(run, overrides):
    plan = simulated_plan(*overrides)
    code, printed = run("calibrate", *overrides)
    assert code == 0
    assert f"noise multiplier {plan.noise_multiplier:.4f} calibrated by prv" in printed
    assert f"steps {plan.steps}" in printed


@pytest.mark.parametrize("command", ["calibrate", "epsilon"])
def test_every_accountants_epsilon_is_shown_and_never_rounded_down(run, command):
    plan = simulated_plan("privacy.noise_multiplier=2", *QUICK[1:])
    printed = run(command, "privacy.noise_multiplier=2", *QUICK[1:])[1]
    assert "2.0000 given" in printed
    for bound in compare([plan.event(plan.steps)], plan.delta).bounds:
        shown = float(re.search(rf"{bound.accountant} (\d+\.\d+)", printed).group(1))
        assert bound.epsilon <= shown < bound.epsilon + 1e-3
    assert re.search(r"pld [\d.]+ tightest", printed)


def test_epsilon_is_shown_as_it_grows_and_for_one_step_over_all_patients(run):
    plan = simulated_plan(*QUICK)
    printed = run("epsilon", *QUICK)[1]
    for round in (1, 2, 3, 4):
        spent = epsilon([plan.event(2 * round)], plan.delta)
        shown = float(re.search(rf" {round} {2 * round} (\d+\.\d+)", printed).group(1))
        assert spent <= shown < spent + 0.01
    look = epsilon([plan.event(1).model_copy(update={"sample_rate": 1.0})], plan.delta)
    shown = float(re.search(r"sample rate 1\) at the same noise would cost (\d+\.\d+)", printed).group(1))
    assert look <= shown < look + 0.01


def test_epsilon_is_said_in_plain_words(run):
    printed = run("epsilon", *QUICK)[1]
    assert "The unit is a patient" in printed
    assert "add-or-remove" in printed
    assert "at most 403 times (e^6.00)" in printed
    alone, together = map(float, re.search(r" 1\.0% (\d+\.\d+)% (\d+\.\d+)%", printed).groups())
    assert alone == 99.76, "1 - e^-6 (1 - 1e-4 - 0.01), rounded up"
    assert 1 < together < alone


def test_it_is_said_what_the_promise_rests_on(run):
    assert "each site adds all of the noise itself" in run("epsilon", *QUICK)[1]
    shared = run("epsilon", "recipe=distributed", "privacy.colluders=1", "privacy.noise_multiplier=5")[1]
    assert "rests on secure aggregation" in shared
    assert "no more than 1 side with the server" in shared
    assert "nothing holds" in run("epsilon", "privacy.seed=1", *QUICK)[1]


def test_an_accountant_that_is_not_installed_is_shown_with_its_extra(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    printed = run("calibrate", "privacy.noise_multiplier=2.345", *QUICK[1:])[1]
    assert "cmrfed[pld]" in printed
    assert re.search(r"prv [\d.]+ tightest", printed)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["recipe=none"], "privacy.mode: none promises nothing"),
        (["resume=runs/latest"], "resume: this command plans a run"),
        (["privacy.accountant=gdp"], "privacy.accountant: Input should be"),
        (["privacy.target_epsilon=0.001"], "privacy.target_epsilon: no noise multiplier up to 1000 reaches 0.001"),
        (["privacy.noise_multiplier=0.02"], "the prv accountant cannot bound 4 steps of noise 0.02"),
        (["privacy.delta=0.5"], "published outright"),
    ],
)
def test_a_mistake_is_one_line_with_exit_code_2(run, arguments, said):
    code, printed = run("epsilon", *arguments)
    assert code == 2
    assert printed.startswith("cmrfed privacy epsilon: ")
    assert said in printed


def test_one_word_of_a_command_of_two_leads_to_both(run):
    code, printed = run()
    assert code == 2
    assert "privacy calibrate, privacy epsilon" in printed
