"""The membership audit at a site: in a real federation nobody central holds the members, so each site attacks its own.

Members are the patients with whom the site began the run, non-members those it kept out of every training
(`cmrfed.site.division`). The same code scores them as in a simulation, and a summary leaves the site, if its policy
allows, once for each run.

A summary is computed from patients' data without noise: it is **outside epsilon**. Whoever may ask with weights of
their own choosing could learn about a patient from it; so a site answers only for runs that it trained in and with the
global weights it was last asked to train from, one question a run and few a year, with rates over many patients and no
rows for small groups. Whether that is little enough is the hospital's decision.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, field_validator

from cmrfed.config import Count, GeneratorConfig, LeakageConfig, Stage, TrainingConfig, read_stage_json_text
from cmrfed.core import atomic
from cmrfed.evaluation.leakage.attacks import ATTACKS, Claim, judge, score_patients
from cmrfed.evaluation.leakage.scene import Scene
from cmrfed.evaluation.schema import Rate
from cmrfed.evaluation.subject import Subject
from cmrfed.generators import Generator, build_generator
from cmrfed.site import Home
from cmrfed.site.request import digest
from cmrfed.slices import Slices
from cmrfed.training import choose_device
from cmrfed.updates import write_weights


class MembershipAuditRequest(Stage):
    """What a server asks of every site alike, apart from the weights. epsilon, delta: what the run claims."""

    run: str = Field(min_length=1, max_length=200)
    generator: GeneratorConfig
    training: TrainingConfig
    leakage: LeakageConfig
    seed: int = 0
    bootstrap: int = Field(default=1000, ge=100, le=10_000)
    epsilon: float | None = Field(default=None, gt=0)
    delta: float = Field(default=0.0, ge=0, lt=1)


EpsilonBound = Annotated[float, Field(ge=0, le=100)]
"""An epsilon refuted by counts of patients: at most the logarithm of some billions."""


class AttackSummary(Stage):
    """One attack's rates over a site's patients, as `cmrfed.evaluation.leakage.attacks.judge` defines them."""

    auc: Rate
    auc_ci95: tuple[Rate, Rate]
    tpr_at_1pct_fpr: Rate
    tpr_at_1pct_fpr_ci95: tuple[Rate, Rate]
    members: Count
    non_members: Count
    blind_auc: Rate | None
    beats_blind: bool | None
    epsilon_lower: EpsilonBound | None
    epsilon_lower_possible: EpsilonBound | None


class MembershipSummary(Stage):
    """All that leaves a site: rates by attack."""

    attacks: dict[str, AttackSummary]

    @field_validator("attacks")
    @classmethod
    def _attacks_are_known(cls, attacks: dict[str, AttackSummary]) -> dict[str, AttackSummary]:
        if not attacks.keys() <= ATTACKS.keys():
            raise ValueError("attacks: holds names that are none of cmrfed.evaluation.leakage.attacks")
        return attacks


def answer_membership_audit(home: Home, request: MembershipAuditRequest) -> MembershipSummary:
    """Attack the site's own patients with the global weights of the run's last request; the summary may leave.

    The weights are those that this site was last asked to train from, and not such as a server would choose for it.
    The first answer of a run is kept and given again to the very same question; any other question about that run is
    refused. Raises Refusal where the policy does not allow it, and UserError where nobody was held out.
    """
    weights = home.last_weights(request.run)
    members, non_members = home.members(request.run), home.held_out_slices()
    home.refuse_membership_audit(request.run, request.generator.family, members, non_members)
    key, path = digest(request.model_dump_json(), weights), home.membership_audit(request.run)
    if (kept := home.kept_membership_audit(path, key)) is not None:
        return read_stage_json_text(MembershipSummary, kept, where=str(path))
    generator = build_generator(request.generator, seed=0)
    write_weights(generator, weights)
    request = request.model_copy(update={"training": request.training.executed_as(home.policy.execution)})
    found = summarise(generator, members, non_members, request, home.folder)
    atomic.write_text(path, f"{key}\n{found.model_dump_json()}", mode=atomic.PRIVATE)
    return found


def summarise(
    generator: Generator, members: Slices, non_members: Slices, request: MembershipAuditRequest, cache: Path
) -> MembershipSummary:
    """Every attack on a model that the request names; those that need shadows or samples are a central evaluator's."""
    scene = Scene(_subject(members, non_members, request, cache), request.leakage)
    probe = scene.probe(generator)
    scores = score_patients({"probe": probe} if probe else {}, scene.candidates, scene.names)
    claim = Claim(request.epsilon, request.delta)
    found = judge(scores, scene.blind, scene.candidates, claim, request.bootstrap, request.seed)
    kept = AttackSummary.model_fields
    return MembershipSummary(
        attacks={name: AttackSummary(**{key: row[key] for key in kept}) for name, row in found.items()}
    )


def _subject(members: Slices, non_members: Slices, request: MembershipAuditRequest, cache: Path) -> Subject:
    """The site as the evaluator of its own patients, without any synthetic image."""
    nothing = members.take(np.empty(0, np.int64))
    return Subject(
        train=members,
        held_out=non_members,
        shown=nothing,
        learnt=nothing,
        synthetic={},
        seed=request.seed,
        bootstrap=request.bootstrap,
        device=choose_device(request.training.device),
        precision=request.training.precision,
        cache=cache,
    )


def pooled(summaries: Mapping[str, MembershipSummary]) -> dict[str, dict[str, float | int | str | list[float]]]:
    """The sites' summaries as one, by attack.

    "auc" counts pairs of a member and a non-member of the same site alone (the mean over sites, weighted by their
    numbers of pairs), so that a difference between sites cannot pass for a leak; "auc_ci95" is made of the sites'
    intervals, sites being independent (MOVER: Zou and Donner, Statistics in Medicine 2008). "tpr_at_1pct_fpr" is the
    mean weighted by members, each site at its own threshold. "epsilon_lower" is the largest over sites, none corrected
    for having been chosen.
    """
    names = [name for name in ATTACKS if any(name in one.attacks for one in summaries.values())]
    return {
        name: _pooled([one.attacks[name] for one in summaries.values() if name in one.attacks]) | _about(name)
        for name in names
    }


def _about(name: str) -> dict[str, float | int | str | list[float]]:
    return {"access": ATTACKS[name].access, "family": ATTACKS[name].family}


def _pooled(rows: list[AttackSummary]) -> dict[str, float | int | str | list[float]]:
    pairs = np.array([row.members * row.non_members for row in rows], dtype=float)
    members = np.array([row.members for row in rows], dtype=float)
    aucs = np.array([row.auc for row in rows])
    auc = float(np.average(aucs, weights=pairs))
    low, high = np.array([row.auc_ci95 for row in rows]).T
    below, above = (float(np.linalg.norm(pairs / pairs.sum() * side)) for side in (aucs - low, high - aucs))
    return {
        "auc": auc,
        "auc_ci95": [auc - below, auc + above],
        "tpr_at_1pct_fpr": float(np.average([row.tpr_at_1pct_fpr for row in rows], weights=members)),
        "epsilon_lower": max(row.epsilon_lower or 0.0 for row in rows),
        "members": int(members.sum()),
        "non_members": sum(row.non_members for row in rows),
        "sites": len(rows),
    }
