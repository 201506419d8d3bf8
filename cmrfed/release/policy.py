"""What must hold before a generator may leave: a guarantee, and attacks that were run and found nothing.

An attack that finds nothing is not proof; it is the least that somebody owes before giving a generator away.
"""

from collections.abc import Iterator

from cmrfed.config import ReleasePolicy
from cmrfed.evaluation.schema import AttackRates
from cmrfed.privacy import NoPrivacy
from cmrfed.report.card import largest_epsilon
from cmrfed.report.material import Material


def reasons_against(material: Material, policy: ReleasePolicy) -> list[str]:
    """Every condition that does not hold, a phrase each; none means that it may be released."""
    if material.run.record.images:
        return ["its images were made elsewhere, and there is no generator to release"]
    return [*_guarantee(material, policy), *_leakage(material, policy)]


def _guarantee(material: Material, policy: ReleasePolicy) -> Iterator[str]:
    plan, spent = material.run.record.plan, largest_epsilon(material)
    if isinstance(plan, NoPrivacy):
        yield "it was trained without privacy"
        return
    if not plan.guaranteed:
        yield "its noise came from a seed, which takes the guarantee away"
    if spent is None:
        yield "no ledger says what was spent"
    elif spent > policy.maximum_epsilon:
        yield f"epsilon {spent:.3g} is above the policy's {policy.maximum_epsilon:g}"
    if plan.delta > policy.maximum_delta:
        yield f"delta {plan.delta:g} is above the policy's {policy.maximum_delta:g}"


def _leakage(material: Material, policy: ReleasePolicy) -> Iterator[str]:
    measured = material.main.leakage or {}
    for wanted in policy.attacks:
        if wanted not in measured:
            yield f"the {wanted} attack was not run (cmrfed evaluate)"
    for name, attack in measured.items():
        fewest = min(attack.members, attack.non_members)
        if name in policy.attacks and fewest < policy.minimum_members:
            yield f"the {name} attack had {fewest} patients on one side, the policy wants {policy.minimum_members}"
        yield from _found(name, attack, material, policy)


def _found(name: str, attack: AttackRates, material: Material, policy: ReleasePolicy) -> Iterator[str]:
    """A leak found, and a guarantee refuted, which no blind baseline excuses."""
    limits = {"TPR": (attack.tpr_at_1pct_fpr_ci95, policy.blind_tpr)}
    if not attack.blind_does_as_well:
        limits["AUC"] = (attack.auc_ci95, policy.blind_auc)
    for rate, ((low, high), blind) in limits.items():
        if low > blind:
            yield f"the {name} attack finds members ({rate} [{low:.2f}, {high:.2f}], above {blind:g})"
    claimed, lower = largest_epsilon(material), attack.epsilon_lower or 0.0
    if claimed is not None and lower > claimed:
        yield f"the {name} attack refutes the guarantee (epsilon at least {lower:.3g}, claimed {claimed:.3g})"
