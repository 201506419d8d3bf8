"""How weights are trained: at a site, in public beforehand, and over all sites."""

from typing import Annotated, Literal

from pydantic import Field

from cmrfed.config.stage import Count, Decay, Fraction, Number, Positive, Stage
from cmrfed.members import RULES, OneOf


class ExecutionConfig(Stage):
    """How a computation runs, not what it computes: a site's own matter, whatever a server asks for."""

    precision: Literal["auto", "bf16", "fp32"] = Field(
        default="auto", description="number format; auto: bf16 where the device computes in it"
    )
    patient_gradients: Literal["auto", "loop", "vmap"] = Field(
        default="auto", description="whichever is faster; a patient at a time; several, where that rounds alike"
    )
    rows_at_once: int = Field(default=64, ge=1, le=65_536, description="rows together with patient_gradients=vmap")
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d{1,2})?)$",
        description="auto: a GPU where there is one; or cpu, cuda, cuda:1 ...",
    )
    threads: int = Field(default=1, ge=1, le=1024, description="CPU threads of a site")


class TrainingConfig(ExecutionConfig):
    """One site's local run in a round. With privacy, each sampled patient gives slices x draws rows to a step."""

    local_steps: Count = Field(default=1, description="training steps of a site in each round")
    optimizer: Literal["adam", "sgd"] = Field(
        default="sgd", description="with privacy sgd, which noise does not mislead"
    )
    # in public directions the loss is about as steep everywhere, and 1 would be all the way to where it is least
    learning_rate: Positive = Field(default=0.7, description="step size of a site")
    public_learning_rate: Positive = Field(
        default=2e-4, description="step size of Adam at the coordinator, for what is trained without patients"
    )
    schedule: Literal["constant", "cosine"] = Field(
        default="constant", description="how the learning rate changes over the rounds"
    )
    batch_size: Count = Field(default=192, description="without privacy: slices in a step")
    slices_per_patient: Count = Field(default=8, description="with privacy: slices drawn from a sampled patient")
    noise_multiplicity: Count = Field(
        default=1, description="with privacy: noise levels at which each of these slices is used in a step"
    )

    @property
    def rows_of_patient(self) -> int:
        """Rows that a sampled patient gives to a step."""
        return self.slices_per_patient * self.noise_multiplicity

    def executed_as(self, execution: ExecutionConfig) -> "TrainingConfig":
        """The same computation, run as `execution` says."""
        return self.model_copy(update={name: getattr(execution, name) for name in ExecutionConfig.model_fields})

    @property
    def execution(self) -> ExecutionConfig:
        """How it runs, alone."""
        return ExecutionConfig(**{name: getattr(self, name) for name in ExecutionConfig.model_fields})


class PretrainingConfig(Stage):
    """Public pretraining on the phantom, never the same heart twice, for all of its steps, however long they take."""

    steps: Count = Field(default=2400, description="training steps")
    # at equal cost, many small steps left far less grain than few large ones
    batch_size: Count = Field(default=8, description="slices in a step")
    mixed_slices: Count = Field(default=512, description="fewest slices, of many hearts, that a batch is drawn from")
    uses: Count = Field(
        default=1, description="how often each slice is used; more where hearts are drawn more slowly than learnt from"
    )
    label_noise_mm: float = Field(
        default=0.7, ge=0, le=5, description="how far masks' edges stray from the images', as hand-drawn ones do"
    )
    learning_rate: Positive = Field(default=1e-3, description="step size of Adam")
    ema_decay: Decay = Field(default=0.995, description="decay per step of the averaged weights")


class FinetuningConfig(Stage):
    """A start trained further on public patients, over and over; costs no privacy, where they are public indeed."""

    steps: Count = Field(default=600, description="training steps")
    batch_size: Count = Field(default=16, description="slices in a step")
    learning_rate: Positive = Field(default=5e-4, description="step size of Adam")
    ema_decay: Decay = Field(default=0.98, description="decay per step of the averaged weights")
    held_out_fraction: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="share of the public patients that only tells, before and after, how well such patients are known",
    )


class DistillationConfig(Stage):
    """A generator taught by itself to draw in few steps, on masks of phantoms; costs no privacy."""

    steps: Count = Field(default=2, description="steps in which it draws afterwards")
    updates: Count = Field(default=1500, description="training steps")
    batch_size: Count = Field(default=8, description="images of the teacher in a training step")
    learning_rate: Positive = Field(default=3e-4, description="step size of Adam")
    ema_decay: Decay = Field(default=0.99, description="decay per training step of the averaged weights")


class AggregationConfig(Stage):
    """How the sites' updates become the next global weights."""

    rule: Annotated[str, OneOf(RULES)] = Field(default="mean", description="how updates are joined")
    shrinkage: Literal["none", "james_stein"] = Field(
        default="james_stein",
        description="james_stein: believe each part of a noised update as far as it exceeds its noise",
    )
    trimmed_share: float = Field(
        default=0.25, gt=0, lt=0.5, description="with trimmed_mean: share of the sites left out at each end"
    )
    byzantine_sites: Number = Field(
        default=1, description="with krum and multi_krum: sites that may send anything; 2 of them + 3 must reply"
    )
    server_optimizer: Literal["none", "momentum", "adam", "yogi"] = Field(
        default="none", description="what the joined updates of all rounds so far make of the next weights"
    )
    server_learning_rate: Positive = Field(
        default=1.0, description="factor of the joined update; with adam and yogi, how far a weight moves in a round"
    )
    beta1: Decay = Field(default=0.9, description="of the server's optimizer: decay of earlier updates")
    beta2: Decay = Field(default=0.99, description="of adam and yogi: decay of earlier updates' squares")
    tau: Positive = Field(default=1e-3, description="of adam and yogi: size of an update that counts as small")
    ema_decay: Decay = Field(default=0.0, description="decay per round of the averaged weights; 0: the last ones")


class MessageConfig(Stage):
    """How a site's update is sent, once its noise is in it."""

    compression: Literal["none", "int8", "top_k"] = Field(
        default="none",
        description="numbers of 32 bits; of 8; or the largest alone, of which a site keeps the rest for later rounds",
    )
    top_k_share: Fraction = Field(default=0.01, description="with top_k: share of an update's numbers that is sent")


class FederationConfig(MessageConfig):
    """Who takes part, and for how long."""

    rounds: Count = Field(default=4, description="rounds of the whole run")
    site_by: tuple[Literal["dataset", "vendor", "centre"], ...] = Field(
        default=("vendor",), min_length=1, description="one site for each combination of these"
    )
    random_sites: Number = Field(
        default=0, description="so many sites, patients drawn to them at random; 0: by site_by"
    )
    held_out_fraction: Fraction = Field(default=0.2, description="share of the patients that no training sees")
    engine: Literal["ray", "inprocess"] = Field(
        default="ray", description="each site in a process of its own, or all in this one"
    )
    arms: Literal["private", "all"] = Field(default="private", description="all: train without privacy too, to compare")
    round_timeout_s: Positive = Field(default=3600, description="longest wait for a round's sites, in seconds")
    minimum_replies: Count | None = Field(
        default=None,
        description="fewest sites' updates that a round is made of; null: as few as aggregation.rule can join",
    )
    largest_start_loss: Positive | None = Field(
        default=0.5,
        description="private rounds begin from no start with a higher held-out loss, as a part of that of the best "
        "predictor that sees one pixel at a time; null: from any",
    )

    @property
    def messages(self) -> MessageConfig:
        """How updates are sent, alone."""
        return MessageConfig(compression=self.compression, top_k_share=self.top_k_share)
