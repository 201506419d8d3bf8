"""What age and body size make of a healthy heart.

Volumes and mass are proportional to the body's surface, as reference ranges that are indexed by it have them. With age
both cavities get smaller, the muscle stays (Petersen et al., JCMR 2017: volumes fall, mass falls in men and not in
women; Chuang et al., J Magn Reson Imaging 2014: indexed mass does not vary with age), and so does the ejection fraction
(Petersen 2017).
"""

from dataclasses import dataclass, replace

from cmrfed.config import HeartConfig
from cmrfed.phantom.heart import Physiology, Sex

_MIDDLE_AGE = 60.0
"""Of the cohort that the phantom's healthy hearts are drawn after, 45 to 74 years old (Petersen 2017)."""


@dataclass(frozen=True)
class _Reference:
    """Of a sex. surface_m2: mean body surface where volumes are those of the phantom's health. lv_lost, rv_lost: the
    share of a ventricle's volume at middle age that goes in a decade."""

    surface_m2: float
    lv_lost: float
    rv_lost: float


_REFERENCES: dict[Sex, _Reference] = {
    # mass 103 g and 53 g/m2, 70 g and 42 g/m2 (Petersen 2017); LV EDV 167 to 146 ml and 139 to 118 ml from the third to
    # the eighth decade, means 156 and 128 (Maceira et al., JCMR 2006); RV EDV 177 to 150 ml and 142 to 112 ml, means
    # 163 and 127 (Maceira et al., Eur Heart J 2006; both as in Kawel-Boehm et al., JCMR 2015 and 2020)
    "M": _Reference(103 / 53, (167 - 146) / 5 / 156, (177 - 150) / 5 / 163),
    "F": _Reference(70 / 42, (139 - 118) / 5 / 128, (142 - 112) / 5 / 127),
}


def in_body(healthy: Physiology, asked: HeartConfig) -> Physiology:
    """The same person's healthy heart at the age and in the body that were asked for; null changes nothing.

    A cavity that is f times larger at the same muscle has a wall f^(2/3) times thinner.
    """
    reference = _REFERENCES[healthy.sex]
    size = 1.0 if asked.surface_m2 is None else asked.surface_m2 / reference.surface_m2
    decades = 0.0 if asked.age is None else (asked.age - _MIDDLE_AGE) / 10
    left, right = 1 - reference.lv_lost * decades, 1 - reference.rv_lost * decades
    return replace(
        healthy,
        lv_edv_ml=healthy.lv_edv_ml * size * left,
        rv_edv_ml=healthy.rv_edv_ml * size * right,
        wall_mm=healthy.wall_mm * size ** (1 / 3) / left ** (2 / 3),
        rv_wall_mm=healthy.rv_wall_mm * size ** (1 / 3) / right ** (2 / 3),
    )
