"""Families of generators side by side, as a page: what each draws, what it costs, what it is worth, what it leaks."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cmrfed import formats
from cmrfed.comparison import ARMS, Compared
from cmrfed.core import atomic
from cmrfed.evaluation.schema import FidelityScore, Strongest, Utility
from cmrfed.pictures import image_uri
from cmrfed.report.html import write_page
from cmrfed.report.pictures import OutlinePath, Picture, Strip, choose_slices, mask_uri, outlines
from cmrfed.report.plots import families_plot
from cmrfed.report.tables import KID_SCALE, NOTHING, Figure, Row, Table, estimated, figure
from cmrfed.slices import Slices


def write_families(found: Sequence[Compared], folder: Path) -> Path:
    """families.json and families.html in the comparison's folder; returns the page."""
    atomic.write_text(folder / "families.json", json.dumps([_plain(one) for one in found], indent=2))
    arms = {arm: [one for one in found if one.arm == arm] for arm in ARMS}
    return write_page(
        folder / "families.html",
        "families.html.jinja",
        plot=families_plot(found),
        speeds=_speeds(found),
        worth={ARMS[arm]: _worth(own) for arm, own in arms.items() if own},
        plates={ARMS[arm]: _plate(own) for arm, own in arms.items() if own},
    )


def _plain(one: Compared) -> dict[str, Any]:
    return {
        "family": one.family,
        "arm": one.arm,
        "epsilon": one.epsilon,
        "train_s": one.train_s,
        "seconds_per_slice": one.seconds_per_slice,
        "speed": one.speed.model_dump(),
        **one.scores.plain(),
    }


def _speeds(found: Sequence[Compared]) -> Table:
    """A line for each family; seconds of a slice as the comparison measured them, one family at a time."""
    first = {one.family: one.speed for one in reversed(found)}
    rows = [
        Row(
            family,
            [
                Figure(f"{speed.weights:,}"),
                Figure(formats.number(speed.slices_per_s, 1)),
                Figure(formats.number(speed.slice_s, 4)),
            ],
        )
        for family, speed in sorted(first.items())
    ]
    return Table(["weights", "slices learnt from in a second", "seconds to draw a slice"], rows)


def _worth(own: Sequence[Compared]) -> Table:
    vendors = sorted({vendor for one in own if one.scores.utility for vendor in one.scores.utility.synthetic.by_vendor})
    columns = ["Dice", "of real", *vendors, "mask obeyed, Dice", "FID", "KID × 1000", "strongest attack's AUC"]
    real = next((one.scores.utility for one in own if one.scores.utility), None)
    rows = [Row("real images", _real_cells(real, own[0], vendors), reference=True)] if real else []
    ranked = sorted(own, key=lambda one: -_dice(one))
    return Table(columns, [*rows, *(Row(one.family, _cells(one, vendors), about=_about(one)) for one in ranked)])


def _dice(one: Compared) -> float:
    return one.scores.utility.synthetic.dice.mean if one.scores.utility else 0.0


def _about(one: Compared) -> str:
    return f"ε {formats.epsilon(one.epsilon)}" if one.epsilon is not None else ""


def _cells(one: Compared, vendors: Sequence[str]) -> list[Figure]:
    utility, fidelity, audits = one.scores.utility, one.scores.fidelity, one.scores.audits
    return [
        *_utility_cells(utility, vendors, lambda utility: utility.synthetic),
        _of(fidelity.faithfulness.get("dice_mean") if fidelity else None, 3),
        _of(fidelity.frechet if fidelity else None, 1),
        _of(fidelity.kernel if fidelity else None, 0, KID_SCALE),
        _attack(audits.strongest if audits else None),
    ]


def _real_cells(utility: Utility, one: Compared, vendors: Sequence[str]) -> list[Figure]:
    """The floors: other real patients, and real images of the same masks."""
    fidelity = one.scores.fidelity
    scores = [fidelity.faithfulness.get("dice_mean"), fidelity.frechet, fidelity.kernel] if fidelity else [None] * 3
    scales = ((3, 1.0), (1, 1.0), (0, KID_SCALE))
    floors = [
        figure(score.floor, score.floor_ci95, digits, scale) if score else NOTHING
        for score, (digits, scale) in zip(scores, scales, strict=True)
    ]
    return [*_utility_cells(utility, vendors, lambda utility: utility.real), *floors, NOTHING]


def _utility_cells(utility: Utility | None, vendors: Sequence[str], of: Callable[[Utility], Any]) -> list[Figure]:
    if utility is None:
        return [NOTHING] * (2 + len(vendors))
    scores, real = of(utility), utility.real.dice.mean
    by_vendor: Mapping[str, Any] = scores.by_vendor
    return [
        estimated(scores.mean_dice, 3),
        Figure(formats.number(scores.dice.mean / real if real > 0 else None, 3)),
        *(estimated(by_vendor[vendor].mean_dice, 3) if vendor in by_vendor else NOTHING for vendor in vendors),
    ]


def _of(score: FidelityScore | None, digits: int, scale: float = 1.0) -> Figure:
    return figure(score.value, score.ci95, digits, scale) if score else NOTHING


def _attack(strongest: Strongest | None) -> Figure:
    if strongest is None:
        return NOTHING
    found = figure(strongest.auc, strongest.auc_ci95)
    return Figure(found.value, f"{found.small} {strongest.attack}".strip())


def _plate(own: Sequence[Compared]) -> list[Strip]:
    """The same masks in every family; a family that draws for other slices, as of stacks, is shown all the same."""
    rows = _rows(own[0].shown)
    masks = [Picture(mask_uri(own[0].shown.masks[row]), "mask", own[0].shown.masks.shape[1], []) for row in rows]
    strips = [Strip("mask", masks)]
    for one in own:
        chosen = rows if len(one.shown) == len(own[0].shown) else _rows(one.shown)
        strips.append(Strip(one.family, [_picture(one, row) for row in chosen]))
    return strips


_SHOWN = 8


def _rows(shown: Slices) -> list[int]:
    """Of each vendor as many, base to apex, as `choose_slices` takes them; nobody picks by looks."""
    vendors = sorted(set(shown.conditions["vendor"].tolist()))
    found = [row for vendor in vendors for phase in choose_slices(shown, vendor) for _, row in phase]
    step = max(1, len(found) // _SHOWN)
    return found[::step][:_SHOWN] or list(range(min(_SHOWN, len(shown))))


def _picture(one: Compared, row: int) -> Picture:
    mask = one.shown.masks[row]
    edges: list[OutlinePath] = outlines(mask)
    return Picture(image_uri(one.shown.images[row]), f"{one.family}, with the mask's edge", len(mask), edges)
