"""What a hospital allows any server to ask of it: read from its own disk, never from a message.

A policy decides by what is asked alone, and never by a patient's data: whether a request is let through is the same for
any two data sets. The least number of patients is therefore no part of it; `cmrfed prepare` asks for it.
"""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from cmrfed.cache import data_folder
from cmrfed.config import ExecutionConfig, Stage, UserError
from cmrfed.members import FAMILIES, OneOf
from cmrfed.privacy import (
    CannotBound,
    DistributedNoise,
    LocalNoise,
    Noise,
    NoPrivacy,
    PrivacyPlan,
    epsilon,
    filter,
    renyi_order,
)
from cmrfed.site.compute import needs, rows_together
from cmrfed.site.request import Request


class Refusal(UserError):
    """The site declines a request; nothing was released and nothing was spent."""


class SitePolicy(Stage):
    """A hospital's limits. A request outside any of them is refused; the reason stays at the site.

    ledger: the hospital's ledger, one file for all its homes, outside of them; relative to the home. Empty: in this
        account's data folder (`default_ledger`).
    maximum_epsilon: over all runs, for each patient; no default, a hospital decides it. A patient who would come above
        it is left out of the next release.
    maximum_delta: the largest probability with which the guarantee may fail, of one run and over all. A run that is to
        spend all of `maximum_epsilon` needs a delta of half of it at most: one half for each rule of the filter.
    units: what one record may be. There is only the patient.
    noise: who may add the noise. "local": this site alone, so that nobody need be trusted. "distributed": sites
        together, under secure aggregation; the guarantee then rests on `peers` adding theirs.
    minimum_noise_multiplier, maximum_grad_norm, maximum_steps: of any plan; steps are those of one run.
    minimum_patients: with fewer, `cmrfed prepare` lays out no slices, so that nothing is trained here.
    minimum_sites, minimum_colluders: with fewer sites, or a plan that tolerates fewer sites on the server's side, no
        noise is distributed.
    maximum_epsilon_alone: of one run by this site's own share of the noise: what is left were all peers to collude.
    generators: families that may be trained here.
    maximum_weights, maximum_rows, maximum_memory_gb, maximum_seconds: of a network, of the images that go through it at
        once, of a step by `cmrfed.site.compute`, and of one round.
    maximum_message_mb: of one question, weights included.
    answer_interval_s: answers leave `cmrfed site serve` at whole multiples of it after their question came, so that
        their time tells no more; longer than the longest round, it tells nothing. 0: at once.
    execution: how this site computes, whatever a server asks for.
    peers: the other sites' public keys by name, and this site's own; exchanged out of band, never through a server.
    allow_membership_audit: whether a server may have this site attack its own patients and answer with rates. They are
        computed from patients' data without noise: they are *outside epsilon*, and no ledger counts them.
    minimum_membership_audit_patients: on either side, trained on and held out.
    membership_audits_a_year: at most, over all runs.
    """

    name: str = Field(min_length=1, max_length=100, pattern=r"^[\w .-]+$")
    ledger: str = ""
    maximum_epsilon: float = Field(gt=0)
    maximum_delta: float = Field(default=2e-4, gt=0, lt=1)
    units: tuple[Literal["patient"], ...] = ("patient",)
    noise: tuple[Noise, ...] = ("local",)
    minimum_noise_multiplier: float = Field(default=0.3, gt=0)
    maximum_grad_norm: float = Field(default=100.0, gt=0)
    maximum_steps: int = Field(default=10_000, ge=1)
    minimum_patients: int = Field(default=20, ge=1)
    minimum_sites: int = Field(default=3, ge=2)
    minimum_colluders: int = Field(default=0, ge=0)
    maximum_epsilon_alone: float | None = Field(default=None, gt=0)
    generators: tuple[Annotated[str, OneOf(FAMILIES)], ...] = Field(default_factory=lambda: tuple(FAMILIES))
    maximum_weights: int = Field(default=100_000_000, ge=1)
    maximum_rows: int = Field(default=1024, ge=1)
    maximum_memory_gb: float = Field(default=16.0, gt=0)
    maximum_seconds: float = Field(default=24 * 3600.0, gt=0)
    maximum_message_mb: float = Field(default=512.0, gt=0)
    answer_interval_s: float = Field(default=10.0, ge=0)
    execution: ExecutionConfig = ExecutionConfig()
    peers: dict[str, str] = Field(default_factory=dict)
    allow_without_privacy: bool = False
    allow_seeded_noise: bool = False
    allow_membership_audit: bool = False
    minimum_membership_audit_patients: int = Field(default=10, ge=2)
    membership_audits_a_year: int = Field(default=1, ge=0)

    @property
    def digest(self) -> str:
        """SHA-256, hex, of all limits."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @property
    def number(self) -> int:
        """Of this site's name: what separates its seeded randomness, in simulations and tests, from other sites'."""
        return int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:4])

    @cached_property
    def renyi_order(self) -> float:
        """The order at which the filter over all runs works: fixed by these limits, before anything was released."""
        return renyi_order(self.maximum_epsilon, self.delta_of_a_rule)

    @property
    def delta_of_a_rule(self) -> float:
        """The delta that each of the filter's two rules is held to (`cmrfed.privacy.filter`)."""
        return self.maximum_delta / 2

    def refuse_outside(self, request: Request, size: int) -> None:
        """Raise Refusal with the first limit that the request does not keep; images here have `size` pixels a side."""
        for broken in self._broken(request) or self._broken_by_compute(request, size):
            raise Refusal(f"site policy: {broken}")

    def refuse_membership_audit(self, family: str, members: int, non_members: int, answered: int) -> None:
        """Raise Refusal with the first limit that an audit of a generator on so many patients does not keep, after so
        many others in the last year."""
        yearly, needed = self.membership_audits_a_year, self.minimum_membership_audit_patients
        few = f"a membership audit needs {needed} patients on either side, this site has fewer"
        for broken in [
            *_unless(self.allow_membership_audit, "membership audits are refused (allow_membership_audit is false)"),
            *_unless(family in self.generators, f"generator {family} is not among the allowed"),
            *_unless(answered < yearly, f"{answered} audits were answered within a year (membership_audits_a_year)"),
            *_unless(min(members, non_members) >= needed, few),
        ]:
            raise Refusal(f"site policy: {broken}")

    def refuse_few(self, patients: int) -> None:
        """Raise UserError where a home has too few patients to take part; for the hospital's own eyes."""
        if patients < self.minimum_patients:
            raise UserError(
                f"minimum_patients: {self.name} has {patients} patients to train on and takes part with "
                f"{self.minimum_patients} or more; add patients, or lower minimum_patients in site.yaml"
            )

    def _broken(self, request: Request) -> list[str]:
        plan = request.task.plan
        found = _unless(
            request.generator.family in self.generators,
            f"generator {request.generator.family} is not among the allowed {', '.join(self.generators)}",
        )
        match plan:
            case NoPrivacy():
                reason = "training without privacy is not allowed here (allow_without_privacy is false)"
                return found + _unless(self.allow_without_privacy, reason)
            case LocalNoise():
                return found + self._broken_by_plan(plan, request)
            case DistributedNoise():
                return found + self._broken_by_plan(plan, request) + self._broken_by_distribution(plan)

    def _broken_by_plan(self, plan: PrivacyPlan, request: Request) -> list[str]:
        noise, allowed = plan.noise, ", ".join(self.noise)
        sigma, steps, norm = plan.noise_multiplier, plan.steps, plan.clipping.largest_norm
        return [
            *_unless(
                plan.seed is None or self.allow_seeded_noise,
                "the plan's noise is seeded, so that whoever knows the seed can take it away",
            ),
            *_unless(plan.unit in self.units, f"unit {plan.unit} is not among the allowed {', '.join(self.units)}"),
            *_unless(noise in self.noise, f"noise of kind {noise!r} is not among the allowed {allowed}"),
            *_at_most("delta", plan.delta, self.maximum_delta),
            *_unless(
                sigma >= self.minimum_noise_multiplier,
                f"noise multiplier {sigma:.3g} is below the allowed {self.minimum_noise_multiplier:g}",
            ),
            *_at_most("clipping norm", norm, self.maximum_grad_norm),
            *_at_most("this round's clipping norm", request.task.clipping.max_grad_norm, norm * (1 + 1e-9)),
            *_at_most("number of steps", steps, self.maximum_steps),
            *_at_most("number of local steps", request.task.training.local_steps, steps),
            *_at_most("epsilon of the whole run", self._whole(plan), self.maximum_epsilon),
        ]

    def _whole(self, plan: PrivacyPlan) -> float:
        """What a run costs a patient who took part in nothing before: beyond the limit, nobody could see it through."""
        return filter.spent([plan.event(plan.steps)], self.delta_of_a_rule, self.renyi_order)

    def _broken_by_distribution(self, plan: DistributedNoise) -> list[str]:
        sites, colluders = plan.sites, plan.colluders
        return [
            *_unless(sites >= self.minimum_sites, f"{sites} sites are fewer than the {self.minimum_sites} required"),
            *_unless(
                colluders >= self.minimum_colluders,
                f"the plan tolerates {colluders} colluders, this site insists on {self.minimum_colluders}",
            ),
            *self._broken_alone(plan.alone),
        ]

    def _broken_alone(self, alone: LocalNoise) -> list[str]:
        if self.maximum_epsilon_alone is None:
            return []
        try:
            spent = epsilon([alone.event(alone.steps)], alone.delta, alone.accountant)
        except CannotBound:
            return [f"no accountant can bound epsilon by this site's own share of the noise ({alone.accountant})"]
        return _at_most("epsilon by this site's own share of the noise", spent, self.maximum_epsilon_alone)

    def _broken_by_compute(self, request: Request, size: int) -> list[str]:
        """Rows first, and the network only then: what is asked for is measured on paper."""
        rows = rows_together(request.task.training.executed_as(self.execution), request.task.plan.private)
        if rows > self.maximum_rows:
            return _at_most("number of rows at once", rows, self.maximum_rows)
        found = needs(request.generator, rows, size)
        return [
            *_at_most("number of weights", found.weights, self.maximum_weights),
            *_at_most("memory in GB", found.memory_bytes / 1e9, self.maximum_memory_gb),
        ]


def default_ledger() -> Path:
    """The ledger of a hospital that names no other: in this account's data folder, by the XDG base directories."""
    return data_folder() / "ledger.sqlite"


def _unless(kept: bool, reason: str) -> list[str]:
    return [] if kept else [reason]


def _at_most(what: str, found: float | int, allowed: float | int) -> list[str]:
    return _unless(found <= allowed, f"{what} {found:g} is above the allowed {allowed:g}")
