"""Leakage as tables: every attack beside what a classifier without the generator can do, the subgroups where risk
concentrates, and what else was checked."""

from collections.abc import Callable, Iterable

from cmrfed import formats
from cmrfed.evaluation.leakage.attacks import ATTACKS
from cmrfed.evaluation.schema import AttackRates, Copies, LeakageChecks, Subgroup
from cmrfed.report.material import Material
from cmrfed.report.tables import NOTHING, Figure, Row, Table, figure

_ACCESS = {
    "loss": "loss of any image",
    "model": "the model",
    "gradients": "the model and its gradients",
    "samples": "synthetic images only",
}
_GROUPS: dict[str, Callable[[AttackRates], dict[str, Subgroup]]] = {
    "vendor": lambda attack: attack.by_vendor,
    "pathology": lambda attack: attack.by_pathology,
    "centre": lambda attack: attack.by_centre,
}


def attack_table(material: Material) -> Table | None:
    """Every attack on the run's own arm; None when leakage was not measured there."""
    attacks = material.main.leakage
    if not attacks:
        return None
    columns = [
        "AUC",
        "p, corrected",
        "minus blind",
        "TPR at 1 % FPR",
        "ε at least",
        "Members / others",
        "Attacker holds",
    ]
    return Table(columns, [Row(name, _cells(attack), about=_about(name)) for name, attack in attacks.items()])


def arm_table(material: Material) -> Table | None:
    """AUC of every attack on every arm side by side; None where there is but one arm."""
    arms = {arm: scores.leakage for arm, scores in material.scores.items() if scores.leakage}
    if len(arms) < 2:
        return None
    names = dict.fromkeys(name for attacks in arms.values() for name in attacks)
    rows = [Row(name, [_auc(attacks.get(name)) for attacks in arms.values()]) for name in names]
    return Table([material.arm_title(arm) for arm in arms], rows)


def subgroup_table(material: Material) -> Table | None:
    """AUC of the attack that did best on calibration patients, by vendor, pathology and centre."""
    checks, attacks = material.main.audits, material.main.leakage
    best = checks.strongest.attack if checks and checks.strongest else None
    attack = (attacks or {}).get(best or "")
    if not attack:
        return None
    rows = [
        Row(f"{title}: {label}", [_auc(row), _patients(row)])
        for title, groups in _GROUPS.items()
        for label, row in groups(attack).items()
    ]
    return Table([f"AUC of {best}", "Members / others"], rows)


def copy_table(material: Material) -> Table | None:
    """Whether synthetic images copy training images, beside what held-out real images score in their place."""
    copies = material.main.audits.copies if material.main.audits else {}
    if not copies:
        return None
    rows = [
        Row(title, [_share(*side) for found in copies.values() for side in sides(found)])
        for title, sides in _COPIES.items()
    ]
    tests = [Figure(f"{found.data_copying_z:.1f}", f"p = {found.data_copying_p:.2g}") for found in copies.values()]
    both = [cell for test in tests for cell in (test, NOTHING)]
    columns = [f"{side}, by {space}" for space in copies for side in ("synthetic", "real, held out")]
    return Table(columns, [*rows, Row("data-copying test z", both, about="below −2: nearer than other patients are")])


ShareOfImages = tuple[float, list[float] | None]

_COPIES: dict[str, Callable[[Copies], tuple[ShareOfImages, ShareOfImages]]] = {
    "far nearer to one training image than to its neighbours": lambda found: (
        (found.extracted, found.extracted_ci95),
        (found.extracted_real, found.extracted_real_ci95),
    ),
    "not nearer to a training image than that is to other ones": lambda found: (
        (found.authentic, found.authentic_ci95),
        (found.authentic_real, found.authentic_real_ci95),
    ),
    "nearest to one and the same training patient": lambda found: (
        (found.share_of_one_patient, None),
        (found.share_of_one_patient_real, None),
    ),
}
"""By what is counted: the shares of synthetic and of real images."""


def _share(value: float, ci95: list[float] | None) -> Figure:
    return Figure(formats.percent(value, 1), formats.interval(ci95))


def check_rows(material: Material) -> list[tuple[str, str]]:
    """What else was checked, a name and a sentence each."""
    checks = material.main.audits
    if checks is None:
        return []
    return [
        *_strongest(checks),
        *_overfitting(checks),
        *_styles(checks),
        *_worst(checks),
        *_left(checks),
    ]


def _about(name: str) -> str:
    return ATTACKS[name].meaning if name in ATTACKS else ""


def _cells(attack: AttackRates) -> list[Figure]:
    possible = attack.epsilon_lower_possible
    return [
        _auc(attack),
        Figure(formats.number(attack.p_value_adjusted)),
        figure(attack.auc_minus_blind, attack.auc_minus_blind_ci95),
        figure(attack.tpr_at_1pct_fpr, attack.tpr_at_1pct_fpr_ci95),
        Figure(formats.number(attack.epsilon_lower), f"could show {possible:.1f}" if possible is not None else ""),
        _patients(attack),
        Figure(_ACCESS.get(attack.access, formats.MISSING)),
    ]


def _auc(scored: AttackRates | Subgroup | None) -> Figure:
    return figure(scored.auc, scored.auc_ci95) if scored else NOTHING


def _patients(scored: AttackRates | Subgroup) -> Figure:
    return Figure(f"{scored.members} / {scored.non_members}")


def _strongest(checks: LeakageChecks) -> Iterable[tuple[str, str]]:
    if best := checks.strongest:
        rates = f"AUC {formats.with_interval(best.auc, best.auc_ci95)}"
        yield (
            "An attacker who chooses",
            f"picks {best.attack} on patients of known membership; on the others it has {rates}.",
        )


def _overfitting(checks: LeakageChecks) -> Iterable[tuple[str, str]]:
    if gap := checks.overfitting:
        losses = f"{gap.loss_trained:.4f} on trained patients and {gap.loss_held_out:.4f} on held-out ones"
        yield "Overfitting", f"the loss is {losses}: a gap of {formats.with_interval(gap.gap, gap.gap_ci95, 4)}."


def _styles(checks: LeakageChecks) -> Iterable[tuple[str, str]]:
    for vendor, found in checks.vendor_style.items():
        limits = formats.with_interval(found.synthetic, found.synthetic_ci95)
        others = f"{found.held_out:.2f} from real ones, {found.chance:.2f} by chance"
        said = f"the right one of {found.sites} is named with balanced accuracy {limits} from synthetic images"
        yield f"Site told from style, {vendor}", f"{said}, {others}."


def _worst(checks: LeakageChecks) -> Iterable[tuple[str, str]]:
    if worst := checks.worst_patients:
        shown = ", ".join(f"{one.patient} ({one.exposure:.2f})" for one in worst[:5])
        meaning = "the share of attack families that rank the patient above every stranger"
        yield "Most exposed", f"{shown}: names' hashes under the run's own key, with {meaning}."


def _left(checks: LeakageChecks) -> Iterable[tuple[str, str]]:
    if left := checks.left_out:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left.items())
        yield "Attacks that were not made", f"{reasons}."
