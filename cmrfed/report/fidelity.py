"""Fidelity as tables: every score of every arm beside what other real patients get in its place."""

from cmrfed.evaluation.fidelity.metrics import SCORES, SPACES, Meaning
from cmrfed.report import formats
from cmrfed.report.material import Material, Results
from cmrfed.report.tables import Figure, Row, Table

_PARTS = {
    "faithfulness": "Do images follow their masks?",
    "structure": "What a cardiologist would measure",
    "pixels": "Pixel by pixel",
}
_BETTER = {"lower": "lower is better", "higher": "higher is better", "as the floor": "best as for real patients"}


def fidelity_tables(material: Material) -> list[tuple[str, Table]]:
    """(title, table) of every feature space and group of scores that was measured, the headline's space first."""
    arms = {arm: scores["fidelity"] for arm, scores in material.scores.items() if scores["fidelity"]}
    spaces = dict.fromkeys(space for fidelity in arms.values() for space in fidelity.get("spaces", {}))
    groups = [(f"Features of {SPACES.get(space, space)}", "spaces", _of_space(arms, space)) for space in spaces]
    groups += [(title, part, {arm: of.get(part, {}) for arm, of in arms.items()}) for part, title in _PARTS.items()]
    return [(title, _table(material, part, found)) for title, part, found in groups if any(found.values())]


def _of_space(arms: dict[str, Results], space: str) -> dict[str, Results]:
    return {arm: fidelity.get("spaces", {}).get(space, {}) for arm, fidelity in arms.items()}


def _table(material: Material, part: str, arms: dict[str, Results]) -> Table:
    """A row a score; the floor is the same for all arms and is taken from the first that has it."""
    names = dict.fromkeys(name for found in arms.values() for name in found)
    columns = ["other real patients", *(material.arm_title(arm) for arm in arms)]
    return Table(
        columns, [_row(SCORES[part].get(name), name, [found.get(name) for found in arms.values()]) for name in names]
    )


def _row(meaning: Meaning | None, name: str, scores: list[Results | None]) -> Row:
    known = next(score for score in scores if score)
    floor = Figure(_number(known["floor"]), _interval(known["floor_ci95"]))
    cells = [Figure(_number(score["value"]), _interval(score["ci95"])) if score else _NOTHING for score in scores]
    if meaning is None:
        return Row(name, [floor, *cells])
    unit = f", {meaning.unit}" if meaning.unit else ""
    return Row(f"{meaning.title}{unit}", [floor, *cells], about=f"{meaning.meaning} ({_BETTER[meaning.better]})")


_NOTHING = Figure(formats.MISSING)


def _number(value: float | None) -> str:
    """Three significant digits: the scores' sizes differ by orders of magnitude."""
    return formats.MISSING if value is None else _short(value)


def _interval(limits: list[float] | None) -> str:
    return f"[{_short(limits[0])},{formats.UNBROKEN}{_short(limits[1])}]" if limits else ""


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
