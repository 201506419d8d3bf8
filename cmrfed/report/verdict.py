"""The run in plain words, made from its numbers alone. Where an interval leaves a question open, the words do too."""

from dataclasses import dataclass

from cmrfed import formats
from cmrfed.evaluation.schema import ArmScores, Fidelity, PairedTest, SegmenterScores, Utility
from cmrfed.privacy import NoPrivacy
from cmrfed.report.card import largest_epsilon
from cmrfed.report.incidents import incidents
from cmrfed.report.leakage import leakage_sentences, strongest_headline
from cmrfed.report.material import Material

_SIGNIFICANT = 0.05
_FAR = 2.0
"""From here on a distance, in floors, is called far and not a gap."""
_EQUALS = f"{formats.UNBROKEN}={formats.UNBROKEN}"


@dataclass(frozen=True)
class Verdict:
    """Of one dimension: its headline number, what to read that against, and sentences."""

    question: str
    value: str
    beside: str
    sentences: list[str]


def verdicts(material: Material) -> list[Verdict]:
    """The verdicts by dimension, in the order in which a reader asks."""
    main = material.main
    return [
        Verdict("Are the images useful?", *_dice_headline(main), [_utility(main.utility), _gain(material)]),
        Verdict("Do they look real?", *_fid_headline(main), [_fidelity(main.fidelity)]),
        Verdict("Do they give patients away?", *strongest_headline(main.leakage), leakage_sentences(material)),
        Verdict("What is promised?", *_epsilon_headline(material), [_privacy(material)]),
    ]


def remarks(material: Material) -> list[str]:
    """What must be known before any verdict is read."""
    said = []
    if material.only_phantoms:
        said.append(
            "Every patient of this run is a phantom made by computer, and “real” means the phantom's own images."
        )
    if material.run.record.images:
        said.append("The images were made elsewhere: this report knows of their generator only what they show.")
        if material.run.record.members_known:
            said.append("That it was trained on the training patients named here, and on no other, is taken on trust.")
    if incidents(material):
        said.append("Not everything went as planned: see the notes under Training.")
    return said


def _dice_headline(main: ArmScores) -> tuple[str, str]:
    if not (utility := main.utility):
        return formats.MISSING, "not measured"
    synthetic, real = utility.synthetic.dice.mean, utility.real.dice.mean
    blind = f"without looking at any image {utility.blind.dice.mean:.2f}"
    if utility.void:
        return "void", f"real images themselves: Dice {real:.2f}; {blind}"
    if utility.of_no_use:
        return "none", f"Dice {synthetic:.2f}; {blind}, on real ones {real:.2f}"
    return f"Dice {synthetic:.2f}", f"trained on synthetic images only; on real ones {real:.2f}; {blind}"


def _fid_headline(main: ArmScores) -> tuple[str, str]:
    if not main.fidelity:
        return formats.MISSING, "not measured"
    if not (frechet := main.fidelity.frechet):
        return formats.MISSING, _TOO_FEW
    return f"FID {frechet.value:.0f}", f"other real patients score {formats.number(frechet.floor, 0)}"


_TOO_FEW = "too few images for an FID"


def _epsilon_headline(material: Material) -> tuple[str, str]:
    plan, spent = material.run.record.plan, largest_epsilon(material)
    if isinstance(plan, NoPrivacy) or not plan.guaranteed or spent is None:
        return "nothing", "no guarantee holds"
    return f"ε{_EQUALS}{formats.epsilon(spent)}", f"at δ = {plan.delta:g}, spent by any patient at most"


def _utility(utility: Utility | None) -> str:
    if not utility:
        return "How useful the images are for training a segmentation network was not measured."
    if utility.void:
        return _void(utility)
    if utility.of_no_use:
        return _no_use(utility)
    synthetic, real = utility.synthetic, utility.real
    ratio = f" ({synthetic.dice.mean / real.dice.mean:.2f} times as high)" if real.dice.mean > 0 else ""
    text = (
        f"A segmentation network trained only on this generator's images reaches mean Dice {_dice(synthetic)} on "
        f"{real.patients} held-out patients, against {_dice(real)} for the same network trained on real images{ratio}"
    )
    if doubt := _doubt(utility.tests, ("synthetic", synthetic), ("real", real)):
        text += f"; {doubt}, so this run cannot tell the two apart"
    return f"{text}. Trained on both together it reaches {_dice(utility.mixed)}{_against_real(utility)}."


def _void(utility: Utility) -> str:
    real, blind = _dice(utility.real), _dice(utility.blind)
    return (
        f"Nothing can be said of it: a segmentation network trained on real images themselves reaches mean Dice {real} "
        f"on {utility.real.patients} held-out patients, which is no better than {blind}, what one and the same "
        "mask in every slice reaches without looking at any image. Whatever synthetic images score beside it means "
        "nothing; evaluate again with more steps or images (evaluation.utility.steps, .slices) or more patients."
    )


