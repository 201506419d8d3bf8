"""The privacy card: what each patient is promised, and what (epsilon, delta) lets anybody do at most.

An (epsilon, delta) guarantee bounds every attack that tells a patient's presence from absence (Wasserman and Zhou 2010;
Kairouz et al. 2015, arXiv:1311.0776); all the pairs that hold of the same events bound it far more tightly than the
one that is quoted (`cmrfed.privacy.strongest_attack`).
"""

import math
from dataclasses import dataclass

from cmrfed import formats
from cmrfed.config import GeneratorConfig
from cmrfed.evaluation.schema import Site
from cmrfed.generators import build_generator
from cmrfed.privacy import CannotBound, DistributedNoise, LocalNoise, NoPrivacy, PrivacyPlan, epsilon, strongest_attack
from cmrfed.report.material import Material


def auc_bound(epsilon: float, delta: float) -> float:
    """The area under what (epsilon, delta) alone allow: 1 - (1 - delta)^2 / (1 + e^eps)."""
    return 1 - (1 - delta) ** 2 / (1 + math.exp(min(epsilon, 700)))


@dataclass(frozen=True)
class SiteRow:
    """What one site's patients were exposed to, as text."""

    name: str
    patients: str
    epsilon: str
    delta: str
    noise_multiplier: str
    sample_rate: str
    steps: str


@dataclass(frozen=True)
class EpsilonMeaning:
    """What the largest epsilon of all sites means, as text; `weak` where the bound alone excludes little."""

    epsilon: str
    delta: str
    likelihood_factor: str
    best_tpr: str
    best_auc: str
    weak: bool


@dataclass(frozen=True)
class PrivacyCard:
    """The card's contents; `meaning` is None where there is no guarantee to explain."""

    seeded: bool
    private: bool
    facts: list[tuple[str, str]]
    sites: list[SiteRow]
    meaning: EpsilonMeaning | None
    tested: list[tuple[str, str]]
    not_covered: list[str]


def privacy_card(material: Material) -> PrivacyCard:
    """The card of a run, from its plan, its sites' ledgers and its configuration."""
    plan = material.run.record.plan
    seeded = plan.private and not plan.guaranteed
    return PrivacyCard(
        seeded=seeded,
        private=plan.private,
        facts=_mechanism(material) + _start(material),
        sites=[_site_row(name, site) for name, site in material.results.sites.items()],
        meaning=None if seeded else _meaning(material),
        tested=_tested(material),
        not_covered=_not_covered(material),
    )


def largest_epsilon(material: Material) -> float | None:
    """What the most exposed patients have spent: each patient is at one site, so sites do not add up."""
    spent = [site.epsilon for site in material.results.sites.values() if site.epsilon is not None]
    return max(spent) if spent else None


def _mechanism(material: Material) -> list[tuple[str, str]]:
    plan = material.run.record.plan
    if isinstance(plan, NoPrivacy):
        return [("Mechanism", "none: gradients were neither clipped nor noised")]
    batch = f"{plan.sample_rate:g} × {plan.declared_patients} declared = {plan.expected_batch_size:g} patients"
    return [
        ("Unit of protection", "the patient: all slices, phases and visits of a patient are one record"),
        ("Adjacency", "add or remove one patient"),
        ("Mechanism", "Poisson-sampled Gaussian: DP-SGD with one clipped gradient a patient"),
        *_trust(plan),
        ("Budget (ε at δ)", f"{formats.epsilon(plan.target_epsilon)} at {plan.delta:g}, for the whole federation"),
        ("Accountant", _accountant(plan)),
        ("Noise multiplier σ", f"{plan.noise_multiplier:.4g}"),
        ("Clipping norm C", _clipping(plan)),
        ("Sampling rate q", f"{plan.sample_rate:g} a step, each patient independently"),
        ("Expected batch", f"{batch}; a public constant, never counted in the data"),
        ("Steps", f"{plan.steps} at each site, over all rounds"),
        (
            "Source of noise",
            "operating system's secure randomness" if plan.guaranteed else f"seed {plan.seed}: TEST ONLY",
        ),
    ]


