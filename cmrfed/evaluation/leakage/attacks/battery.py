"""Every attack on the same patients, and what its scores are worth: the same code centrally and at a site."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import false_discovery_control, mannwhitneyu

from cmrfed.core.progress import Progress
from cmrfed.evaluation.leakage.attacks.areas import auc, auc_gain, auc_interval
from cmrfed.evaluation.leakage.attacks.attack import Evidence
from cmrfed.evaluation.leakage.attacks.bound import epsilon_lower_bound, largest_epsilon_lower_bound
from cmrfed.evaluation.leakage.attacks.calibration import fitted_scores
from cmrfed.evaluation.leakage.attacks.catalogue import ATTACKS
from cmrfed.evaluation.leakage.attacks.membership import membership_leakage
from cmrfed.slices import Patient, split_patients

Outcome = dict[str, Any]
Scores = Float[np.ndarray, " patient"]

GROUPS = ("vendor", "pathology", "centre")
"""What subgroups are made by: risk concentrates in the small ones."""


@dataclass(frozen=True)
class Claim:
    """What was promised of the generator; without privacy there is no epsilon, and delta is 0."""

    epsilon: float | None = None
    delta: float = 0.0


@dataclass(frozen=True)
class Candidates:
    """Who is scored: members first, then non-members. calibration: those whose membership an attacker may know."""

    patients: tuple[Patient, ...]
    member: Bool[np.ndarray, " patient"]
    calibration: Bool[np.ndarray, " patient"]

    @classmethod
    def of(cls, members: Sequence[Patient], non_members: Sequence[Patient], seed: int) -> "Candidates":
        """Half of either side calibrates, drawn within vendor, centre and pathology; none where a side is too small."""
        sides = (members, non_members)
        enough = min(map(len, sides)) >= 2
        known = {name for side in sides for name in split_patients(side, 0.5, seed)[1]} if enough else set()
        patients = (*members, *non_members)
        return cls(
            patients,
            np.arange(len(patients)) < len(members),
            np.array([one.patient in known for one in patients], dtype=bool),
        )

    @property
    def calibrates(self) -> bool:
        """Whether anything can be fitted."""
        return bool(self.calibration.any())

    def sides(self, scores: Scores, among: Bool[np.ndarray, " patient"]) -> tuple[np.ndarray, np.ndarray]:
        """(members', non-members') scores among some patients."""
        return scores[among & self.member], scores[among & ~self.member]

    def groups(self, field: str) -> dict[str, Bool[np.ndarray, " patient"]]:
        """Who is in each group, by its label."""
        labels = np.array([_label(one, field) for one in self.patients])
        return {str(label): labels == label for label in np.unique(labels)}


def _label(patient: Patient, field: str) -> str:
    """A centre's name means something within its data set alone."""
    return f"{patient.dataset} {patient.centre}" if field == "centre" else str(getattr(patient, field))


def score_patients(
    evidence: Mapping[Evidence, Any],
    candidates: Candidates,
    names: Iterable[str] = ATTACKS,
    progress: Progress | None = None,
) -> dict[str, Scores]:
    """Scores of all patients by attack, for the attacks whose evidence is at hand."""
    wanted = [name for name in names if _possible(name, evidence, candidates)]
    scores = {}
    for done, name in enumerate(wanted, start=1):
        attack = ATTACKS[name]
        found = attack.scores(evidence[attack.needs])
        scores[name] = found if found.ndim == 1 else fitted_scores(found, candidates.member, candidates.calibration)
        if progress:
            progress(done, len(wanted))
    return scores


def left_out(
    evidence: Mapping[Evidence, Any], candidates: Candidates, names: Iterable[str] = ATTACKS
) -> dict[str, str]:
    """Attacks that were asked for and cannot be made, with the reason."""
    reasons = {name: f"no {ATTACKS[name].needs} at hand" for name in names if ATTACKS[name].needs not in evidence}
    few = {
        name: "too few patients to calibrate on"
        for name in names
        if ATTACKS[name].calibrated and not candidates.calibrates
    }
    return few | reasons


def _possible(name: str, evidence: Mapping[Evidence, Any], candidates: Candidates) -> bool:
    return not left_out(evidence, candidates, [name])


def judge(
    scores: Mapping[str, Scores], blind: Scores | None, candidates: Candidates, claim: Claim, replicates: int, seed: int
) -> dict[str, Outcome]:
    """What each attack's scores are worth, by attack.

    Everything `membership_leakage` returns (over all patients; over the test patients where the attack is calibrated);
    "p_value" (Mann and Whitney, one-sided) and "p_value_adjusted" over all attacks, for of many attacks one will look
    good by chance; "auc_ci95_simultaneous", intervals all of which hold their true areas with 95 % (Bonferroni);
    "blind_auc", "auc_minus_blind" with "_ci95" and "beats_blind", over the test patients;
    "epsilon_lower" beside "epsilon_lower_possible", "epsilon_claimed" and "delta"; "access", "family", "calibrated";
    and for each of `GROUPS` "by_<group>", rows of {members, non_members, auc, auc_ci95}.
    """
    found = {name: _judged(name, own, blind, candidates, claim, replicates, seed) for name, own in scores.items()}
    if found:  # Benjamini and Yekutieli's control, which holds however the attacks depend on each other
        adjusted = false_discovery_control([one["p_value"] for one in found.values()], method="by")
        level = 1 - 0.05 / len(found)
        for one, value in zip(found.values(), adjusted, strict=True):
            one["p_value_adjusted"] = float(value)
            one["auc_ci95_simultaneous"] = auc_interval(one["auc"], one["members"], one["non_members"], level)
    return found


