"""Small hearts drawn as discs: a myocardial ring around the LV, the RV to its left in the image."""

import numpy as np

from cmrfed.shapes import Label
from cmrfed.volumes import Case

SPACING_MM = (8.0, 1.5, 1.25)


def toy_mask(slices: int = 3, rows: int = 40, columns: int = 48, scale: float = 1.0) -> np.ndarray:
    """Labels (slice, row, column); `scale` shrinks the LV, as systole does."""
    row, column = np.mgrid[:rows, :columns]
    mask = np.zeros((rows, columns), np.uint8)
    mask[np.hypot(row - 20, column - 16) < 8] = Label.RV
    from_lv = np.hypot(row - 20, column - 28)
    mask[from_lv < 10] = Label.MYO
    mask[from_lv < 7 * scale] = Label.LV
    return np.repeat(mask[None], slices, axis=0)


def toy_image(mask: np.ndarray, seed: int = 0) -> np.ndarray:
    """Bright blood, dark muscle, and noise that differs by seed."""
    brightness = np.array([60, 220, 90, 200], np.float32)
    noise = np.random.default_rng(seed).normal(0, 5, mask.shape)
    return (brightness[mask] + noise).astype(np.float32)


def toy_case(patient: str = "mnms-A", phase: str = "ED", seed: int = 0, **fields: object) -> Case:
    """A case of an invented Siemens patient; `fields` override those of Case."""
    mask = fields.get("mask", toy_mask(scale=1.0 if phase == "ED" else 0.7))
    image = fields["image"] if "image" in fields else toy_image(mask, seed)
    known = {"spacing_mm": SPACING_MM, "dataset": "mnms", "vendor": "Siemens", "centre": "1", "pathology": "NOR"}
    return Case(patient=patient, phase=phase, **{**known, **fields, "image": image, "mask": mask})