def _no_use(utility: Utility) -> str:
    synthetic, real, blind = _dice(utility.synthetic), _dice(utility.real), _dice(utility.blind)
    return (
        "No use of the images was found: a segmentation network trained on them alone reaches mean Dice "
        f"{synthetic} on {utility.real.patients} held-out patients, no better than {blind}, what one and "
        f"the same mask in every slice reaches without looking at any image. Trained on real images it reaches {real}."
    )


def _against_real(utility: Utility) -> str:
    """What adding synthetic images to real ones brought."""
    mixed, real = utility.mixed, utility.real
    if _doubt(utility.tests, ("mixed", mixed), ("real", real)):
        return ", not clearly different from real images alone"
    return ", more than real images alone" if mixed.dice.mean > real.dice.mean else ", less than real images alone"


def _doubt(tests: list[PairedTest], one: tuple[str, SegmenterScores], other: tuple[str, SegmenterScores]) -> str:
    """Why mean Dice of two training sets, each by name and scores, may be the same; empty where they differ.

    Where a paired test was made it decides: it sees what overlapping intervals of the same patients hide.
    """
    (a, own), (b, others) = one, other
    wanted = (a, b, "dice", "mean")
    if test := next((row for row in tests if (row.a, row.b, row.metric, row.structure) == wanted), None):
        return "the same patients' scores differ by no more than chance" if test.p_holm >= _SIGNIFICANT else ""
    return "the intervals overlap" if formats.overlap(own.dice_ci95.mean, others.dice_ci95.mean) else ""


def _dice(scores: SegmenterScores) -> str:
    return formats.with_interval(scores.dice.mean, scores.dice_ci95.mean)


def _gain(material: Material) -> str:
    """What the patients' data added to the start; an improvement only where there is one."""
    first, after = material.scores.get("epsilon_0"), material.main.utility
    before = first.utility if first else None
    if not (before and after) or after.void or after.of_no_use:
        return ""
    training = "Private training" if material.main_arm == "private" else "Training"
    seen = f"{material.public_patients} public patients" if material.public_patients else "no patient"
    start = f"the public start ({seen} seen)" if material.public_start else "the start"
    difference = after.synthetic.dice.mean - before.synthetic.dice.mean
    change = f"Dice {_dice(before.synthetic)} before, {_dice(after.synthetic)} after"
    if difference < 0.005:
        return f"{training} did not improve on {start}: {change}."
    pair = ("synthetic", after.synthetic), ("epsilon_0/synthetic", before.synthetic)
    if doubt := _doubt(after.tests, *pair):
        unsure = f"{doubt}, so an improvement is not established"
        return f"{training} changed Dice by {difference:+.2f} from {start} ({change}); {unsure}."
    return f"{training} improved on {start} by {difference:+.2f}: {change}."


def _fidelity(fidelity: Fidelity | None) -> str:
    if not fidelity:
        return "How close the images are to real ones was not measured."
    frechet = fidelity.frechet
    if not (frechet and frechet.floor):
        return f"How close the images are to real ones is not known: {_TOO_FEW}."
    fid = formats.with_interval(frechet.value, frechet.ci95, 0)
    floor = formats.with_interval(frechet.floor, frechet.floor_ci95, 0)
    text = f"The images' distance from held-out real ones is FID {fid}, where other real patients score {floor}"
    if formats.overlap(frechet.ci95, frechet.floor_ci95):
        return f"{text}; the intervals overlap, so this run cannot tell the two apart."
    if frechet.value < frechet.floor:
        return f"{text}: nearer than other patients, which sharing the held-out masks can explain."
    times = frechet.value / frechet.floor
    if times >= _FAR:
        return f"{text}: {times:.1f} times as far, so these images are far from real ones."
    return f"{text}: a gap remains, {times:.1f} times as far."


def _privacy(material: Material) -> str:
    plan, spent = material.run.record.plan, largest_epsilon(material)
    if material.run.record.images:
        return "How the generator was trained is not known here, so that no guarantee can be stated."
    if isinstance(plan, NoPrivacy):
        return "It was trained without privacy: no guarantee protects the training patients."
    if not plan.guaranteed:
        return "The noise came from a seed, for testing: no guarantee protects the training patients."
    alone = ", in the private arm alone" if "non_private" in material.scores else ""
    guarantee = f"ε{_EQUALS}{formats.epsilon(spent)} at δ{_EQUALS}{plan.delta:g} or better{alone}"
    return f"Each training patient is protected with {guarantee}; the privacy card says what it covers and what not."
