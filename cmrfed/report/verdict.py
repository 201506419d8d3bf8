"""The run in plain words, made from its numbers alone. Where an interval leaves a question open, the words do too."""

from dataclasses import dataclass

from cmrfed.report import formats
from cmrfed.report.card import largest_epsilon
from cmrfed.report.incidents import incidents
from cmrfed.report.leakage import leakage_sentences, strongest_headline
from cmrfed.report.material import Material, Results, of_no_use, why_void

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
    main = material.scores.get(material.main_arm, {})
    return [
        Verdict("Are the images useful?", *_dice_headline(main), [_utility(main.get("utility")), _gain(material)]),
        Verdict("Do they look real?", *_fid_headline(main), [_fidelity(main.get("fidelity"))]),
        Verdict("Do they give patients away?", *strongest_headline(main.get("leakage")), leakage_sentences(material)),
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


def _dice_headline(main: Results) -> tuple[str, str]:
    if not (utility := main.get("utility")):
        return formats.MISSING, "not measured"
    synthetic, real = (utility[name]["dice"]["mean"] for name in ("synthetic", "real"))
    if why_void(utility):
        return (
            "void",
            f"real images themselves: Dice {real:.2f}; without looking at any image {_blind(utility)}",
        )
    if of_no_use(utility):
        return "none", f"Dice {synthetic:.2f}; without looking at any image {_blind(utility)}, on real ones {real:.2f}"
    blind = f"; without looking at any image {_blind(utility)}" if "blind" in utility else ""
    return f"Dice {synthetic:.2f}", f"trained on synthetic images only; on real ones {real:.2f}{blind}"


def _blind(utility: Results) -> str:
    return formats.number(utility["blind"]["dice"]["mean"])


def _fid_headline(main: Results) -> tuple[str, str]:
    if not (fidelity := main.get("fidelity")):
        return formats.MISSING, "not measured"
    return f"FID {fidelity['fid']:.0f}", f"other real patients score {fidelity['fid_real']:.0f}"


def _epsilon_headline(material: Material) -> tuple[str, str]:
    plan, spent = material.run.record.plan, largest_epsilon(material)
    if plan is None or plan.seed is not None or spent is None:
        return "nothing", "no guarantee holds"
    return f"ε{_EQUALS}{formats.epsilon(spent)}", f"at δ = {plan.delta:g}, spent by any patient at most"


def _utility(utility: Results | None) -> str:
    if not utility:
        return "How useful the images are for training a segmentation network was not measured."
    if why_void(utility):
        return _void(utility)
    if of_no_use(utility):
        return _no_use(utility)
    synthetic, real, mixed = (_dice(utility[name]) for name in ("synthetic", "real", "mixed"))
    ratio = f" ({_ratio(utility):.2f} times as high)" if utility["real"]["dice"]["mean"] > 0 else ""
    text = (
        f"A segmentation network trained only on this generator's images reaches mean Dice {synthetic} on "
        f"{utility['real']['patients']} held-out patients, against {real} for the same network trained on real "
        f"images{ratio}"
    )
    if doubt := _doubt(utility, "synthetic", "real", utility["real"]):
        text += f"; {doubt}, so this run cannot tell the two apart"
    return f"{text}. Trained on both together it reaches {mixed}{_against_real(utility)}."


def _void(utility: Results) -> str:
    real, blind = (_dice(utility[name]) for name in ("real", "blind"))
    return (
        f"Nothing can be said of it: a segmentation network trained on real images themselves reaches mean Dice {real} "
        f"on {utility['real']['patients']} held-out patients, which is no better than {blind}, what one and the same "
        "mask in every slice reaches without looking at any image. Whatever synthetic images score beside it means "
        "nothing; evaluate again with more steps or images (evaluation.utility.steps, .slices) or more patients."
    )


def _no_use(utility: Results) -> str:
    synthetic, real, blind = (_dice(utility[name]) for name in ("synthetic", "real", "blind"))
    return (
        "No use of the images was found: a segmentation network trained on them alone reaches mean Dice "
        f"{synthetic} on {utility['real']['patients']} held-out patients, no better than {blind}, what one and "
        f"the same mask in every slice reaches without looking at any image. Trained on real images it reaches {real}."
    )


def _against_real(utility: Results) -> str:
    """What adding synthetic images to real ones brought."""
    difference = utility["mixed"]["dice"]["mean"] - utility["real"]["dice"]["mean"]
    if _doubt(utility, "mixed", "real", utility["real"]):
        return ", not clearly different from real images alone"
    return ", more than real images alone" if difference > 0 else ", less than real images alone"


def _doubt(utility: Results, a: str, b: str, other: Results) -> str:
    """Why mean Dice of training sets a and b, whose scores are `other`, may be the same; empty where they differ.

    Where a paired test was made it decides: it sees what overlapping intervals of the same patients hide.
    """
    wanted = {"a": a, "b": b, "metric": "dice", "structure": "mean"}
    if test := next((row for row in utility.get("tests", ()) if wanted.items() <= row.items()), None):
        return "the same patients' scores differ by no more than chance" if test["p_holm"] >= _SIGNIFICANT else ""
    overlap = formats.overlap(utility[a]["dice_ci95"]["mean"], other["dice_ci95"]["mean"])
    return "the intervals overlap" if overlap else ""


def _ratio(utility: Results) -> float:
    return float(utility["synthetic"]["dice"]["mean"] / utility["real"]["dice"]["mean"])


def _dice(scores: Results) -> str:
    return formats.with_interval(scores["dice"]["mean"], scores["dice_ci95"]["mean"])


def _gain(material: Material) -> str:
    """What the patients' data added to the start; an improvement only where there is one."""
    arms, arm = material.scores, material.main_arm
    before, after = (arms.get(name, {}).get("utility") for name in ("epsilon_0", arm))
    if not (before and after) or why_void(after) or of_no_use(after):
        return ""
    training = "Private training" if arm == "private" else "Training"
    start = "the public start (no patient seen)" if material.public_start else "the start"
    difference = after["synthetic"]["dice"]["mean"] - before["synthetic"]["dice"]["mean"]
    change = f"Dice {_dice(before['synthetic'])} before, {_dice(after['synthetic'])} after"
    if difference < 0.005:
        return f"{training} did not improve on {start}: {change}."
    if doubt := _doubt(after, "synthetic", "epsilon_0/synthetic", before["synthetic"]):
        unsure = f"{doubt}, so an improvement is not established"
        return f"{training} changed Dice by {difference:+.2f} from {start} ({change}); {unsure}."
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
    times = fidelity["fid"] / fidelity["fid_real"]
    if times >= _FAR:
        return f"{text}: {times:.1f} times as far, so these images are far from real ones."
    return f"{text}: a gap remains, {times:.1f} times as far."


def _privacy(material: Material) -> str:
    plan, spent = material.run.record.plan, largest_epsilon(material)
    if material.run.record.images:
        return "How the generator was trained is not known here, so that no guarantee can be stated."
    if plan is None:
        return "It was trained without privacy: no guarantee protects the training patients."
    if plan.seed is not None:
        return "The noise came from a seed, for testing: no guarantee protects the training patients."
    alone = ", in the private arm alone" if "non_private" in material.scores else ""
    guarantee = f"ε{_EQUALS}{formats.epsilon(spent)} at δ{_EQUALS}{plan.delta:g} or better{alone}"
    return f"Each training patient is protected with {guarantee}; the privacy card says what it covers and what not."
