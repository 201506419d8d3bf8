"""Everything one run is made from."""

from pydantic import Field, model_validator

from cmrfed.config.data import DataConfig, PreprocessingConfig
from cmrfed.config.evaluation import EvaluationConfig
from cmrfed.config.generator import GeneratorConfig, SamplingConfig
from cmrfed.config.privacy import PrivacyConfig
from cmrfed.config.stage import Seed, Stage
from cmrfed.config.training import AggregationConfig, FederationConfig, PretrainingConfig, TrainingConfig


class RunConfig(Stage):
    """Everything one run is made from; its JSON in `run.json` repeats the run."""

    seed: Seed = Field(default=0, description="seed of everything but the privacy noise, which must not repeat")
    data: DataConfig
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    generator: GeneratorConfig = GeneratorConfig()
    sampling: SamplingConfig = SamplingConfig()
    pretraining: PretrainingConfig = PretrainingConfig()
    training: TrainingConfig = TrainingConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    aggregation: AggregationConfig = AggregationConfig()
    federation: FederationConfig = FederationConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _generator_knows_the_tissues(self) -> "RunConfig":
        if self.generator.tissue_classes != self.preprocessing.tissue_classes:
            raise ValueError(
                f"generator.tissue_classes is {self.generator.tissue_classes} where preprocessing.tissue_classes is "
                f"{self.preprocessing.tissue_classes}; set the latter alone"
            )
        return self

    @model_validator(mode="after")
    def _grid_fits_the_network(self) -> "RunConfig":
        coarsest = self.generator.patch * 2 ** (len(self.generator.channels) - 1)
        if self.preprocessing.size % coarsest:
            raise ValueError(
                f"preprocessing.size: {self.preprocessing.size} is no multiple of {coarsest}, which patch and "
                "channels of the generator need; change one of the three"
            )
        return self

    @model_validator(mode="after")
    def _nobody_sees_the_updates_of_a_distributed_step(self) -> "RunConfig":
        if self.privacy.mode == "distributed" and self.aggregation.rule != "mean":
            raise ValueError(
                f"aggregation.rule: {self.aggregation.rule} needs every site's own update, and with "
                "privacy.mode=distributed only their sum is ever seen; choose rule=mean, or recipe=local"
            )
        return self

    @model_validator(mode="after")
    def _masked_sums_are_whole(self) -> "RunConfig":
        if self.privacy.mode != "distributed":
            return self
        if self.federation.compression != "none":
            raise ValueError(
                f"federation.compression: {self.federation.compression} makes a site's own update small, and with "
                "privacy.mode=distributed a masked one alone is sent; choose compression=none, or recipe=local"
            )
        if self.federation.minimum_replies is not None:
            raise ValueError(
                "federation.minimum_replies: with privacy.mode=distributed, privacy.dropouts says how many sites may "
                f"fail; leave it null (found {self.federation.minimum_replies}), or choose recipe=local"
            )
        return self

    @model_validator(mode="after")
    def _shrinkage_knows_the_noise(self) -> "RunConfig":
        found: dict[str, tuple[object, object]] = {
            "aggregation.rule": (self.aggregation.rule, "mean"),
            "training.optimizer": (self.training.optimizer, "sgd"),
        }
        if self.federation.compression == "top_k":
            found["federation.compression"] = ("top_k", "int8")
        if self.training.local_steps > 1:  # a round begins with a norm that all know; where a site's went to, it keeps
            found["privacy.adaptive"] = (self.privacy.adaptive, None)
        if self.aggregation.shrinkage == "none" or self.privacy.mode == "none":
            return self
        for key, (own, needed) in found.items():
            if own != needed:
                raise ValueError(
                    f"aggregation.shrinkage: {self.aggregation.shrinkage} must know how large an update's noise is, "
                    f"which {key}={own} hides; choose shrinkage=none or {key}={'null' if needed is None else needed}"
                )
        return self

    @model_validator(mode="after")
    def _one_shared_step_a_round(self) -> "RunConfig":
        if self.privacy.mode == "distributed" and self.training.local_steps != 1:
            raise ValueError(
                "privacy.mode: distributed takes one step a round, whose noise all sites share; choose "
                "recipe=distributed, or set training.local_steps=1 and raise federation.rounds "
                f"(found local_steps={self.training.local_steps})"
            )
        return self