def judge_blind(blind: Scores, candidates: Candidates, replicates: int, seed: int) -> Outcome:
    """The baseline's own row: what `membership_leakage` returns, over the test patients."""
    return {**membership_leakage(*candidates.sides(blind, ~candidates.calibration), replicates, seed)}


def _judged(
    name: str, scores: Scores, blind: Scores | None, candidates: Candidates, claim: Claim, replicates: int, seed: int
) -> Outcome:
    attack = ATTACKS[name]
    judged = ~candidates.calibration if attack.calibrated else np.ones_like(candidates.member)
    sides = candidates.sides(scores, judged)
    return {
        **membership_leakage(*sides, replicates, seed),
        "p_value": float(mannwhitneyu(*sides, alternative="greater").pvalue),
        "access": attack.access,
        "family": attack.family,
        "calibrated": attack.calibrated,
        **_against_blind(scores, blind, candidates),
        **_against_claim(scores, candidates, claim),
        **{f"by_{field}": _rows(scores, judged, candidates, field) for field in GROUPS},
    }


def _against_blind(scores: Scores, blind: Scores | None, candidates: Candidates) -> Outcome:
    if blind is None:
        return dict.fromkeys(("blind_auc", "auc_minus_blind", "auc_minus_blind_ci95", "beats_blind"))
    own, rival = (candidates.sides(one, ~candidates.calibration) for one in (scores, blind))
    gain, interval = auc_gain(own, rival)
    return {
        "blind_auc": auc(*rival),
        "auc_minus_blind": gain,
        "auc_minus_blind_ci95": interval,
        "beats_blind": interval[0] > 0,
    }


def _against_claim(scores: Scores, candidates: Candidates, claim: Claim) -> Outcome:
    found: Outcome = {"epsilon_claimed": claim.epsilon, "delta": claim.delta}
    if not candidates.calibrates:
        return found | {"epsilon_lower": None, "epsilon_lower_possible": None}
    calibration, test = (candidates.sides(scores, known) for known in (candidates.calibration, ~candidates.calibration))
    return found | {
        "epsilon_lower": epsilon_lower_bound(calibration, test, claim.delta),
        "epsilon_lower_possible": largest_epsilon_lower_bound(len(test[0]), len(test[1]), claim.delta),
    }


def _rows(
    scores: Scores, judged: Bool[np.ndarray, " patient"], candidates: Candidates, field: str
) -> dict[str, Outcome]:
    groups = candidates.groups(field).items()
    return {label: _row(*candidates.sides(scores, judged & inside)) for label, inside in groups}


def _row(members: np.ndarray, non_members: np.ndarray) -> Outcome:
    """Few patients have a wide interval; one side alone has no area."""
    sides = len(members), len(non_members)
    row: Outcome = {"members": sides[0], "non_members": sides[1], "auc": None, "auc_ci95": None}
    if min(sides) == 0:
        return row
    area = auc(members, non_members)
    return row | {"auc": area, "auc_ci95": auc_interval(area, *sides)}


def strongest(scores: Mapping[str, Scores], candidates: Candidates, replicates: int, seed: int) -> Outcome | None:
    """The attack that does best on calibration patients, and what it does on the others: a choice that costs nothing.

    Calibrated attacks do not compete: they have seen the answer. None where nobody calibrates.
    """
    free = {name: one for name, one in scores.items() if not ATTACKS[name].calibrated}
    if not (free and candidates.calibrates):
        return None
    best = max(free, key=lambda name: auc(*candidates.sides(free[name], candidates.calibration)))
    return {
        "attack": best,
        **membership_leakage(*candidates.sides(free[best], ~candidates.calibration), replicates, seed),
    }


def exposure(
    scores: Mapping[str, Scores], candidates: Candidates
) -> tuple[Float[np.ndarray, " member"], Float[np.ndarray, " member"]]:
    """How exposed each member is: the share of attack families one of whose attacks ranks the member above every
    non-member; and, to tell equals apart, the mean over attacks of the member's rank among non-members, 0 to 1."""
    families: dict[str, np.ndarray] = {}
    ranks = []
    for name, own in scores.items():
        members, non_members = candidates.sides(own, np.ones_like(candidates.member))
        ranks.append(np.searchsorted(np.sort(non_members), members) / len(non_members))
        before = families.get(ATTACKS[name].family, False)
        families[ATTACKS[name].family] = before | (members > non_members.max())
    return np.mean(list(families.values()), axis=0), np.mean(ranks, axis=0)
