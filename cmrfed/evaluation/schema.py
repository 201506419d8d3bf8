"""What results.json holds, as classes and as a JSON schema (docs/results.schema.json).

The evaluator returns these classes; report, comparison and release read them. Rates and shares are in [0, 1]; an
interval is [low, high], 95 %, over patients, and null where it cannot be had. A part that was not asked for is missing,
and what was asked for and could not be measured stands under `not_measured` or `left_out` with the reason.
`python -m cmrfed.evaluation.schema` prints the schema.
"""

import json
import sys
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Interval = Annotated[list[float], Field(min_length=2, max_length=2)]
Rate = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    """Holds at least its fields; what a later version adds is kept."""

    model_config = ConfigDict(extra="allow", frozen=True)

    def plain(self) -> dict[str, Any]:
        """As results.json has it: without the keys that were never set."""
        return self.model_dump(exclude_unset=True)


class Site(_Part):
    """What one site's patients were exposed to, as its own ledger has it; null where there is no guarantee."""

    patients: int
    epsilon: float | None
    delta: float | None
    noise_multiplier: float | None
    sample_rate: float | None
    steps: int


class Estimate(_Part):
    """A number and its interval."""

    value: float
    ci95: Interval | None


# Fidelity


class FidelityScore(_Part):
    """One score of fidelity, and its floor: what other real patients get in the place of the synthetic images."""

    value: float
    ci95: Interval | None
    floor: float | None
    floor_ci95: Interval | None


class Fidelity(_Part):
    """Distances in the first feature space, missing where there are too few images for them; how many images of each
    kind were compared; and every score by part and name (`SCORES` of `fidelity.metrics`)."""

    fid: float | None = None
    fid_ci95: Interval | None = None
    fid_real: float | None = None
    fid_real_ci95: Interval | None = None
    kid: float | None = None
    kid_ci95: Interval | None = None
    kid_real: float | None = None
    kid_real_ci95: Interval | None = None
    images: int
    spaces: dict[str, dict[str, FidelityScore]]
    pixels: dict[str, FidelityScore]
    structure: dict[str, FidelityScore]
    faithfulness: dict[str, FidelityScore]

    @property
    def frechet(self) -> FidelityScore | None:
        """The Frechet distance in the first feature space."""
        return _headline(self.fid, self.fid_ci95, self.fid_real, self.fid_real_ci95)

    @property
    def kernel(self) -> FidelityScore | None:
        """The kernel distance in the first feature space."""
        return _headline(self.kid, self.kid_ci95, self.kid_real, self.kid_real_ci95)


def _headline(
    value: float | None, ci95: list[float] | None, floor: float | None, floor_ci95: list[float] | None
) -> FidelityScore | None:
    return None if value is None else FidelityScore(value=value, ci95=ci95, floor=floor, floor_ci95=floor_ci95)


# Utility


class Structures(_Part):
    """A figure by structure, and its mean."""

    lv: float
    myo: float
    rv: float
    mean: float


class StructureIntervals(_Part):
    """Intervals by structure, and of their mean; null for a single patient."""

    lv: Interval | None
    myo: Interval | None
    rv: Interval | None
    mean: Interval | None


class Means(_Part):
    """Means over some patients of a segmenter's scores."""

    patients: int
    dice: Structures
    dice_ci95: StructureIntervals
    hd95_mm: Structures
    hd95_mm_ci95: StructureIntervals
    assd_mm: Structures
    assd_mm_ci95: StructureIntervals

    @property
    def mean_dice(self) -> Estimate:
        """Of the three structures."""
        return Estimate(value=self.dice.mean, ci95=self.dice_ci95.mean)


class Stratum(_Part):
    """Dice of the patients of one vendor, phase and pathology."""

    vendor: str
    phase: str
    pathology: str
    patients: int
    dice: Structures
    dice_ci95: StructureIntervals


class Agreement(_Part):
    """Bland and Altman's agreement with the reader, in the measure's unit; null where it has fewer than three patients.

    undefined: patients left out because either measurement is not defined.
    """

    bias: Estimate | None
    lower_limit: Estimate | None
    upper_limit: Estimate | None
    sd: float | None
    mean_absolute_error: float | None
    patients: int
    undefined: int


class Function(_Part):
    """Agreement by measure of cardiac function (`MEASURES` of `utility.metrics`), and patients left out by reason."""

    __pydantic_extra__: dict[str, Agreement] = Field(init=False)
    left_out: dict[str, int]

    @property
    def measures(self) -> dict[str, Agreement]:
        """By name."""
        return self.__pydantic_extra__


class SegmenterScores(Means):
    """A segmenter trained on one set of images, tested on held-out patients: all of them, and by stratum."""

    by_vendor: dict[str, Means]
    by_dataset: dict[str, Means]
    by_pathology: dict[str, Means]
    by_phase: dict[str, Means]
    crossed: list[Stratum]
    function: Function | None = None


class PairedTest(_Part):
    """Training sets a and b over the same patients: the mean of a - b in a metric's unit, Wilcoxon's p, and p after
    Holm's correction. non_inferior, of Dice alone: whether a is worse by no more than the margin."""

    a: str
    b: str
    metric: str
    structure: str
    difference: float
    ci95: Interval | None
    p: Rate
    patients: int
    non_inferior: bool | None = None
    p_holm: Rate


