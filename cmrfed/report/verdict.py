"""The run in plain words, made from its numbers alone. Where an interval leaves a question open, the words do too."""

from dataclasses import dataclass

from cmrfed.report import formats
from cmrfed.report.card import largest_epsilon
from cmrfed.report.incidents import incidents
from cmrfed.report.material import Material, Results

_EQUALS = f"{formats.UNBROKEN}={formats.UNBROKEN}"


@dataclass(frozen=True)
class Tile:
    """One headline number and what to read it against."""

    label: str
    value: str
    beside: str


def verdict(material: Material) -> list[str]:
    """Sentences, in the order in which a reader asks."""
    main = material.scores.get(material.main_arm, {})
    parts = [
        _data(material),
        _utility(main.get("utility")),
        _gain(material),
        _fidelity(main.get("fidelity")),
        _leakage(material),
    ]
    parts += [_privacy(material)]
    if incidents(material):
        parts.append("Not everything went as planned: see the notes under Training.")
    return [part for part in parts if part]


def tiles(material: Material) -> list[Tile]:
    """The headline numbers that were measured."""
    main = material.scores.get(material.main_arm, {})
    found = []
    if utility := main.get("utility"):
        synthetic, real = (utility[name]["dice"]["mean"] for name in ("synthetic", "real"))
        found.append(Tile("Dice, trained on synthetic only", formats.number(synthetic), f"real: {real:.2f}"))
    if fidelity := main.get("fidelity"):
        found.append(Tile("FID", formats.number(fidelity["fid"], 0), f"real patients: {fidelity['fid_real']:.0f}"))
    for name, attack in (main.get("leakage") or {}).items():
        beside = f"{formats.interval(attack['auc_ci95'])}, blind: 0.50"
        found.append(Tile(f"Membership AUC, {name} attack", formats.number(attack["auc"]), beside))
    plan, spent = material.run.record.plan, largest_epsilon(material)
    if plan and plan.seed is None and spent is not None:
        found.append(Tile("ε spent, at most", formats.epsilon(spent), f"δ = {plan.delta:g}"))
    return found


def _data(material: Material) -> str:
    if not material.only_phantoms:
        return ""
    return "Every patient of this run is a phantom made by computer, and “real” means the phantom's own images."


def _utility(utility: Results | None) -> str:
    if not utility:
        return "How useful the images are for training a segmentation network was not measured."
    synthetic, real, mixed = (_dice(utility[name]) for name in ("synthetic", "real", "mixed"))
    limits = {name: utility[name]["dice_ci95"]["mean"] for name in utility}
    ratio = f" ({_ratio(utility):.2f} times as high)" if utility["real"]["dice"]["mean"] > 0 else ""
    text = (
        f"A segmentation network trained only on this generator's images reaches mean Dice {synthetic} on "
        f"{utility['real']['patients']} held-out patients, against {real} for the same network trained on real "
        f"images{ratio}"
    )
    if formats.overlap(limits["synthetic"], limits["real"]):
        text += "; the intervals overlap, so this run cannot tell the two apart"
    return f"{text}. Trained on both together it reaches {mixed}{_against_real(utility)}."


def _against_real(utility: Results) -> str:
    """What adding synthetic images to real ones brought."""
    difference = utility["mixed"]["dice"]["mean"] - utility["real"]["dice"]["mean"]
    limits = [utility[name]["dice_ci95"]["mean"] for name in ("mixed", "real")]
    if formats.overlap(*limits):
        return ", not clearly different from real images alone"
    return ", more than real images alone" if difference > 0 else ", less than real images alone"


def _ratio(utility: Results) -> float:
    return float(utility["synthetic"]["dice"]["mean"] / utility["real"]["dice"]["mean"])


def _dice(scores: Results) -> str:
    return formats.with_interval(scores["dice"]["mean"], scores["dice_ci95"]["mean"])


def _gain(material: Material) -> str:
    """What the patients' data added to the start; an improvement only where there is one."""
    arms, arm = material.scores, material.main_arm
    before, after = (arms.get(name, {}).get("utility") for name in ("epsilon_0", arm))
    if not (before and after):
        return ""
    training = "Private training" if arm == "private" else "Training"
    start = "the public start (no patient seen)" if material.public_start else "the start"
    difference = after["synthetic"]["dice"]["mean"] - before["synthetic"]["dice"]["mean"]
    change = f"Dice {_dice(before['synthetic'])} before, {_dice(after['synthetic'])} after"
    if difference < 0.005:
        return f"{training} did not improve on {start}: {change}."
    if formats.overlap(*(one["synthetic"]["dice_ci95"]["mean"] for one in (before, after))):
        doubt = "the intervals overlap, so an improvement is not established"
        return f"{training} changed Dice by {difference:+.2f} from {start} ({change}); {doubt}."
    return f"{training} improved on {start} by {difference:+.2f}: {change}."


def _fidelity(fidelity: Results | None) -> str:
    if not fidelity:
        return "How close the images are to real ones was not measured."
    fid, floor = (formats.with_interval(fidelity[k], fidelity[f"{k}_ci95"], 0) for k in ("fid", "fid_real"))
    text = f"The images' distance from held-out real ones is FID {fid}, where other real patients score {floor}"
    if formats.overlap(fidelity["fid_ci95"], fidelity["fid_real_ci95"]):
        return f"{text}; the intervals overlap, so this run cannot tell the two apart."
    if fidelity["fid"] < fidelity["fid_real"]:
        return f"{text}: nearer than other patients, which sharing the held-out masks can explain."
    return f"{text}: a gap remains."


def _leakage(material: Material) -> str:
    attacks = (material.scores.get(material.main_arm) or {}).get("leakage")
    if not attacks:
        return "Membership inference was not tried."
    control = (material.scores.get("epsilon_0") or {}).get("leakage") or {}
    return " ".join(_attack(name, attack, control.get(name), material) for name, attack in attacks.items())


def _attack(name: str, attack: Results, control: Results | None, material: Material) -> str:
    """One attack's finding; a blind control that is not blind says that the two groups of patients differ."""
    low, high = attack["auc_ci95"]
    text = f"Membership inference ({name} attack): AUC {formats.with_interval(attack['auc'], attack['auc_ci95'])}"
    if low <= 0.5 <= high:
        found = "no leak found by this attack, which is not proof that there is none"
        return f"{text}, an interval that includes blind guessing (0.5): {found}."
    if high < 0.5:
        return f"{text}, below blind guessing: no leak found, but members and non-members differ in some other way."
    text += (
        ": the attack tells training patients from others better than chance, so the generator may leak who was in it"
    )
    if control and material.public_start and control["auc_ci95"][0] > 0.5:
        text += (
            f"; but the start that never saw them scores {formats.with_interval(control['auc'], control['auc_ci95'])}, "
            "so some or all of it is a difference between the two groups"
        )
    return f"{text}."


def _privacy(material: Material) -> str:
    plan, spent = material.run.record.plan, largest_epsilon(material)
    if plan is None:
        return "It was trained without privacy: no guarantee protects the training patients."
    if plan.seed is not None:
        return "The noise came from a seed, for testing: no guarantee protects the training patients."
    alone = ", in the private arm alone" if "non_private" in material.scores else ""
    guarantee = f"ε{_EQUALS}{formats.epsilon(spent)} at δ{_EQUALS}{plan.delta:g} or better{alone}"
    return f"Each training patient is protected with {guarantee}; the privacy card says what it covers and what not."
