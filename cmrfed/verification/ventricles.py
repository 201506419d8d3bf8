"""Which ventricle is which, by anatomy: myocardium rings the left one, and the right one lies outside the ring."""

from collections.abc import Mapping

import numpy as np

from cmrfed.shapes import Label, VolumeMask

VENTRICLES = (Label.LV, Label.RV)
MOSTLY = 0.6
"""An RV of whose edge more lies on myocardium is an LV, and an LV of whose edge less does is none. In 300 masks of 150
real patients RVs had 0.1 to 0.45 of it, LVs above 0.95."""


def enclosed(mask: VolumeMask) -> dict[Label, float | None]:
    """Of each ventricle's in-plane edge, the part that lies on myocardium, 0 to 1; None where one is absent."""
    return {ventricle: _enclosed(mask, ventricle) for ventricle in VENTRICLES}


def are_swapped(parts: Mapping[Label, float | None]) -> bool:
    """Whether the RV is where the LV should be."""
    lv, rv = parts[Label.LV], parts[Label.RV]
    return rv is not None and rv >= MOSTLY and (lv is None or lv <= rv)


def contradict_anatomy(parts: Mapping[Label, float | None]) -> bool:
    """Whether labels cannot be what they are called: the ventricles are swapped, or the LV lies outside the ring."""
    lv = parts[Label.LV]
    return are_swapped(parts) or (lv is not None and lv < MOSTLY)


def _enclosed(mask: VolumeMask, ventricle: Label) -> float | None:
    outside = [
        (there[here == ventricle], here[there == ventricle])
        for here, there in ((mask[:, :-1], mask[:, 1:]), (mask[:, :, :-1], mask[:, :, 1:]))
    ]
    neighbours = np.concatenate([side for pair in outside for side in pair])
    leaving = neighbours[neighbours != ventricle]
    if not len(leaving) or not (mask == Label.MYO).any():
        return None
    return float(np.mean(leaving == Label.MYO))