class SegmenterComparison(_Part):
    """Segmenters of one network by what they were trained on, and the tests between them. Further sets, real images
    with `R` times as many synthetic ones, are called mixed_Rx."""

    __pydantic_extra__: dict[str, SegmenterScores] = Field(init=False)
    real: SegmenterScores
    real_augmented: SegmenterScores | None = None
    synthetic: SegmenterScores
    mixed: SegmenterScores
    tests: list[PairedTest]

    @property
    def other_ratios(self) -> dict[str, SegmenterScores]:
        """Sets of more or fewer synthetic images than real ones, by name."""
        return self.__pydantic_extra__


class OverBlind(Estimate):
    """By how much mean Dice is above that of one mask for every slice, which looks at no image."""

    ci95: Interval
    beats_blind: bool


class OverBlindBySet(_Part):
    """Of the sets that every arm has."""

    real: OverBlind
    synthetic: OverBlind
    mixed: OverBlind


class Drop(_Part):
    """Mean Dice of networks that saw a group of patients, that did not, and that saw synthetic images of it instead;
    drop = seen - unseen, removed = helped - unseen. removed_share: removed / drop, null unless the drop is certain."""

    seen: Estimate
    unseen: Estimate
    helped: Estimate
    drop: Estimate
    removed: Estimate
    removed_share: Estimate | None


class NetworkMeans(_Part):
    """All scores of the three networks behind a drop."""

    seen: Means
    unseen: Means
    helped: Means


class GroupDrop(Drop):
    """The drop on one group."""

    patients: int
    scores: NetworkMeans


class LeftOut(_Part):
    """Drops by the group that real training images lacked, and their mean, each group counting alike."""

    groups: dict[str, GroupDrop]
    mean: Drop


class BesideChance(Estimate):
    """A score beside what guessing gets."""

    ci95: Interval
    chance: Rate


class DiseaseScores(_Part):
    """Diseases told from one set of segmentations. p: the share of random assignments that are predicted as well."""

    balanced_accuracy: BesideChance
    macro_auc: BesideChance
    p: Rate
    patients: dict[str, int]
    left_out: int
    confusion: dict[str, dict[str, int]]


class Disease(_Part):
    """By what the classifier and its segmenter learnt from. reader_masks: learnt from real images and tested on the
    reader's masks, which is what a perfect segmenter would reach."""

    real: DiseaseScores
    reader_masks: DiseaseScores
    synthetic: DiseaseScores
    mixed: DiseaseScores
    training_patients: dict[str, int]

    @property
    def by_set(self) -> dict[str, DiseaseScores]:
        """As a table has them."""
        return {
            "real": self.real,
            "reader_masks": self.reader_masks,
            "synthetic": self.synthetic,
            "mixed": self.mixed,
        }


class Utility(SegmenterComparison):
    """The first network's comparison, beside the mask for every slice that segmenters must beat (`blind`).

    void: why nothing can be compared, where the segmenter trained on real images does not beat it; else null.
    backbones: the other networks' comparisons. not_measured: why something that was asked for is not here.
    """

    blind: SegmenterScores
    over_blind: OverBlindBySet
    void: str | None
    backbones: dict[str, SegmenterComparison] = {}
    leave_one_vendor_out: LeftOut | None = None
    translation: LeftOut | None = None
    cross_dataset: LeftOut | None = None
    disease: Disease | None = None
    not_measured: dict[str, str] = {}

    @property
    def of_no_use(self) -> bool:
        """Whether a segmenter that learnt from synthetic images is not known to beat one that looks at no image."""
        return not self.over_blind.synthetic.beats_blind


# Leakage


class Membership(_Part):
    """How well scores of patients tell members from others. tpr_at_1pct_fpr: the share of members found at 1 % false
    positives; at_zero_fp: whether so few others were scored that this is at no false positive at all."""

    auc: Rate
    auc_ci95: Interval
    tpr_at_1pct_fpr: Rate
    tpr_at_1pct_fpr_ci95: Interval
    tpr_at_1pct_fpr_at_zero_fp: bool
    tpr_at_0_1pct_fpr: Rate
    tpr_at_0_1pct_fpr_ci95: Interval
    tpr_at_0_1pct_fpr_at_zero_fp: bool
    members: int
    non_members: int


class Subgroup(_Part):
    """An attack on some of the patients; null where they are all members, or all not."""

    members: int
    non_members: int
    auc: Rate | None
    auc_ci95: Interval | None


