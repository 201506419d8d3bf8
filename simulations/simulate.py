"""The whole federation on one machine: a run is laid out and all its arms are federated, ready to evaluate."""

import shutil
from pathlib import Path

from cmrfed.config import RunConfig
from cmrfed.console import console, if_interrupted
from cmrfed.federation.start import initial_weights
from cmrfed.privacy import Cohort, NoPrivacy
from cmrfed.runs import Draft, Run, at_work, new_run_folder
from cmrfed.site import Home
from cmrfed.updates import Weights, load_weights

from .arms import federate


def simulate(config: RunConfig, out: Path, name: str | None = None) -> Run:
    """Prepare a run's folder from a configuration and federate every arm. What can be wrong is found first.

    `name` is what the folder is called besides the time.
    """
    draft = Draft.of(config, out)
    folder = new_run_folder(out, name)
    with at_work(folder):
        try:
            run = draft.lay_out(folder)
        except BaseException:
            shutil.rmtree(folder)
            raise
        console.print(f"  run {run.record.name} begins, in {run.folder}", soft_wrap=True)
        _say_totals(run)
        _federate(run, draft.initial)
    return run


def resume(run: Run) -> Run:
    """Go on with a run from its arms' last whole rounds; what was spent stays spent, in the sites' own ledgers.

    Raises UserError where another process is at work on it.
    """
    with at_work(run.folder):
        console.print(f"  run {run.record.name} goes on, in {run.folder}", soft_wrap=True)
        stored = sorted(run.folder.glob("arms/*/initial.safetensors"))
        initial = load_weights(stored[0])[0] if stored else initial_weights(run.config)[0]
        _federate(run, initial)
    return run


def _federate(run: Run, initial: Weights) -> None:
    with if_interrupted(lambda: f"finished rounds are kept, and cmrfed simulate resume={run.folder} goes on"):
        federate(run, initial)


def _say_totals(run: Run) -> None:
    """What patients of earlier runs will have spent with this one, by the ledger that all of them share."""
    plan = run.record.plan
    if isinstance(plan, NoPrivacy):
        return
    for site in run.sites:
        home = Home(run.site_home(site))
        cohort = Cohort.of(home.slices())
        if earlier := home.ledger.spent(cohort, plan.delta):
            total = home.ledger.spent(cohort, plan.delta, then=plan.event(plan.steps))
            console.print(
                f"  {site}: in earlier runs a patient has spent up to epsilon {earlier:.3g}; with this one {total:.3g} "
                f"at delta {plan.delta:g} ({home.ledger.path})",
                soft_wrap=True,
            )
