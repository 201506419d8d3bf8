"""A run before it has a folder: data divided among sites, noise calibrated, the start trained and judged."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from cmrfed.config import RunConfig, UserError
from cmrfed.console import console, progress_bar
from cmrfed.federation import refuse_few_sites
from cmrfed.federation.start import (
    initial_weights,
    refuse_few_rounds,
    refuse_poor_start,
    refuse_public_patients,
    refuse_unusable_start,
)
from cmrfed.preparation import Source, refuse_missing_folders, write_configured_phantom
from cmrfed.privacy import LocalNoise, NoPrivacy, Plan
from cmrfed.runs.run import Run, RunRecord, point_latest, prepared_folder, software_versions
from cmrfed.site.division import refuse_twins
from cmrfed.site.layout import lay_out_homes
from cmrfed.slices import Slices, assign_sites, concatenate, fingerprint, split_one_by_one
from cmrfed.updates import Weights

_VALIDATION_SLICES_PER_VENDOR = 12
"""Enough to see a curve fall, few enough not to hold up a round."""


@dataclass(frozen=True)
class Draft:
    """What a run is laid out from. `sites`: by name, who is trained on there; `held_out`: nobody of whom is at a site.

    `initial` are the weights every arm starts from, and `pretraining` is what the card says of them.
    """

    config: RunConfig
    slices: Slices
    sites: dict[str, Slices]
    held_out: Slices
    plan: Plan
    initial: Weights
    pretraining: dict[str, object]

    @classmethod
    def of(cls, config: RunConfig, out: Path) -> "Draft":
        """Make everything that a run needs, its prepared slices and pretrained weights kept for the next.

        Raises UserError for all that can be wrong with it, the quick things first.
        """
        refuse_missing_folders(config.data)
        refuse_unusable_start(config)
        refuse_few_rounds(config)
        calibrated = calibrated_plan(config)
        slices = prepared_slices(config, out)
        refuse_public_patients(config, slices)
        sites, held_out = _divide(slices, config)
        _refuse_unfit_sites(sites, config)
        plan = calibrated.among(len(sites), config.privacy)
        initial, pretraining = initial_weights(config)
        refuse_poor_start(config, initial, _for_validation(held_out))
        return cls(config, slices, sites, held_out, plan, initial, pretraining)

    def lay_out(self, folder: Path) -> Run:
        """Write the sites' homes and the evaluator's held-out slices; run.json, last, makes it a run."""
        lay_out_homes(folder / "sites", self.sites, self.config)
        self.held_out.save(folder / "central" / "held_out.safetensors")
        _for_validation(self.held_out).save(folder / "central" / "validation.safetensors")
        run = Run(folder, self._record(folder.name))
        run.save_record()
        point_latest(folder)
        return run

    def _record(self, name: str) -> RunRecord:
        return RunRecord(
            name=name,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            cmrfed=software_versions()["cmrfed"],
            versions=software_versions(),
            config=self.config,
            data_fingerprint=fingerprint(self.slices),
            sites={name: own.number_of_patients for name, own in self.sites.items()},
            held_out_patients=self.held_out.number_of_patients,
            plan=self.plan,
            pretraining=self.pretraining,
        )


def prepared_slices(config: RunConfig, out: Path) -> Slices:
    """The slices of a run's data on the common grid, kept in `out`/prepared/; a missing phantom is written.

    Raises UserError, naming the file or key, at the first thing that cannot be used.
    """
    if "phantom" in config.data.sources:
        with progress_bar("writing the phantom") as progress:
            write_configured_phantom(config.data, progress)
    source = Source.of(config.data, config.preprocessing)
    with progress_bar("reading and preparing cases") as progress:
        return source.slices(prepared_folder(out) / f"{source.key}.safetensors", progress)


def calibrated_plan(config: RunConfig) -> LocalNoise | NoPrivacy:
    """The plan, before it is known among how many sites."""
    if config.privacy.mode == "none":
        return NoPrivacy()
    with console.status("calibrating the noise to the whole federation"):
        plan = LocalNoise.calibrated(config.privacy, config.federation, config.training)
    console.print(
        f"  privacy: sigma {plan.noise_multiplier:.3f} keeps {plan.steps} steps at sampling rate {plan.sample_rate:g} "
        f"within epsilon {plan.target_epsilon:.3g}, delta {plan.delta:g}, for each patient",
        soft_wrap=True,
    )
    return plan


def _divide(slices: Slices, config: RunConfig) -> tuple[dict[str, Slices], Slices]:
    """Hold patients out first, then share the others among sites: no held-out patient is at any site."""
    train, held_out = split_one_by_one(slices.records, config.federation.held_out_fraction, config.seed)
    training = slices.subset(train)
    sites = assign_sites(training.records, config.federation, config.seed)
    return {name: training.subset(patients) for name, patients in sites.items()}, slices.subset(held_out)


def _refuse_unfit_sites(sites: dict[str, Slices], config: RunConfig) -> None:
    """What `cmrfed prepare` would find at each hospital."""
    refuse_few_sites(config, len(sites))
    needed = config.privacy.minimum_patients if config.privacy.mode != "none" else 1
    for name, own in sites.items():
        refuse_twins(own, f"site {name}")
        if own.number_of_patients < needed:
            raise UserError(
                f"privacy.minimum_patients: site {name} has {own.number_of_patients} training patients, it takes part "
                f"with {needed}; add patients, merge sites (federation.site_by) or lower the minimum"
            )


def _for_validation(held_out: Slices) -> Slices:
    """The evaluator's slices that rounds and starts are judged on: some of each vendor."""
    return concatenate([_few(own) for own in held_out.by_vendor().values()])


def _few(slices: Slices) -> Slices:
    """Slices spread evenly over patients, phases and levels."""
    count = min(len(slices), _VALIDATION_SLICES_PER_VENDOR)
    return slices.take(np.linspace(0, len(slices) - 1, count).round().astype(np.int64))
