"""Measure everything that is configured on every arm of a run, and write results.json.

The evaluator is central: it holds the held-out patients, drawn before training, and (in a simulation) the training
patients.
"""

import time

from cmrfed.config import EvaluationConfig
from cmrfed.core import atomic
from cmrfed.core.progress import ProgressBar
from cmrfed.evaluation.schema import ArmScores, Gain, Results, Settings, Site, Timing
from cmrfed.evaluation.scores import scores_by_arm
from cmrfed.privacy import NoPrivacy
from cmrfed.runs.run import Run
from cmrfed.runs.subject import subject_of
from cmrfed.runs.timing import timing_of
from cmrfed.site import Home


def evaluate(run: Run, config: EvaluationConfig, bar: ProgressBar) -> Results:
    """Score every arm and write results.json; returns what it holds. Synthetic slices are kept for the report."""
    started = time.monotonic()
    subject = subject_of(run, config, bar)
    arms = scores_by_arm(subject, config, bar)
    seconds = {
        "sample_s_per_slice": subject.synthetic[run.main_arm()].seconds_per_slice,
        "evaluate_s": time.monotonic() - started,
    }
    results = _results(run, config, arms, timing_of(run).model_copy(update=seconds))
    atomic.write_text(run.folder / "results.json", results.to_json())
    return results


def _results(run: Run, config: EvaluationConfig, arms: dict[str, ArmScores], timing: Timing) -> Results:
    """results.json: the run's own arm at the top level, and all arms side by side under `arms`."""
    main = arms[run.main_arm()]
    return Results(
        run=run.record.name,
        arm=run.main_arm(),
        evaluation=Settings.model_validate(config.model_dump(mode="json")),
        sites={site: _site(run, site) for site in run.sites},
        fidelity=main.fidelity,
        utility=main.utility,
        leakage=main.leakage,
        audits=main.audits,
        composite=main.composite,
        timing=timing,
        arms=arms,
        private_beats_epsilon_0=_gain(arms),
    )


def _site(run: Run, site: str) -> Site:
    """What one site's patients were exposed to, as its own ledger has it."""
    patients, plan, local_steps = run.record.sites[site], run.record.plan, run.config.training.local_steps
    if isinstance(plan, NoPrivacy):
        steps = run.config.federation.rounds * local_steps
        return Site(patients=patients, epsilon=None, delta=None, noise_multiplier=None, sample_rate=None, steps=steps)
    spent = Home(run.site_home(site)).spent_in(f"{run.record.name}/private")
    return Site(
        patients=patients,
        epsilon=spent[-1][1] if spent else 0.0,
        delta=plan.delta,
        noise_multiplier=plan.noise_multiplier,
        sample_rate=plan.sample_rate,
        steps=len(spent) * local_steps,
    )


def _gain(arms: dict[str, ArmScores]) -> Gain | None:
    """Whether the private data bought anything over the start that saw none; None where one of the two is missing."""
    if not {"epsilon_0", "private"} <= arms.keys():
        return None
    before, after = (_compared(arms[arm]) for arm in ("epsilon_0", "private"))
    return Gain.model_validate({name: after[name] - before[name] for name in after if name in before})


def _compared(scores: ArmScores) -> dict[str, float]:
    """The headline figures that are known of an arm."""
    fidelity, utility = scores.fidelity, scores.utility
    figures = {
        "dice_mean": utility.synthetic.dice.mean if utility and not utility.void else None,
        "fid": fidelity.fid if fidelity else None,
        "kid": fidelity.kid if fidelity else None,
    }
    return {name: value for name, value in figures.items() if value is not None}