def _trust(plan: LocalNoise | DistributedNoise) -> list[tuple[str, str]]:
    """Who adds the noise, and whom the guarantee therefore holds against."""
    if isinstance(plan, LocalNoise):
        return [
            ("Who adds the noise", "each site, before anything leaves it (local trust model)"),
            ("Holds against", "the server, the other sites, and anyone who sees the updates or the released generator"),
        ]
    broken = formats.epsilon(epsilon([plan.alone.event(plan.steps)], plan.delta))
    together = f"{plan.sites} sites together, a share each, summed under secure aggregation (distributed trust model)"
    against = f"the server together with up to {plan.colluders} sites" if plan.colluders else "the server"
    bearing = f"as long as at most {plan.dropouts} sites fail in a round" if plan.dropouts else "if no site fails"
    return [
        ("Who adds the noise", together),
        ("Holds against", f"{against}, {bearing}, and anyone who sees the sums or the released generator"),
        ("Were secure aggregation broken", f"a site's own share of the noise alone gives ε = {broken} at the same δ"),
    ]


def _accountant(plan: PrivacyPlan) -> str:
    """Whose bound is the budget, and what the whole plan costs by the other one, as other papers count it."""
    others = {"prv": ("rdp", "Rényi DP"), "rdp": ("prv", "PRV")}
    name, called = others[plan.accountant]
    try:
        found = f"ε = {formats.epsilon(epsilon([plan.event(plan.steps)], plan.delta, name))}"
    except CannotBound:
        found = "no bound"
    return f"{plan.accountant.upper()} (upper bound); by {called} {found}"


def _clipping(plan: PrivacyPlan) -> str:
    """The rule and the norm, and how it moves."""
    rules = {"norm": "", "automatic": ", every gradient scaled to it", "per_layer": ", shared equally by all layers"}
    text = f"{plan.clipping.max_grad_norm:g}{rules[plan.clipping.rule]}"
    if adaptive := plan.clipping.adaptive:
        text += f" at first; follows the patients' {adaptive.quantile:g} quantile, paid for within the same noise"
    return text


def _start(material: Material) -> list[tuple[str, str]]:
    """What was known before the first private step."""
    config, notes = material.run.config, material.run.record.pretraining
    amount = [f"{notes[key]} {key}" for key in ("hearts", "slices", "steps") if key in notes]
    start = " · ".join([str(notes.get("data", "not recorded")), *amount])
    generator = config.generator
    return [("Pretrained on", start), ("Trained on patients", _trained(generator)), *_objectives(generator)]


def _trained(config: GeneratorConfig) -> str:
    match config.trainable:
        case "all":
            return "all weights"
        case "directions":
            return f"{config.directions} numbers: how far the network goes in each of as many public directions"
        case _:
            return "a small adaptation of the network, the rest fixed"


def _objectives(config: GeneratorConfig) -> list[tuple[str, str]]:
    """Which losses patients' data touched, and which were trained without them; nothing where there is just one."""
    objectives = build_generator(config, seed=0).objectives
    private = [one.name for one in objectives if one.private]
    public = [one.name for one in objectives if not one.private]
    if len(objectives) == 1:
        return []
    alone = [("Objectives without patients", f"{', '.join(public)}: at the coordinator, on phantoms; costs no ε")]
    return [("Objectives of patients' data", ", ".join(private)), *(alone if public else [])]


def _site_row(name: str, site: Site) -> SiteRow:
    return SiteRow(
        name=name,
        patients=str(site.patients),
        epsilon=formats.epsilon(site.epsilon),
        delta=formats.MISSING if site.delta is None else f"{site.delta:g}",
        noise_multiplier=formats.number(site.noise_multiplier, 3),
        sample_rate=formats.MISSING if site.sample_rate is None else f"{site.sample_rate:g}",
        steps=str(site.steps),
    )


