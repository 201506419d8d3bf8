"""What the attacks found, in words: against chance, against what a classifier that never saw the generator can do, and
against the same attack on a start that never saw the patients."""

from cmrfed.evaluation.leakage.attacks import blind_does_as_well
from cmrfed.report import formats
from cmrfed.report.material import Material, Results

_MEMBERS_UNKNOWN = (
    "It is not known on whom this generator was trained, so whether those patients can be found was not measured; "
    "a list of them makes it so: evaluate it again with members=FILE."
)


def strongest_headline(attacks: Results | None) -> tuple[str, str]:
    """The largest AUC of all attacks, with an interval wide enough for all of them together, and how many they were."""
    if not attacks:
        return formats.MISSING, "no attack was tried"
    name, attack = _strongest(attacks)
    tried = f"the {name} attack" if len(attacks) == 1 else f"{name}, the strongest of {len(attacks)} attacks"
    limits = formats.interval(_simultaneous(attack))
    return f"AUC {attack['auc']:.2f}", f"{tried}, 95 % interval {limits}; blind guessing: 0.50"


def leakage_sentences(material: Material) -> list[str]:
    """One attack is told by itself; of many, how many found something, the strongest, and what chance would do."""
    attacks = (material.scores.get(material.main_arm) or {}).get("leakage")
    if not material.run.record.members_known:
        return [_MEMBERS_UNKNOWN]
    if not attacks:
        return ["Membership inference was not tried."]
    control = (material.scores.get("epsilon_0") or {}).get("leakage") or {}
    controls = control if material.public_start else {}
    if len(attacks) == 1:
        ((name, attack),) = attacks.items()
        return [_one(name, attack, controls.get(name))]
    return _many(attacks, controls)


def found_something(attack: Results, control: Results | None) -> bool:
    """Whether the attack beats chance, the blind classifier beside it, and itself on a start without the patients."""
    return bool(
        attack["auc_ci95"][0] > 0.5 and not blind_does_as_well(attack) and not _start_does_as_well(attack, control)
    )


def _start_does_as_well(attack: Results, control: Results | None) -> bool:
    return control is not None and control["auc_ci95"][0] > 0.5 and control["auc"] >= attack["auc"]


def _strongest(attacks: Results) -> tuple[str, Results]:
    return max(attacks.items(), key=lambda pair: pair[1]["auc"])


def _simultaneous(attack: Results) -> list[float]:
    """An attack's interval corrected for having been chosen among all that were run; its own where it was alone."""
    return attack.get("auc_ci95_simultaneous") or attack["auc_ci95"]


def _one(name: str, attack: Results, control: Results | None) -> str:
    """One attack's finding; a blind control that is not blind says that the two groups of patients differ."""
    low, high = attack["auc_ci95"]
    text = f"Membership inference ({name} attack): AUC {_auc(attack)}"
    if low <= 0.5 <= high:
        found = "no leak found by this attack, which is not proof that there is none"
        return f"{text}, an interval that includes blind guessing (0.5): {found}."
    if high < 0.5:
        return f"{text}, below blind guessing: no leak found, but members and non-members differ in some other way."
    text += (
        ": the attack tells training patients from others better than chance, so the generator may leak who was in it"
    )
    if control and control["auc_ci95"][0] > 0.5:
        part = "all" if _start_does_as_well(attack, control) else "some"
        text += (
            f"; but the start that never saw them scores {_auc(control)}, "
            f"so {part} of it is a difference between the two groups"
        )
    elif blind_does_as_well(attack):
        text += (
            "; but a classifier that never saw the generator does as well, "
            "so that this shows a difference between the two groups"
        )
    return f"{text}."


def _many(attacks: Results, controls: Results) -> list[str]:
    name, strongest = _strongest(attacks)
    above = [attack for attack, found in attacks.items() if found["auc_ci95"][0] > 0.5]
    leaks = [attack for attack in above if found_something(attacks[attack], controls.get(attack))]
    auc = formats.with_interval(strongest["auc"], _simultaneous(strongest))
    text = f"Of {len(attacks)} membership attacks the strongest, {name}, has AUC {auc}, corrected for their number."
    if not above:
        return [text, "None tells training patients from others: no leak found, which is not proof that there is none."]
    if not leaks:
        excuse = "a classifier that never saw the generator, or the start that never saw the patients, does as well"
        return [
            text,
            f"{_names(above)} beat chance, but {excuse}: the two groups of patients differ, and no leak is shown.",
        ]
    kept = [attack for attack in leaks if attacks[attack].get("p_value_adjusted", 0.0) < 0.05]
    verb = "tells" if len(leaks) == 1 else "tell"
    said = f"{_names(leaks)} {verb} training patients from others better than chance"
    if kept:
        return [text, f"{said}, {_names(kept)} also after correction for their number: the generator may leak."]
    return [
        text,
        f"{said}, but none after correction for their number: of so many, one does by luck. No leak is shown.",
    ]


def _names(attacks: list[str]) -> str:
    return attacks[0] if len(attacks) == 1 else f"{', '.join(attacks[:-1])} and {attacks[-1]}"


def _auc(attack: Results) -> str:
    return formats.with_interval(attack["auc"], attack["auc_ci95"])
