"""The whole federation on one machine: data -> sites -> pretraining -> arms -> the run's folder, ready to evaluate."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from cmrfed.config import RunConfig, UserError
from cmrfed.console import console, if_interrupted, progress_bar
from cmrfed.preparation import Source, refuse_missing_folders, write_configured_phantom
from cmrfed.privacy import Cohort, PrivacyPlan
from cmrfed.privacy.secure_aggregation import Identity
from cmrfed.runs import Run, RunRecord, new_run_folder, point_latest, prepared_folder, software_versions
from cmrfed.site import Home, SitePolicy
from cmrfed.site.division import refuse_twins
from cmrfed.site.policy import default_ledger
from cmrfed.slices import Slices, assign_sites, concatenate, fingerprint, split_one_by_one
from cmrfed.updates import Weights, load_weights
from simulations.arms import federate
from simulations.pretraining import initial_weights, refuse_poor_start

_VALIDATION_SLICES_PER_VENDOR = 12
"""Enough to see a curve fall, few enough not to hold up a round."""


def simulate(config: RunConfig, out: Path, name: str | None = None) -> Run:
    """Prepare a run's folder from a configuration and federate every arm. What can be wrong is found first.

    `name` is what the folder is called besides the time.
    """
    refuse_missing_folders(config.data)
    plan = _plan(config)
    if "phantom" in config.data.sources:
        with progress_bar("writing the phantom") as progress:
            write_configured_phantom(config.data, progress)
    source = Source.of(config.data, config.preprocessing)
    with progress_bar("reading and preparing cases") as progress:
        slices = source.slices(prepared_folder(out) / f"{source.key}.safetensors", progress)
    sites, held_out = _divide(slices, config)
    _refuse_unfit_sites(sites, config)
    plan = plan and plan.shared_by(len(sites), config.privacy)
    initial, pretraining = initial_weights(config)
    refuse_poor_start(config, initial, _for_validation(held_out))
    folder = new_run_folder(out, name)
    with _at_work(folder):
        try:
            run = _lay_out(folder, config, slices, sites, held_out, plan, pretraining)
        except BaseException:
            shutil.rmtree(folder)
            raise
        console.print(f"  run {run.record.name} begins, in {run.folder}", soft_wrap=True)
        _say_totals(run)
        _federate(run, initial)
    return run


def resume(run: Run) -> Run:
    """Go on with a run from its arms' last whole rounds; what was spent stays spent, in the sites' own ledgers.

    Raises UserError where another process is at work on it.
    """
    with _at_work(run.folder):
        console.print(f"  run {run.record.name} goes on, in {run.folder}", soft_wrap=True)
        stored = sorted(run.folder.glob("arms/*/initial.safetensors"))
        initial = load_weights(stored[0])[0] if stored else initial_weights(run.config)[0]
        _federate(run, initial)
    return run


def interrupted_run(config: RunConfig, out: Path) -> Run | None:
    """The newest run of this very configuration in `out`, if it was cut short: it has no report."""
    folders = [path.parent for path in out.expanduser().resolve().glob("*/run.json")]
    for folder in sorted((one for one in folders if not one.is_symlink()), reverse=True):
        run = _readable(folder)
        if run and run.config == config:
            return None if (folder / "report.html").exists() else run
    return None


def _readable(folder: Path) -> Run | None:
    """None for a run of another version, whose record cannot be read."""
    try:
        return Run.open(folder)
    except UserError:
        return None


def _federate(run: Run, initial: Weights) -> None:
    with if_interrupted(lambda: f"finished rounds are kept, and cmrfed simulate resume={run.folder} goes on"):
        federate(run, initial)


@contextmanager
def _at_work(folder: Path) -> Iterator[None]:
    """Keep other processes off a run: two coordinators would ask its sites for the same rounds. The lock goes with the
    process that has it, however that ends."""
    with (folder / ".at_work").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another process is at work on this run; let it end, or end it") from None
        yield


def _plan(config: RunConfig) -> PrivacyPlan | None:
    if config.privacy.mode == "none":
        return None
    with console.status("calibrating the noise to the whole federation"):
        plan = PrivacyPlan.calibrated(config.privacy, config.federation, config.training)
    console.print(
        f"  privacy: sigma {plan.noise_multiplier:.3f} keeps {plan.steps} steps at sampling rate {plan.sample_rate:g} "
        f"within epsilon {plan.target_epsilon:.3g}, delta {plan.delta:g}, for each patient",
        soft_wrap=True,
    )
    return plan


def _say_totals(run: Run) -> None:
    """What patients of earlier runs will have spent with this one, by the ledger that all of them share."""
    plan = run.record.plan
    for site in run.sites if plan else ():
        assert plan
        home = Home(run.site_home(site))
        cohort = Cohort.of(home.slices())
        if earlier := home.ledger.spent(cohort, plan.delta):
            total = home.ledger.spent(cohort, plan.delta, then=plan.event(plan.steps))
            console.print(
                f"  {site}: in earlier runs a patient has spent up to epsilon {earlier:.3g}; with this one {total:.3g} "
                f"at delta {plan.delta:g} ({home.ledger.path})",
                soft_wrap=True,
            )


def _divide(slices: Slices, config: RunConfig) -> tuple[dict[str, Slices], Slices]:
    """Hold patients out first, then share the others among sites: no held-out patient is at any site."""
    train, held_out = split_one_by_one(slices.records, config.federation.held_out_fraction, config.seed)
    training = slices.subset(train)
    sites = assign_sites(training.records, config.federation, config.seed)
    return {name: training.subset(patients) for name, patients in sites.items()}, slices.subset(held_out)


def _refuse_unfit_sites(sites: dict[str, Slices], config: RunConfig) -> None:
    """What `cmrfed prepare` would find at each hospital."""
    needed = config.privacy.minimum_patients if config.privacy.mode != "none" else 1
    for name, own in sites.items():
        refuse_twins(own, f"site {name}")
        if own.number_of_patients < needed:
            raise UserError(
                f"privacy.minimum_patients: site {name} has {own.number_of_patients} training patients, it takes part "
                f"with {needed}; add patients, merge sites (federation.site_by) or lower the minimum"
            )


def _policy(name: str, config: RunConfig, peers: dict[str, str]) -> dict[str, object]:
    """A simulated hospital allows what the experiment is about, and no more.

    What real patients spend in simulations adds up in this account's one ledger, and no total keeps an experiment from
    being made; the phantom's hearts are nobody's, and every run has a ledger of its own for them.
    """
    privacy = config.privacy
    nobody = set(config.data.sources) == {"phantom"}
    return {
        "name": name,
        "ledger": "../../ledger/ledger.sqlite" if nobody else str(default_ledger()),
        "execution": config.training.execution.model_dump(mode="json"),
        "noise": ["shared" if privacy.mode == "distributed" else "site"],
        "minimum_noise_multiplier": privacy.noise_multiplier
        or SitePolicy.model_fields["minimum_noise_multiplier"].default,
        "peers": peers,
        "maximum_epsilon": float("inf"),
        "maximum_delta": min(2 * privacy.delta, 0.5),
        "maximum_steps": max(config.federation.rounds * config.training.local_steps, 10_000),
        "minimum_patients": privacy.minimum_patients,
        "minimum_sites": 2,
        "minimum_colluders": privacy.colluders,
        "allow_seeded_noise": privacy.seed is not None,
        "allow_without_privacy": privacy.mode == "none" or config.federation.arms == "all",
    }


def _for_validation(held_out: Slices) -> Slices:
    """The evaluator's slices that rounds and starts are judged on: some of each vendor."""
    return concatenate([_few(own) for own in held_out.by_vendor().values()])


