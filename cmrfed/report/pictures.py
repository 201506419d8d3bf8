"""Masks and the images drawn for them, arms side by side. No real pixel gets in unless real slices are handed over."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8
from matplotlib.colors import to_rgb
from skimage.measure import find_contours

from cmrfed.conditions import PHASES, UNLABELLED, VENDORS
from cmrfed.config import MOST_TISSUES
from cmrfed.pictures import colour_uri, image_uri
from cmrfed.report.material import Material
from cmrfed.shapes import COLOURS, FIRST_TISSUE, STRUCTURES, Label
from cmrfed.slices import Slices

_POSITIONS: dict[int, tuple[str, ...]] = {0: (), 1: ("middle",), 2: ("base", "apex"), 3: ("base", "middle", "apex")}


@dataclass(frozen=True)
class OutlinePath:
    """A structure's edge as an SVG path in pixel coordinates."""

    colour: str
    path: str


@dataclass(frozen=True)
class Picture:
    """An image as a data URI, what it shows, its pixels a side, and outlines to lay over it."""

    uri: str
    alt: str
    size: int
    outlines: list[OutlinePath]


@dataclass(frozen=True)
class Strip:
    """One slice: its mask and every arm's image of it."""

    title: str
    pictures: list[Picture]


@dataclass(frozen=True)
class Plate:
    """One vendor's slices, base to apex, by phase."""

    vendor: str
    columns: list[str]
    phases: list[list[Strip]]


def plates(material: Material) -> list[Plate]:
    """A plate for each vendor, of its patient with most labelled slices, so that nobody picks by looks."""
    arms = {arm: material.synthetic[arm] for arm in material.scores if arm in material.synthetic}
    if not arms:
        return []
    main = material.main_arm if material.main_arm in arms else next(iter(arms))
    columns = ["mask", *(material.arm_title(arm) for arm in arms), f"{material.arm_title(main)}, with mask's edge"]
    columns += ["REAL held-out image"] if material.held_out else []
    found = []
    for index in np.unique(arms[main].conditions["vendor"]):
        chosen = choose_slices(arms[main], int(index))
        phases = [[_strip(title, row, arms, main, material.held_out) for title, row in rows] for rows in chosen]
        found.append(Plate(VENDORS[index], columns, phases))
    return [plate for plate in found if plate.phases]


def choose_slices(slices: Slices, vendor: int) -> list[list[tuple[str, int]]]:
    """By phase (title, row) of up to three slices, base first, of the vendor's visit with most of them."""
    labelled = np.isin(np.asarray(slices.masks), (Label.LV, Label.MYO)).any(axis=(1, 2)) & (
        slices.conditions["vendor"] == vendor
    )
    if not labelled.any():
        return []
    visits = np.unique(np.stack([slices.patients, slices.visits], axis=1)[labelled], axis=0)
    own = max((_of_visit(slices, labelled, *visit) for visit in visits.tolist()), key=lambda own: _worth(slices, own))
    chosen = []
    for phase, name in enumerate(PHASES):
        of_phase = own & (slices.conditions["phase"] == phase)
        rows = _base_first(slices, np.flatnonzero(of_phase))
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, 3).round().astype(int))] if len(rows) else rows
        chosen.append([(f"{name} {place}", int(row)) for place, row in zip(_POSITIONS[len(rows)], rows, strict=True)])
    return [rows for rows in chosen if rows]


def _of_visit(
    slices: Slices, labelled: Bool[np.ndarray, " slice"], patient: int, visit: int
) -> Bool[np.ndarray, " slice"]:
    return labelled & (slices.patients == patient) & (slices.visits == visit)


def _worth(slices: Slices, own: Bool[np.ndarray, " slice"]) -> tuple[int, int]:
    """Phases shown first, then slices."""
    return len(np.unique(slices.conditions["phase"][own])), int(own.sum())


def _base_first(slices: Slices, rows: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Scanners store stacks either way round; the heart is wider at its base."""
    areas = np.isin(slices.masks[rows], STRUCTURES).sum(axis=(1, 2))
    half = len(rows) // 2
    return rows[::-1] if areas[:half].sum() < areas[len(rows) - half :].sum() else rows


def _strip(title: str, row: int, arms: dict[str, Slices], main: str, held_out: Slices | None) -> Strip:
    mask = arms[main].masks[row]
    images = {f"synthetic, {arm}, {title}": own.images[row] for arm, own in arms.items()}
    pictures = [Picture(mask_uri(mask), f"mask, {title}", len(mask), [])]
    pictures += [Picture(image_uri(image), alt, len(mask), []) for alt, image in images.items()]
    edge = f"synthetic, {main}, with the mask's edge, {title}"
    pictures.append(Picture(image_uri(arms[main].images[row]), edge, len(mask), outlines(mask)))
    if held_out:
        real = _real_image(held_out, arms[main], row)
        pictures.append(Picture(image_uri(real), f"real held-out image, {title}", len(mask), []))
    return Strip(title, pictures)


def _real_image(held_out: Slices, synthetic: Slices, row: int) -> Float32[np.ndarray, "row column"]:
    """The held-out image that has this mask: synthetic slices are some of the held-out ones, in their order."""
    patient = held_out.patient_names.index(synthetic.patient_names[synthetic.patients[row]])
    candidates = held_out.of_patient(patient)
    for name in ("vendor", "phase"):
        candidates = candidates[held_out.conditions[name][candidates] == synthetic.conditions[name][row]]
    same = (held_out.masks[candidates] == synthetic.masks[row]).all(axis=(1, 2))
    return held_out.images[candidates[same.argmax()]]


def outlines(mask: UInt8[np.ndarray, "row column"]) -> list[OutlinePath]:
    """Edges of the structures; pixel (r, c) covers [c, c + 1] x [r, r + 1] of the SVG's plane."""
    found = []
    for structure in (Label.MYO, Label.RV, Label.LV):  # the LV's edge lies on the myocardium's inner one: last, on top
        contours = find_contours(np.pad(mask == structure, 1).astype(float), 0.5)
        lines = (" L".join(f"{column - 0.5:.1f} {row - 0.5:.1f}" for row, column in contour) for contour in contours)
        if path := "".join(f"M{line}Z" for line in lines):
            found.append(OutlinePath(COLOURS[structure], path))
    return found


def mask_uri(mask: UInt8[np.ndarray, "row column"]) -> str:
    """A mask in the label colours, on black; classes of tissue in greys, what nobody labelled in dark blue."""
    palette = np.zeros((256, 3))
    palette[UNLABELLED] = 0.1, 0.12, 0.25
    palette[FIRST_TISSUE : FIRST_TISSUE + MOST_TISSUES] = np.linspace(0.1, 0.6, MOST_TISSUES)[:, None]
    for label, colour in COLOURS.items():
        palette[label] = to_rgb(colour)
    return colour_uri(palette[mask])
