"""What results.json holds, as classes and as a JSON schema (docs/results.schema.json).

Rates and shares are in [0, 1]; an interval is [low, high], 95 %, over patients.
`python -m cmrfed.evaluation.schema` prints the schema.
"""

import json
import sys
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Interval = Annotated[list[float], Field(min_length=2, max_length=2)]
Rate = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    """Holds at least its fields."""

    model_config = ConfigDict(extra="allow")


class Site(_Part):
    """What one site's patients were exposed to, as its own ledger has it; null where there is no guarantee."""

    patients: int
    epsilon: float | None
    delta: float | None
    noise_multiplier: float | None
    sample_rate: float | None
    steps: int


class Score(_Part):
    """One score of fidelity, and its floor: what other real patients get in the place of the synthetic images."""

    value: float
    ci95: Interval | None
    floor: float | None
    floor_ci95: Interval | None


class Fidelity(_Part):
    """Distances in the first feature space, and every score by part and name (`SCORES` of `fidelity.metrics`)."""

    images: int
    fid: float
    fid_ci95: Interval | None
    fid_real: float
    fid_real_ci95: Interval | None
    kid: float
    kid_ci95: Interval | None
    kid_real: float
    kid_real_ci95: Interval | None
    spaces: dict[str, dict[str, Score]]
    pixels: dict[str, Score]
    structure: dict[str, Score]
    faithfulness: dict[str, Score]


class Structures(_Part):
    """A figure by structure, and its mean."""

    lv: float
    myo: float
    rv: float
    mean: float


class TrainingSet(_Part):
    """A segmenter trained on one set of images, tested on held-out patients."""

    dice: Structures
    dice_ci95: dict[str, Interval]
    hd95_mm: Structures
    by_vendor: dict[str, dict[str, Any]]
    patients: int


class OverBlind(_Part):
    """By how much mean Dice is above that of one mask for every slice, which looks at no image."""

    value: float
    ci95: Interval
    beats_blind: bool


class Utility(_Part):
    """Segmenters by what they were trained on, and the mask for every slice that they must beat (`blind`).

    void: why nothing can be compared, where the segmenter trained on real images does not beat it; else null.
    """

    real: TrainingSet
    synthetic: TrainingSet
    mixed: TrainingSet
    blind: TrainingSet
    over_blind: dict[str, OverBlind]
    void: str | None


class Attack(_Part):
    """One membership attack, by patient. "tpr_at_1pct_fpr": the share of members found at 1 % false positives."""

    auc: Rate
    auc_ci95: Interval
    auc_ci95_simultaneous: Interval | None = None
    tpr_at_1pct_fpr: Rate
    tpr_at_1pct_fpr_ci95: Interval
    members: int
    non_members: int
    beats_blind: bool | None = None
    epsilon_lower: float | None = None


class Composite(_Part):
    """The weighted geometric mean of its parts. Null, as the part of usefulness is, where that comparison is void."""

    value: Rate | None
    parts: dict[str, Rate | None]
    weights: dict[str, Rate]
    void: str | None


class Scores(_Part):
    """Everything measured of one arm; what was not measured is missing or null."""

    fidelity: Fidelity | None = None
    utility: Utility | None = None
    leakage: dict[str, Attack] | None = None
    audits: dict[str, Any] | None = None
    composite: Composite | None = None


class Results(Scores):
    """results.json: the run's own arm at the top, all arms side by side under `arms`. `evaluation` is the configuration
    it was measured by; times are in seconds."""

    run: str
    arm: str
    evaluation: dict[str, Any]
    sites: dict[str, Site]
    timing: dict[str, float | None]
    arms: dict[str, Scores]
    private_beats_epsilon_0: dict[str, float] | None


def schema() -> dict[str, Any]:
    """The JSON schema of results.json."""
    return Results.model_json_schema()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(schema(), indent=2) + "\n")
