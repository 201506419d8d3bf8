"""The course of a disease: one person's heart from health to its extreme, and what of it a request fixes.

The extreme is the same person's healthy heart times the disease's factors, so that both ends are the same person; every
measure goes from one to the other in proportion to severity, and with it monotonically. A disease more is an entry in
`EXTREMES`, and its name in `cmrfed.config.Disease`.
"""

from dataclasses import dataclass, fields, replace

from numpy.random import Generator, default_rng

from cmrfed.anatomy.body import in_body
from cmrfed.config import Disease, HeartConfig
from cmrfed.phantom.heart import Physiology, Sex, sample_physiology

_LEAST_EF, _MOST_EF = 0.05, 0.85
_LEAST_ML, _MOST_ML = 20.0, 500.0
_LEAST_SHORTENING, _MOST_SHORTENING = 0.02, 0.24
_SHORTENING_BY_EF = 0.16 / 0.6
"""Of the long axis, by ejection fraction, as the phantom has it in health."""
_SPREAD = 0.08
"""How far one person's factors of volume are from another's, to either side."""


@dataclass(frozen=True)
class Extreme:
    """A disease at severity 1: how many times the same person's healthy measures its own are; and `Physiology`'s
    marks."""

    lv_edv: float = 1.0
    ejection_fraction: float = 1.0
    rv_edv: float = 1.0
    wall: float = 1.0
    rv_wall: float = 1.0
    bulge_mm: float = 0.0
    thinning: float = 0.0
    akinesia: float = 0.0
    flattening: float = 0.0
    leak: float = 0.0


EXTREMES: dict[Disease, Extreme] = {
    "NOR": Extreme(),
    # muscle is added as the cavity grows, so that the wall is about as thick as before (eccentric hypertrophy)
    "DCM": Extreme(lv_edv=2.1, ejection_fraction=0.24, rv_edv=1.35),
    "HCM": Extreme(lv_edv=0.75, ejection_fraction=1.15, rv_edv=0.75, wall=1.25, bulge_mm=13.0),
    # what is left of the wall thickens (Pfeffer & Braunwald, Circulation 1990)
    "MINF": Extreme(lv_edv=1.6, ejection_fraction=0.34, wall=1.25, thinning=0.6, akinesia=1.05),
    "RV": Extreme(lv_edv=0.7, rv_edv=1.45, rv_wall=2.2, flattening=0.32, leak=0.3),
    # RV EDV 209 and LV EDV 85 ml before closure, 141 and 106 ml after (Teo et al., JCMR 2008); Qp/Qs 2.1 +- 0.5
    # (Stephensen et al., Int J Cardiovasc Imaging 2019)
    "ASD": Extreme(lv_edv=0.75, rv_edv=1.9, rv_wall=1.2, flattening=0.25, leak=1.5),
    # RV EDV 154 +- 53 ml/m2, RV EF 50 +- 9 % and 38 +- 17 % regurgitation after a patch (J Magn Reson Imaging 2007,
    # 26:934); the left ventricle suffers too (Geva, JCMR 2011)
    "TOF": Extreme(lv_edv=0.95, ejection_fraction=0.9, rv_edv=2.1, rv_wall=2.5, flattening=0.22, leak=1.0),
}


def physiology_of(asked: HeartConfig, rng: Generator) -> Physiology:
    """What the heart is to measure: drawn where nothing is asked, and as asked where something is.

    The right ventricle keeps its proportion to the left one unless it is asked for itself. The wall is left as it is
    drawn: it depends on the slices, `cmrfed.anatomy.parametric`.
    """
    person = default_rng(int(rng.integers(2**63)))
    sex: Sex = asked.sex or ("M" if rng.random() < 0.5 else "F")
    severity = float(rng.random()) if asked.severity is None else asked.severity
    healthy = in_body(sample_physiology(person, "NOR", sex, severity), asked)
    return _fixed(_between(healthy, _at_worst(healthy, asked.pathology, person), severity), asked)


def _at_worst(healthy: Physiology, disease: Disease, person: Generator) -> Physiology:
    """The same person's heart at severity 1."""
    extreme = EXTREMES[disease]
    left, right = person.uniform(1 - _SPREAD, 1 + _SPREAD, 2)
    shortening = healthy.longitudinal_shortening * extreme.ejection_fraction
    return Physiology(
        disease,
        healthy.sex,
        1.0,
        healthy.lv_edv_ml * (1 + (extreme.lv_edv - 1) * left),
        min(healthy.ejection_fraction * extreme.ejection_fraction, _MOST_EF),
        healthy.rv_edv_ml * (1 + (extreme.rv_edv - 1) * right),
        healthy.wall_mm * extreme.wall,
        healthy.rv_wall_mm * extreme.rv_wall,
        min(max(shortening, _LEAST_SHORTENING), _MOST_SHORTENING),
        extreme.bulge_mm,
        extreme.thinning,
        extreme.akinesia,
        extreme.flattening,
        extreme.leak,
    )


def _between(healthy: Physiology, extreme: Physiology, severity: float) -> Physiology:
    """In health there is no severity."""
    if extreme.pathology == "NOR":
        return replace(healthy, severity=0.0)
    measures = [field.name for field in fields(Physiology) if field.name not in ("pathology", "sex", "severity")]
    ends = {name: (getattr(healthy, name), getattr(extreme, name)) for name in measures}
    between = {name: low + severity * (high - low) for name, (low, high) in ends.items()}
    return replace(extreme, severity=severity, **between)


def _fixed(drawn: Physiology, asked: HeartConfig) -> Physiology:
    edv, ef = asked.edv_ml or drawn.lv_edv_ml, asked.ef or drawn.ejection_fraction
    if asked.esv_ml is not None and asked.ef is not None:
        edv = asked.esv_ml / (1 - asked.ef)
    elif asked.esv_ml is not None:
        edv = asked.edv_ml or min(max(asked.esv_ml / (1 - drawn.ejection_fraction), _LEAST_ML), _MOST_ML)
        ef = 1 - asked.esv_ml / edv
    edv = min(max(edv, _LEAST_ML), _MOST_ML)
    rv_edv = asked.rv_edv_ml or drawn.rv_edv_ml * edv / drawn.lv_edv_ml
    shortening = drawn.longitudinal_shortening + _SHORTENING_BY_EF * (ef - drawn.ejection_fraction)
    return replace(
        drawn,
        lv_edv_ml=edv,
        ejection_fraction=min(max(ef, _LEAST_EF), _MOST_EF),
        rv_edv_ml=min(max(rv_edv, _LEAST_ML), _MOST_ML),
        longitudinal_shortening=min(max(shortening, _LEAST_SHORTENING), _MOST_SHORTENING),
    )
