"""What the attacks found, in words: against chance, against what a classifier that never saw the generator can do, and
against the same attack on a start that never saw the patients."""

from cmrfed import formats
from cmrfed.evaluation.schema import AttackRates
from cmrfed.report.material import Material

Attacks = dict[str, AttackRates]

_MEMBERS_UNKNOWN = (
    "It is not known on whom this generator was trained, so whether those patients can be found was not measured; "
    "a list of them makes it so: evaluate it again with members=FILE."
)


def strongest_headline(attacks: Attacks | None) -> tuple[str, str]:
    """The largest AUC of all attacks, with an interval wide enough for all of them together, and how many they were."""
    if not attacks:
        return formats.MISSING, "no attack was tried"
    name, attack = _strongest(attacks)
    tried = f"the {name} attack" if len(attacks) == 1 else f"{name}, the strongest of {len(attacks)} attacks"
    limits = formats.interval(attack.auc_ci95_simultaneous)
    return f"AUC {attack.auc:.2f}", f"{tried}, 95 % interval {limits}; blind guessing: 0.50"


def leakage_sentences(material: Material) -> list[str]:
    """One attack is told by itself; of many, how many found something, the strongest, and what chance would do."""
    attacks = material.main.leakage
    if not material.run.record.members_known:
        return [_MEMBERS_UNKNOWN]
    if not attacks:
        return ["Membership inference was not tried."]
    start = material.scores.get("epsilon_0")
    controls = (start.leakage or {}) if start and material.public_start else {}
    if len(attacks) == 1:
        ((name, attack),) = attacks.items()
        return [_one(name, attack, controls.get(name))]
    return _many(attacks, controls)


def found_something(attack: AttackRates, control: AttackRates | None) -> bool:
    """Whether the attack beats chance, the blind classifier beside it, and itself on a start without the patients."""
    return _beats_chance(attack) and not attack.blind_does_as_well and not _start_does_as_well(attack, control)


def _beats_chance(attack: AttackRates) -> bool:
    return attack.auc_ci95[0] > 0.5


def _start_does_as_well(attack: AttackRates, control: AttackRates | None) -> bool:
    return control is not None and _beats_chance(control) and control.auc >= attack.auc


def _strongest(attacks: Attacks) -> tuple[str, AttackRates]:
    return max(attacks.items(), key=lambda pair: pair[1].auc)


def _one(name: str, attack: AttackRates, control: AttackRates | None) -> str:
    """One attack's finding; a blind control that is not blind says that the two groups of patients differ."""
    low, high = attack.auc_ci95
    text = f"Membership inference ({name} attack): AUC {_auc(attack)}"
    if low <= 0.5 <= high:
        found = "no leak found by this attack, which is not proof that there is none"
        return f"{text}, an interval that includes blind guessing (0.5): {found}."
    if high < 0.5:
        return f"{text}, below blind guessing: no leak found, but members and non-members differ in some other way."
    text += (
        ": the attack tells training patients from others better than chance, so the generator may leak who was in it"
    )
    if control and _beats_chance(control):
        part = "all" if _start_does_as_well(attack, control) else "some"
        text += (
            f"; but the start that never saw them scores {_auc(control)}, "
            f"so {part} of it is a difference between the two groups"
        )
    elif attack.blind_does_as_well:
        text += (
            "; but a classifier that never saw the generator does as well, "
            "so that this shows a difference between the two groups"
        )
    return f"{text}."


def _many(attacks: Attacks, controls: Attacks) -> list[str]:
    name, strongest = _strongest(attacks)
    above = [attack for attack, found in attacks.items() if _beats_chance(found)]
    leaks = [attack for attack in above if found_something(attacks[attack], controls.get(attack))]
    auc = formats.with_interval(strongest.auc, strongest.auc_ci95_simultaneous)
    text = f"Of {len(attacks)} membership attacks the strongest, {name}, has AUC {auc}, corrected for their number."
    if not above:
        return [text, "None tells training patients from others: no leak found, which is not proof that there is none."]
    if not leaks:
        excuse = "a classifier that never saw the generator, or the start that never saw the patients, does as well"
        return [
            text,
            f"{_names(above)} beat chance, but {excuse}: the two groups of patients differ, and no leak is shown.",
        ]
    kept = [attack for attack in leaks if attacks[attack].p_value_adjusted < 0.05]
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


def _auc(attack: AttackRates) -> str:
    return formats.with_interval(attack.auc, attack.auc_ci95)