def _meaning(material: Material) -> EpsilonMeaning | None:
    plan, spent = material.run.record.plan, largest_epsilon(material)
    if isinstance(plan, NoPrivacy) or spent is None:
        return None
    events = [plan.event(max(site.steps for site in material.results.sites.values()))]
    found = strongest_attack(events, plan.delta, 0.01, plan.accountant)
    spent = formats.up(spent, 2)  # what is read off the card must agree with the epsilon printed on it
    return EpsilonMeaning(
        epsilon=formats.epsilon(spent),
        delta=f"{plan.delta:g}",
        likelihood_factor=formats.factor(math.exp(min(spent, 700))),
        best_tpr=f"{formats.up(100 * found, 2):g} %",
        best_auc=f"{formats.up(auc_bound(spent, plan.delta), 4):g}",
        weak=found > 0.5,
    )


_NEVER_COVERED = """
The masks from which synthetic images are made. They are outlines of hearts; when they come from patients, as the \
held-out masks in this file do, ε says nothing about them.
This file and results.json. Their scores and pictures were computed from held-out and training patients without \
noise, by an evaluator who sees both. Only a simulation has such an evaluator.
Choices made by looking. If settings are tuned on scores of private data, each look costs privacy that is not in the \
ledger.
The site itself. Whoever can read a site's disk reads its patients; the guarantee starts where data leave it.
"""


def _not_covered(material: Material) -> list[str]:
    """Said whether or not anybody asks, a line each."""
    lines = _NEVER_COVERED.strip().splitlines()
    if not material.public_start:
        lines.insert(0, "The start: another run's generator. What that run spent on its patients comes on top.")
    if "non_private" in material.results.arms and material.run.record.plan.private:
        lines.insert(0, "The arm “without privacy”: its generator and its pictures in this file have no guarantee.")
    return [*lines, *_not_tested(material)]


def _tested(material: Material) -> list[tuple[str, str]]:
    """Which attacks were run, how, and against which baseline: what a reader needs to know how much a low AUC says."""
    attacks, audits, used = material.main.leakage, material.main.audits, material.results.evaluation.leakage
    if not attacks:
        return []
    families = sorted({attack.family for attack in attacks.values()})
    patients = next(iter(attacks.values()))
    found = [
        ("Attacks run", f"{len(attacks)} of {len(families)} kinds: {', '.join(families)}"),
        ("On", f"{patients.members} training patients and {patients.non_members} others, by patient"),
    ]
    if used:
        noises = f"{used.times} noise levels with {used.draws} noises each"
        found.append(("With", f"{used.slices_per_patient} slices a patient, {noises}"))
    if audits and audits.blind:
        auc = formats.with_interval(audits.blind.auc, audits.blind.auc_ci95)
        found.append(("Blind baseline", f"a classifier that never saw the generator: AUC {auc}"))
    if audits and (known := audits.calibration_patients):
        found.append(("Calibration", f"{known} patients of known membership, whom no calibrated attack is judged on"))
    if any(attack.by_vendor for attack in attacks.values()):
        found.append(("Subgroups", "vendor, pathology and centre, in the leakage section"))
    return found


def _not_tested(material: Material) -> list[str]:
    """What no attack of this report covers."""
    left = sorted(material.main.audits.left_out) if material.main.audits else []
    if not material.main.leakage:
        return ["Not tested: any attack. A measurement can find a leak; it cannot exclude one."]
    named = f"the attacks {', '.join(left)}; " if left else ""
    others = "attackers who see single updates (`cmrfed canary-audit` has canaries for those), attribute inference"
    limits = "A measurement can find a leak; it cannot exclude one."
    return [f"Not tested: {named}{others}, and attacks that nobody has thought of. {limits}"]
