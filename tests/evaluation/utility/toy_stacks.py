"""Stacks small enough to check by hand, and hearts that a small network learns in seconds."""

import numpy as np

from cmrfed.columns import columns
from cmrfed.shapes import Label
from cmrfed.slices import Patient, Slices

LV, MYO, RV = (int(label) for label in (Label.LV, Label.MYO, Label.RV))
SPACING_MM = (10.0, 2.0, 1.0)


def record(number=0, vendor="Siemens", pathology="NOR", dataset="toy"):
    return Patient(f"{dataset}-{number:03}", dataset, vendor, "1", pathology)


def blocks(slices=3):
    """All three structures in every slice, as blocks of known size."""
    masks = np.zeros((slices, 16, 16), np.uint8)
    masks[:, 2:6, 2:6], masks[:, 2:6, 8:12], masks[:, 9:13, 2:6] = LV, MYO, RV
    return masks


def slices_of(stacks, spacing_mm=SPACING_MM, images=None, visits=None):
    """Slices of (record, phase, masks) triples; images are zero and everything is of one visit unless given."""
    records = tuple(sorted({owner for owner, _, _ in stacks}))
    lengths = [len(masks) for _, _, masks in stacks]
    masks = np.concatenate([masks for _, _, masks in stacks])
    named = {
        "vendor": np.repeat([owner.vendor for owner, _, _ in stacks], lengths),
        "phase": np.repeat([phase for _, phase, _ in stacks], lengths),
    }
    return Slices(
        images=np.zeros(masks.shape, np.float32) if images is None else images.astype(np.float32),
        masks=masks,
        conditions=columns(len(masks), named),
        patients=np.repeat(np.array([records.index(owner) for owner, _, _ in stacks], np.int64), lengths),
        visits=np.repeat(np.array(visits or [0] * len(stacks), np.int64), lengths),
        stacks=np.repeat(np.arange(len(stacks), dtype=np.int64), lengths),
        spacing_mm=np.tile(np.array(spacing_mm, np.float64), (len(masks), 1)),
        records=records,
    )


def one_stack(masks, spacing_mm=SPACING_MM):
    return slices_of([(record(), "ED", masks)], spacing_mm)


def discs(count, seed, size=24, radius=4.0):
    """Masks of a disc (LV) in a ring (MYO) beside a block (RV), somewhere near the middle."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    masks = np.zeros((count, size, size), np.uint8)
    for mask, (down, across) in zip(masks, size * random.uniform(0.4, 0.6, (count, 2)), strict=True):
        mask[(columns < across - 6) & (abs(rows - down) < 4)] = RV
        mask[np.hypot(rows - down, columns - across) < radius + 2] = MYO
        mask[np.hypot(rows - down, columns - across) < radius] = LV
    return masks


def imaged(masks, seed, levels=(-1.0, 1.0, -0.4, 0.4)):
    """Bright blood, grey wall, black around it: separable by eye."""
    noise = 0.05 * np.random.default_rng(seed).standard_normal(masks.shape)
    return (np.array(levels)[masks] + noise).clip(-1, 1)


def cohort(records, seed, slices=2, size=24, shrink=0.6):
    """Slices of these patients at both phases; systole shrinks the cavity by `shrink`."""
    stacks = [
        (owner, phase, discs(slices, seed + 2 * number + (phase == "ES"), size, 4.0 * (shrink if phase == "ES" else 1)))
        for number, owner in enumerate(records)
        for phase in ("ED", "ES")
    ]
    masks = np.concatenate([masks for _, _, masks in stacks])
    return slices_of(stacks, images=imaged(masks, seed))
