"""One frozen, validated dataclass a stage, and the one place that turns Hydra's config into them.

A config names things; it never names code. Every class refuses unknown keys, and every error is one line that names
the key, what was found and what is allowed. What a key means is its field's description, which `--help` shows.

A default stands in its stage and nowhere else. Every way in passes there, Python, the command line, a server's message
and the file of an earlier run, and there alone a key has its type, its limits and its meaning. YAML files hold choices:
an option of a group sets what it is named by and what differs, and what Hydra composes of options and overrides is laid
over the defaults of the command's stage (`cmrfed.cli.overrides`). So `RunConfig(data=...)` is the run of a plain
`cmrfed simulate`, the recipe whose noise each site adds itself; the other recipes differ from it. Whose hearts they are
has no default here: the command line's is the choice data=phantom.
"""

from cmrfed.config.anatomy import Disease, HeartConfig, HeartsConfig, VoxelsConfig
from cmrfed.config.comparison import ComparisonConfig, LaunchConfig
from cmrfed.config.data import MOST_TISSUES, DataConfig, PhantomConfig, PreprocessingConfig, Scanner
from cmrfed.config.evaluation import (
    AttackName,
    CompositeConfig,
    EvaluationConfig,
    FidelityConfig,
    LeakageConfig,
    ReleasePolicy,
    ScreeningConfig,
    Space,
    UtilityConfig,
)
from cmrfed.config.generator import GeneratorConfig, SamplingConfig
from cmrfed.config.plausibility import PlausibilityConfig
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
from cmrfed.config.sweep import SweepConfig
from cmrfed.config.training import (
    AggregationConfig,
    DistillationConfig,
    ExecutionConfig,
    FederationConfig,
    FinetuningConfig,
    MessageConfig,
    PretrainingConfig,
    TrainingConfig,
)

__all__ = [
    "MOST_TISSUES",
    "AdaptiveClipping",
    "AggregationConfig",
    "AttackName",
    "CanaryAuditConfig",
    "ComparisonConfig",
    "CompositeConfig",
    "Count",
    "DataConfig",
    "Decay",
    "Disease",
    "DistillationConfig",
    "EvaluationConfig",
    "ExecutionConfig",
    "FederationConfig",
    "FidelityConfig",
    "FinetuningConfig",
    "Fraction",
    "GeneratorConfig",
    "HeartConfig",
    "HeartsConfig",
    "LaunchConfig",
    "LeakageConfig",
    "MessageConfig",
    "Number",
    "PhantomConfig",
    "PlausibilityConfig",
    "Positive",
    "PreprocessingConfig",
    "PretrainingConfig",
    "PrivacyConfig",
    "ReleasePolicy",
    "RunConfig",
    "SamplingConfig",
    "Scanner",
    "ScreeningConfig",
    "Seed",
    "Space",
    "Stage",
    "StoppedEarly",
    "SweepConfig",
    "TrainingConfig",
    "UserError",
    "UtilityConfig",
    "VoxelsConfig",
    "not_readable",
    "read_json_text",
    "read_stage",
    "read_stage_json",
    "read_stage_json_text",
    "read_stage_yaml",
    "unknown_key",
]
