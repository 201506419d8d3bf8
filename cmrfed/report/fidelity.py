"""Fidelity as tables: every score of every arm beside what other real patients get in its place."""

from collections.abc import Callable

from cmrfed import formats
from cmrfed.evaluation.fidelity.metrics import SCORES, SPACES, Meaning
from cmrfed.evaluation.schema import Fidelity, FidelityScore
from cmrfed.report.material import Material
from cmrfed.report.tables import NOTHING, Figure, Row, Table

Scores = dict[str, FidelityScore]
"""By name."""

_PARTS: dict[str, tuple[str, Callable[[Fidelity], Scores]]] = {
    "faithfulness": ("Do images follow their masks?", lambda fidelity: fidelity.faithfulness),
    "structure": ("What a cardiologist would measure", lambda fidelity: fidelity.structure),
    "pixels": ("Pixel by pixel", lambda fidelity: fidelity.pixels),
}
_BETTER = {"lower": "lower is better", "higher": "higher is better", "as the floor": "best as for real patients"}


def fidelity_tables(material: Material) -> list[tuple[str, Table]]:
    """(title, table) of every feature space and group of scores that was measured, the headline's space first."""
    arms = {arm: scores.fidelity for arm, scores in material.scores.items() if scores.fidelity}
    spaces = dict.fromkeys(space for fidelity in arms.values() for space in fidelity.spaces)
    by_space = {space: {arm: of.spaces.get(space, {}) for arm, of in arms.items()} for space in spaces}
    groups = [(f"Features of {SPACES.get(space, space)}", "spaces", found) for space, found in by_space.items()]
    groups += [(title, part, {arm: find(of) for arm, of in arms.items()}) for part, (title, find) in _PARTS.items()]
    return [(title, _table(material, part, found)) for title, part, found in groups if any(found.values())]


def _table(material: Material, part: str, arms: dict[str, Scores]) -> Table:
    """A row a score; the floor is the same for all arms and is taken from the first that has it."""
    names = dict.fromkeys(name for found in arms.values() for name in found)
    columns = ["other real patients", *(material.arm_title(arm) for arm in arms)]
    return Table(
        columns, [_row(SCORES[part].get(name), name, [found.get(name) for found in arms.values()]) for name in names]
    )


def _row(meaning: Meaning | None, name: str, scores: list[FidelityScore | None]) -> Row:
    known = next(score for score in scores if score)
    floor = Figure(_number(known.floor), _interval(known.floor_ci95))
    cells = [Figure(_number(score.value), _interval(score.ci95)) if score else NOTHING for score in scores]
    if meaning is None:
        return Row(name, [floor, *cells])
    unit = f", {meaning.unit}" if meaning.unit else ""
    return Row(f"{meaning.title}{unit}", [floor, *cells], about=f"{meaning.meaning} ({_BETTER[meaning.better]})")


def _number(value: float | None) -> str:
    """Three significant digits: the scores' sizes differ by orders of magnitude."""
    return formats.MISSING if value is None else _short(value)


def _interval(limits: list[float] | None) -> str:
    return f"[{_short(limits[0])},{formats.UNBROKEN}{_short(limits[1])}]" if limits else ""


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
