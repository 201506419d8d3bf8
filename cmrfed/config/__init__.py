"""One frozen, validated dataclass a stage, and the one place that turns Hydra's config into them.

A config names things; it never names code. Every class refuses unknown keys, and every error is one line that names
the key, what was found and what is allowed. What a key means is its field's description, which `--help` shows.
"""

from cmrfed.config.data import MOST_TISSUES, DataConfig, PhantomConfig, PreprocessingConfig, Scanner
from cmrfed.config.evaluation import (
    AttackName,
    CompositeConfig,
    EvaluationConfig,
    FidelityConfig,
    LeakageConfig,
    ReleasePolicy,
    Space,
    UtilityConfig,
)
from cmrfed.config.generator import GeneratorConfig, SamplingConfig
from cmrfed.config.privacy import AdaptiveClipping, CanaryAuditConfig, PrivacyConfig
from cmrfed.config.reading import (
    read_json_text,
    read_stage,
    read_stage_json,
    read_stage_json_text,
    read_stage_yaml,
    unknown_key,
)
from cmrfed.config.run import RunConfig
from cmrfed.config.stage import (
    Count,
    Decay,
    Fraction,
    Number,
    Positive,
    Seed,
    Stage,
    StoppedEarly,
    UserError,
    not_readable,
)
from cmrfed.config.training import (
    AggregationConfig,
    ExecutionConfig,
    FederationConfig,
    PretrainingConfig,
    TrainingConfig,
)

__all__ = [
    "MOST_TISSUES",
    "AdaptiveClipping",
    "AggregationConfig",
    "AttackName",
    "CanaryAuditConfig",
    "CompositeConfig",
    "Count",
    "DataConfig",
    "Decay",
    "EvaluationConfig",
    "ExecutionConfig",
    "FederationConfig",
    "FidelityConfig",
    "Fraction",
    "GeneratorConfig",
    "LeakageConfig",
    "Number",
    "PhantomConfig",
    "Positive",
    "PreprocessingConfig",
    "PretrainingConfig",
    "PrivacyConfig",
    "ReleasePolicy",
    "RunConfig",
    "SamplingConfig",
    "Scanner",
    "Seed",
    "Space",
    "Stage",
    "StoppedEarly",
    "TrainingConfig",
    "UserError",
    "UtilityConfig",
    "not_readable",
    "read_json_text",
    "read_stage",
    "read_stage_json",
    "read_stage_json_text",
    "read_stage_yaml",
    "unknown_key",
]
