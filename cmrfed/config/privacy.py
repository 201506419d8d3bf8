"""What is promised to each patient, and how hard an audit looks at whether it is kept."""

from typing import Literal

from pydantic import Field, model_validator

from cmrfed.config.stage import Count, Fraction, Number, Positive, Seed, Stage


class AdaptiveClipping(Stage):
    """A clipping norm that follows a private quantile of the patients' gradient norms.

    One more coordinate tells how many patients lie below the norm, which moves geometrically (`cmrfed.privacy.plan`).
    """

    quantile: Fraction = Field(
        default=0.5, description="quantile of the patients' norms that the clipping norm follows"
    )
    learning_rate: Positive = Field(default=0.2, description="how fast the norm follows, geometrically")
    share: Fraction = Field(default=0.1, description="share of the clipping norm spent on finding the quantile")
    range: float = Field(default=10.0, ge=1, allow_inf_nan=False, description="the factor within which the norm stays")


class PrivacyConfig(Stage):
    """What is promised to each patient, and the public constants that the promise rests on.

    Neighbouring data sets differ by one patient, added or removed.
    """

    mode: Literal["none", "local", "distributed"] = Field(
        default="local", description="no noise; each site adds all its noise; the sites add a share of it each"
    )
    target_epsilon: Positive = Field(
        default=8.0, description="each patient's budget over the whole run; smaller is more private"
    )
    delta: Fraction = Field(
        default=1e-4, description="chance that epsilon fails; far below one in the number of patients"
    )
    sample_rate: float = Field(default=1.0, gt=0, le=1, description="each patient's chance of being in a step")
    noise_multiplier: Positive | None = Field(
        default=None, description="noise per unit of clipping norm; null: calibrated to target_epsilon"
    )
    max_grad_norm: Positive = Field(
        default=0.3, description="clipping norm: the most that one patient's gradient may weigh"
    )
    clipping: Literal["norm", "automatic", "per_layer"] = Field(
        default="norm",
        description="clip each gradient to the norm; scale it to the norm, which then only scales the learning rate; "
        "scale each tensor of it",
    )
    adaptive: AdaptiveClipping | None = None
    declared_patients: Count = Field(
        default=24, description="public number of patients that a site is planned for; the true one stays there"
    )
    minimum_patients: Count = Field(default=8, description="sites with fewer patients are refused")
    dropouts: Number = Field(default=0, description="with mode=distributed: sites that may fail in a round")
    colluders: Number = Field(default=0, description="with mode=distributed: sites that may side with the server")
    accountant: Literal["prv", "rdp"] = Field(default="prv", description="how epsilon is counted; rdp is looser")
    seed: Seed | None = Field(default=None, description="for tests only: a run with seeded noise promises nothing")

    @model_validator(mode="after")
    def _delta_is_negligible(self) -> "PrivacyConfig":
        if self.mode != "none" and self.delta * self.declared_patients >= 1:
            raise ValueError(
                f"delta {self.delta:g} would allow one of {self.declared_patients} patients to be published outright; "
                f"choose delta below 1/declared_patients = {1 / self.declared_patients:g}"
            )
        return self

    @model_validator(mode="after")
    def _one_way_to_choose_the_norm(self) -> "PrivacyConfig":
        if self.adaptive and self.clipping != "norm":
            raise ValueError(f"adaptive clipping moves the norm of clipping=norm, found clipping={self.clipping}")
        return self


class CanaryAuditConfig(Stage):
    """How hard an audit with canaries looks: made-up patients with the worst gradients, each put in by a fair coin."""

    canaries: int = Field(default=2000, ge=20, le=10**7, multiple_of=20, description="made-up patients to be found")
    patients: Count = Field(default=16, description="phantoms that are trained on besides")
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="confidence of the lower bound on epsilon")
    noise: bool = Field(
        default=True, description="false takes it away behind the plan's back, to see that the audit finds it"
    )
