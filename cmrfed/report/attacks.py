"""Leakage as tables: every attack beside what a classifier without the generator can do, the subgroups where risk
concentrates, and what else the audit looked at."""

from collections.abc import Iterable

from cmrfed.evaluation.leakage.attacks import ATTACKS
from cmrfed.report import formats
from cmrfed.report.material import Material, Results
from cmrfed.report.tables import Figure, Row, Table

_ACCESS = {
    "loss": "loss of any image",
    "model": "the model",
    "gradients": "the model and its gradients",
    "samples": "synthetic images only",
}
_GROUPS = {"by_vendor": "vendor", "by_pathology": "pathology", "by_centre": "centre"}


def attack_table(material: Material) -> Table | None:
    """Every attack on the run's own arm; None when leakage was not measured there."""
    attacks = (material.scores.get(material.main_arm) or {}).get("leakage")
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
    arms = {arm: scores["leakage"] for arm, scores in material.scores.items() if scores["leakage"]}
    if len(arms) < 2:
        return None
    names = dict.fromkeys(name for attacks in arms.values() for name in attacks)
    rows = [Row(name, [_rate(attacks.get(name), "auc") for attacks in arms.values()]) for name in names]
    return Table([material.arm_title(arm) for arm in arms], rows)


def subgroup_table(material: Material) -> Table | None:
    """AUC of the attack that did best on calibration patients, by vendor, pathology and centre."""
    scores = material.scores.get(material.main_arm) or {}
    best = ((scores.get("audits") or {}).get("strongest") or {}).get("attack")
    attack = (scores.get("leakage") or {}).get(best)
    if not attack:
        return None
    rows = [
        Row(f"{title}: {label}", [_rate(row, "auc"), Figure(f"{row['members']} / {row['non_members']}")])
        for key, title in _GROUPS.items()
        for label, row in attack.get(key, {}).items()
    ]
    return Table([f"AUC of {best}", "Members / others"], rows)


def copy_table(material: Material) -> Table | None:
    """Whether synthetic images copy training images, beside what held-out real images score in their place."""
    copies = ((material.scores.get(material.main_arm) or {}).get("audits") or {}).get("copies")
    if not copies:
        return None
    rows = [
        Row(title, [_copied(found, key, suffix) for found in copies.values() for suffix in ("", "_real")])
        for key, title in _COPIES.items()
    ]
    tests = [
        Figure(f"{found['data_copying_z']:.1f}", f"p = {found['data_copying_p']:.2g}") for found in copies.values()
    ]
    dashes = [Figure(formats.MISSING)] * len(tests)
    both = [figure for pair in zip(tests, dashes, strict=True) for figure in pair]
    columns = [f"{side}, by {space}" for space in copies for side in ("synthetic", "real, held out")]
    return Table(columns, [*rows, Row("data-copying test z", both, about="below −2: nearer than other patients are")])


_COPIES = {
    "extracted": "far nearer to one training image than to its neighbours",
    "authentic": "not nearer to a training image than that is to other ones",
    "share_of_one_patient": "nearest to one and the same training patient",
}


def _copied(found: Results, key: str, suffix: str) -> Figure:
    limits = found.get(f"{key}{suffix}_ci95")
    return Figure(formats.percent(found[f"{key}{suffix}"], 1), formats.interval(limits) if limits else "")


def audit_rows(material: Material) -> list[tuple[str, str]]:
    """What else was looked at, a name and a sentence each."""
    audits = (material.scores.get(material.main_arm) or {}).get("audits") or {}
    return [
        *_strongest(audits),
        *_overfitting(audits),
        *_styles(audits),
        *_worst(audits),
        *_left(audits),
    ]


def _about(name: str) -> str:
    return ATTACKS[name].meaning if name in ATTACKS else ""


def _cells(attack: Results) -> list[Figure]:
    lower, possible = attack.get("epsilon_lower"), attack.get("epsilon_lower_possible")
    bound = Figure(formats.number(lower), f"could show {possible:.1f}" if possible is not None else "")
    return [
        _rate(attack, "auc"),
        Figure(formats.number(attack.get("p_value_adjusted"))),
        _rate(attack, "auc_minus_blind"),
        _rate(attack, "tpr_at_1pct_fpr"),
        bound,
        Figure(f"{attack['members']} / {attack['non_members']}"),
        Figure(_ACCESS.get(attack.get("access", ""), formats.MISSING)),
    ]


def _rate(scores: Results | None, key: str) -> Figure:
    """A number with its interval, where it has one."""
    value, limits = (scores or {}).get(key), (scores or {}).get(f"{key}_ci95")
    return Figure(formats.number(value), formats.interval(limits) if limits else "")


def _strongest(audits: Results) -> Iterable[tuple[str, str]]:
    if best := audits.get("strongest"):
        rates = f"AUC {formats.with_interval(best['auc'], best['auc_ci95'])}"
        yield (
            "An attacker who chooses",
            f"picks {best['attack']} on patients of known membership; on the others it has {rates}.",
        )


def _overfitting(audits: Results) -> Iterable[tuple[str, str]]:
    if gap := audits.get("overfitting"):
        losses = f"{gap['loss_trained']:.4f} on trained patients and {gap['loss_held_out']:.4f} on held-out ones"
        limits = formats.interval(gap["gap_ci95"], 4)
        yield "Overfitting", f"the loss is {losses}: a gap of {gap['gap']:.4f} {limits}."


def _styles(audits: Results) -> Iterable[tuple[str, str]]:
    for vendor, found in (audits.get("vendor_style") or {}).items():
        limits = formats.with_interval(found["synthetic"], found["synthetic_ci95"])
        others = f"{found['held_out']:.2f} from real ones, {found['chance']:.2f} by chance"
        said = f"the right one of {found['sites']} is named with balanced accuracy {limits} from synthetic images"
        yield f"Site told from style, {vendor}", f"{said}, {others}."


def _worst(audits: Results) -> Iterable[tuple[str, str]]:
    if worst := audits.get("worst_patients"):
        shown = ", ".join(f"{one['patient']} ({one['exposure']:.2f})" for one in worst[:5])
        meaning = "the share of attack families that rank the patient above every stranger"
        yield "Most exposed", f"{shown}: names' hashes under the run's own key, with {meaning}."


def _left(audits: Results) -> Iterable[tuple[str, str]]:
    if left := audits.get("left_out"):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left.items())
        yield "Attacks that were not made", f"{reasons}."
