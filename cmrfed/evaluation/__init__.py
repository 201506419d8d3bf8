"""Measure everything that is configured on every arm of a run, and write results.json.

The evaluator is central: it holds the held-out patients, drawn before training, and (in a simulation) the training
patients. `subject` says what is measured; fidelity, utility and leakage each turn it into scores by arm.
"""

import json
import time

from cmrfed.config import EvaluationConfig
from cmrfed.core import atomic
from cmrfed.evaluation.composite import composite
from cmrfed.evaluation.fidelity import measure_fidelity
from cmrfed.evaluation.leakage import measure_leakage
from cmrfed.evaluation.subject import ProgressBar, Results, Subject, few_of_each, subject_of, thin
from cmrfed.evaluation.timing import timing_of
from cmrfed.evaluation.utility import measure_utility
from cmrfed.runs import Run
from cmrfed.site import Home

__all__ = ["Subject", "evaluate", "few_of_each", "thin"]


def evaluate(run: Run, config: EvaluationConfig, bar: ProgressBar) -> Results:
    """Score every arm and write results.json; returns what it holds. Synthetic slices are kept for the report."""
    started = time.monotonic()
    subject = subject_of(run, config, bar)
    arms = scores_by_arm(subject, config, bar)
    timing = timing_of(run) | {"sample_s_per_slice": subject.synthetic[run.main_arm()].seconds_per_slice}
    results = _results(run, config, arms, timing | {"evaluate_s": time.monotonic() - started})
    atomic.write_text(run.folder / "results.json", json.dumps(results, indent=2))
    return results


def scores_by_arm(subject: Subject, config: EvaluationConfig, bar: ProgressBar) -> dict[str, Results]:
    """What is configured, by arm and kind."""
    found: dict[str, dict[str, Results]] = {}
    if config.leakage:
        found["leakage"], found["audits"] = measure_leakage(subject, config.leakage, bar)
    if config.fidelity:
        found["fidelity"] = measure_fidelity(subject, config.fidelity, bar)
    if config.utility:
        found["utility"] = measure_utility(subject, config.utility, bar)
    arms = {arm: {kind: of[arm] for kind, of in found.items() if arm in of} for arm in subject.synthetic}
    return {arm: scores | {"composite": composite(scores, config.composite)} for arm, scores in arms.items()}


def _results(run: Run, config: EvaluationConfig, arms: dict[str, Results], timing: Results) -> Results:
    """results.json: the run's own arm at the top level, and all arms side by side under `arms`."""
    main = arms[run.main_arm()]
    return {
        "run": run.record.name,
        "arm": run.main_arm(),
        "evaluation": config.model_dump(mode="json"),
        "sites": {site: _site(run, site) for site in run.sites},
        "fidelity": main.get("fidelity"),
        "utility": main.get("utility"),
        "leakage": main.get("leakage"),
        "audits": main.get("audits"),
        "composite": main["composite"],
        "timing": timing,
        "arms": arms,
        "private_beats_epsilon_0": _gain(arms),
    }


def _site(run: Run, site: str) -> Results:
    """What one site's patients were exposed to, as its own ledger has it."""
    own: Results = {"patients": run.record.sites[site], "epsilon": None, "delta": None, "noise_multiplier": None}
    plan = run.record.plan
    if plan is None:
        federation, training = run.config.federation, run.config.training
        return own | {"sample_rate": None, "steps": federation.rounds * training.local_steps}
    spent = Home(run.site_home(site)).spent_in(f"{run.record.name}/private")
    return own | {
        "epsilon": spent[-1][1] if spent else 0.0,
        "delta": plan.delta,
        "noise_multiplier": plan.noise_multiplier,
        "sample_rate": plan.sample_rate,
        "steps": len(spent) * run.config.training.local_steps,
    }


def _gain(arms: dict[str, Results]) -> Results | None:
    """Whether the private data bought anything over the start that saw none; None where one of the two is missing."""
    if not {"epsilon_0", "private"} <= arms.keys():
        return None
    before, after = arms["epsilon_0"], arms["private"]
    gain: Results = {}
    if "utility" in after and not after["utility"]["void"]:
        gain["dice_mean"] = (
            after["utility"]["synthetic"]["dice"]["mean"] - before["utility"]["synthetic"]["dice"]["mean"]
        )
    if "fidelity" in after:
        gain |= {name: after["fidelity"][name] - before["fidelity"][name] for name in ("fid", "kid")}
    return gain