def _few(slices: Slices) -> Slices:
    """Slices spread evenly over patients, phases and levels."""
    count = min(len(slices), _VALIDATION_SLICES_PER_VENDOR)
    return slices.take(np.linspace(0, len(slices) - 1, count).round().astype(np.int64))


def _lay_out(
    folder: Path,
    config: RunConfig,
    slices: Slices,
    sites: dict[str, Slices],
    held_out: Slices,
    plan: PrivacyPlan | None,
    pretraining: dict[str, object],
) -> Run:
    """Write the sites' homes and the evaluator's held-out slices; run.json, last, makes it a run."""
    homes = {name: folder / "sites" / name for name in sites}
    peers = {name: Identity.create(home / "identity.pem").public for name, home in homes.items()}
    for name, home in homes.items():
        sites[name].save(home / "slices.safetensors")
        OmegaConf.save(_policy(name, config, peers), home / "site.yaml")
    held_out.save(folder / "central" / "held_out.safetensors")
    _for_validation(held_out).save(folder / "central" / "validation.safetensors")
    record = RunRecord(
        name=folder.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        cmrfed=software_versions()["cmrfed"],
        versions=software_versions(),
        config=config,
        data_fingerprint=fingerprint(slices),
        sites={name: own.number_of_patients for name, own in sites.items()},
        held_out_patients=held_out.number_of_patients,
        plan=plan,
        pretraining=pretraining,
    )
    run = Run(folder, record)
    run.save_record()
    point_latest(folder)
    return run