class AttackRates(Membership):
    """One membership attack, by patient, beside the blind baseline and what the generator claims.

    p_value: of Mann and Whitney's test, p_value_adjusted: corrected for the number of attacks, as the simultaneous
    interval is. blind_auc: of a classifier that never saw the generator, null where nobody calibrates it.
    epsilon_lower: the privacy loss that is proved; epsilon_lower_possible: what so few patients could prove at most.
    """

    p_value: Rate
    access: str
    family: str
    calibrated: bool
    blind_auc: Rate | None
    auc_minus_blind: float | None
    auc_minus_blind_ci95: Interval | None
    beats_blind: bool | None
    epsilon_claimed: float | None
    delta: float
    epsilon_lower: float | None
    epsilon_lower_possible: float | None
    by_vendor: dict[str, Subgroup]
    by_pathology: dict[str, Subgroup]
    by_centre: dict[str, Subgroup]
    p_value_adjusted: Rate
    auc_ci95_simultaneous: Interval

    @property
    def blind_does_as_well(self) -> bool:
        """Whether a classifier that never saw the generator had at least this attack's AUC: then the attack shows how
        two groups of patients differ. An attack that is merely not known to be better is not excused, for with few
        patients few attacks are."""
        return self.auc_minus_blind is not None and self.auc_minus_blind <= 0


class Strongest(Membership):
    """The attack that does best on patients of known membership, and what it does on the others."""

    attack: str


class ExposedPatient(_Part):
    """patient: a keyed hash. exposure: the share of attack families that rank the patient above every stranger; rank:
    the mean over attacks of the rank among strangers."""

    patient: str
    exposure: Rate
    rank: Rate


class Copies(_Part):
    """Shares of synthetic images that copy training images, or are authentic, and their mean distance to the nearest
    training image; with "_real", the same of held-out real images. z and p: of the data-copying test."""

    images: int
    real_images: int
    extracted: Rate
    extracted_ci95: Interval
    authentic: Rate
    authentic_ci95: Interval
    share_of_one_patient: Rate
    distance: float
    extracted_real: Rate
    extracted_real_ci95: Interval
    authentic_real: Rate
    authentic_real_ci95: Interval
    share_of_one_patient_real: Rate
    distance_real: float
    data_copying_z: float
    data_copying_p: Rate


class StyleRecovery(_Part):
    """Balanced accuracy with which an image's site is named, among the sites of one vendor."""

    synthetic: Rate
    synthetic_ci95: Interval
    synthetic_p: Rate
    held_out: Rate
    chance: Rate
    sites: int
    patients: int


class Overfitting(_Part):
    """Mean losses by patient, and by how much the held-out ones' is higher."""

    loss_trained: float
    loss_held_out: float
    gap: float
    gap_ci95: Interval


class LeakageChecks(_Part):
    """What was looked at beside the attacks. left_out: attacks that were asked for and not made, and why.

    Where it is not known who was trained on there is no more than copies. copies: by pixels or features; vendor_style:
    by vendor; strongest: null where nobody's membership is known to an attacker.
    """

    left_out: dict[str, str]
    calibration_patients: int = 0
    strongest: Strongest | None = None
    worst_patients: list[ExposedPatient] = []
    copies: dict[str, Copies]
    vendor_style: dict[str, StyleRecovery] = {}
    blind: Membership | None = None
    overfitting: Overfitting | None = None


# A run


class CompositeParts(_Part):
    """Each from 0 to 1, 1 being best; utility is null where it is void."""

    fidelity: Rate
    utility: Rate | None
    privacy: Rate


class CompositeWeights(_Part):
    """They sum to 1."""

    fidelity: Rate
    utility: Rate
    privacy: Rate


class Composite(_Part):
    """The weighted geometric mean of its parts. Null, as the part of usefulness is, where that comparison is void."""

    value: Rate | None
    parts: CompositeParts
    weights: CompositeWeights
    void: str | None


class ArmScores(_Part):
    """Everything measured of one arm; what was not measured is missing or null."""

    leakage: dict[str, AttackRates] | None = None
    audits: LeakageChecks | None = None
    fidelity: Fidelity | None = None
    utility: Utility | None = None
    composite: Composite | None = None


class LeakageSettings(_Part):
    """How much the attackers looked at."""

    slices_per_patient: int
    times: int
    draws: int


class Settings(_Part):
    """The configuration that was measured by (`cmrfed.config.EvaluationConfig`, as it was then)."""

    leakage: LeakageSettings | None = None


class Timing(_Part):
    """Seconds; null where no log tells."""

    train_s: float | None = None
    federation_overhead_s: float | None = None
    federation_wall_s: float | None = None
    sample_s_per_slice: float | None = None
    evaluate_s: float | None = None


class Gain(_Part):
    """By how much each of these is higher in the private arm than at the start; missing where it is not known."""

    dice_mean: float | None = None
    fid: float | None = None
    kid: float | None = None


class Results(_Part):
    """results.json: the run's own arm at the top, all arms side by side under `arms`."""

    run: str
    arm: str
    evaluation: Settings
    sites: dict[str, Site]
    fidelity: Fidelity | None = None
    utility: Utility | None = None
    leakage: dict[str, AttackRates] | None = None
    audits: LeakageChecks | None = None
    composite: Composite | None = None
    timing: Timing
    arms: dict[str, ArmScores]
    private_beats_epsilon_0: Gain | None = None

    def to_json(self) -> str:
        """The text of results.json."""
        return json.dumps(self.plain(), indent=2)


def schema() -> dict[str, Any]:
    """The JSON schema of results.json."""
    return Results.model_json_schema()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(schema(), indent=2) + "\n")
