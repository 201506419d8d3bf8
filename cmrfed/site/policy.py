"""What a hospital allows any server to ask of it: read from its own disk, never from a message."""

from typing import Literal

from pydantic import Field

from cmrfed.config import Stage, UserError
from cmrfed.privacy import PrivacyPlan
from cmrfed.site.request import Request


class Refusal(UserError):
    """The site declines a request; nothing was released and nothing was spent."""


class SitePolicy(Stage):
    """A hospital's limits. A request outside any of them is refused with the reason.

    maximum_epsilon: over all runs on the same patients, at the run's delta; no default, a hospital decides it.
    maximum_delta: the largest probability with which the guarantee may fail.
    units: what one record may be. There is only the patient.
    noise: who may add the noise. "site": this site alone, so that nobody need be trusted. "shared": sites together,
        under secure aggregation; the guarantee then rests on `peers` adding theirs.
    minimum_noise_multiplier, maximum_grad_norm, maximum_steps: of any plan; steps are those of one run.
    minimum_patients: with fewer, nothing is trained here.
    minimum_sites: with fewer sites, no noise is shared.
    generators: families that may be trained here.
    peers: the other sites' public keys by name, and this site's own; exchanged out of band, never through a server.
    allow_audit: whether a server may have this site attack its own patients and answer with rates. They are computed
        from patients' data without noise: they are *outside epsilon*, and no ledger counts them.
    minimum_audit_patients: of an audit, on either side, trained on and held out.
    """

    name: str = Field(min_length=1, max_length=100, pattern=r"^[\w .-]+$")
    maximum_epsilon: float = Field(gt=0)
    maximum_delta: float = Field(default=1e-3, gt=0, lt=1)
    units: tuple[Literal["patient"], ...] = ("patient",)
    noise: tuple[Literal["site", "shared"], ...] = ("site",)
    minimum_noise_multiplier: float = Field(default=0.3, gt=0)
    maximum_grad_norm: float = Field(default=100.0, gt=0)
    maximum_steps: int = Field(default=10_000, ge=1)
    minimum_patients: int = Field(default=1, ge=1)
    minimum_sites: int = Field(default=2, ge=2)
    generators: tuple[Literal["flow", "ddpm"], ...] = ("flow", "ddpm")
    peers: dict[str, str] = Field(default_factory=dict)
    allow_without_privacy: bool = False
    allow_seeded_noise: bool = False
    allow_audit: bool = False
    minimum_audit_patients: int = Field(default=10, ge=2)

    def refuse_outside(self, request: Request, number_of_patients: int) -> None:
        """Raise Refusal with the first limit that the request does not keep."""
        for broken in self._broken(request, number_of_patients):
            raise Refusal(f"site policy: {broken}")

    def refuse_audit(self, family: str, members: int, non_members: int) -> None:
        """Raise Refusal with the first limit that an audit of a generator on so many patients does not keep."""
        needed = self.minimum_audit_patients
        few = f"an audit needs {needed} patients on either side, this site has fewer"
        for broken in [
            *_unless(self.allow_audit, "audits are not allowed here (allow_audit is false)"),
            *_unless(family in self.generators, f"generator {family} is not among the allowed"),
            *_unless(min(members, non_members) >= needed, few),
        ]:
            raise Refusal(f"site policy: {broken}")

    def _broken(self, request: Request, number_of_patients: int) -> list[str]:
        plan = request.task.plan
        found = _unless(
            request.generator.family in self.generators,
            f"generator {request.generator.family} is not among the allowed {', '.join(self.generators)}",
        )
        if plan is None:
            reason = "training without privacy is not allowed here (allow_without_privacy is false)"
            return found + _unless(self.allow_without_privacy, reason)
        return found + self._broken_by_plan(plan, request) + self._broken_by_size(plan, number_of_patients)

    def _broken_by_plan(self, plan: PrivacyPlan, request: Request) -> list[str]:
        noise = "shared" if plan.sharing else "site"
        sigma, steps, norm = plan.noise_multiplier, plan.steps, plan.clipping.largest_norm
        return [
            *_unless(
                plan.seed is None or self.allow_seeded_noise,
                "the plan's noise is seeded, so that whoever knows the seed can take it away",
            ),
            *_unless(plan.unit in self.units, f"unit {plan.unit} is not among the allowed {', '.join(self.units)}"),
            *_unless(noise in self.noise, f"noise of kind {noise!r} is not among the allowed {', '.join(self.noise)}"),
            *_at_most("delta", plan.delta, self.maximum_delta),
            *_unless(
                sigma >= self.minimum_noise_multiplier,
                f"noise multiplier {sigma:.3g} is below the allowed {self.minimum_noise_multiplier:g}",
            ),
            *_at_most("clipping norm", norm, self.maximum_grad_norm),
            *_at_most("this round's clipping norm", request.task.clipping.max_grad_norm, norm * (1 + 1e-9)),
            *_at_most("number of steps", steps, self.maximum_steps),
            *_at_most("number of local steps", request.task.training.local_steps, steps),
        ]

    def _broken_by_size(self, plan: PrivacyPlan, number_of_patients: int) -> list[str]:
        needed = max(plan.minimum_patients, self.minimum_patients)
        sites = plan.sharing.sites if plan.sharing else self.minimum_sites
        return [
            *_unless(number_of_patients >= needed, f"this site has fewer than the {needed} patients the plan needs"),
            *_unless(sites >= self.minimum_sites, f"{sites} sites are fewer than the {self.minimum_sites} required"),
        ]


def _unless(kept: bool, reason: str) -> list[str]:
    return [] if kept else [reason]


def _at_most(what: str, found: float | int, allowed: float | int) -> list[str]:
    return _unless(found <= allowed, f"{what} {found:g} is above the allowed {allowed:g}")
