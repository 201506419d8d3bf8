"""The course of a disease: one person's heart from health to its extreme, and what of it a request fixes.

Both ends are drawn by the phantom's physiology from the same numbers, so that they are the same person; every measure
goes from one to the other in proportion to severity, and with it monotonically.
"""

from dataclasses import fields, replace

from numpy.random import Generator, default_rng

from cmrfed.config import HeartConfig
from cmrfed.phantom.heart import Physiology, Sex, sample_physiology

_LEAST_EF, _MOST_EF = 0.05, 0.85
_LEAST_ML, _MOST_ML = 20.0, 500.0
_SHORTENING_BY_EF = 0.16 / 0.6
"""Of the long axis, by ejection fraction, as the phantom has it in health."""


def physiology_of(asked: HeartConfig, rng: Generator) -> Physiology:
    """What the heart is to measure: drawn where nothing is asked, and as asked where something is.

    The right ventricle keeps its proportion to the left one unless it is asked for itself. The wall is left as it is
    drawn: it depends on the slices, `cmrfed.anatomy.parametric`.
    """
    person = int(rng.integers(2**63))
    sex: Sex = asked.sex or ("M" if rng.random() < 0.5 else "F")
    severity = float(rng.random()) if asked.severity is None else asked.severity
    healthy = sample_physiology(default_rng(person), "NOR", sex, severity)
    extreme = sample_physiology(default_rng(person), asked.pathology, sex, 1.0)
    return _fixed(_between(healthy, extreme, severity), asked)


def _between(healthy: Physiology, extreme: Physiology, severity: float) -> Physiology:
    """In health there is no severity."""
    if extreme.pathology == "NOR":
        return replace(extreme, severity=0.0)
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
    shortening = drawn.longitudinal_shortening + _SHORTENING_BY_EF * (ef - drawn.ejection_fraction)
    return replace(
        drawn,
        lv_edv_ml=edv,
        ejection_fraction=min(max(ef, _LEAST_EF), _MOST_EF),
        rv_edv_ml=asked.rv_edv_ml or drawn.rv_edv_ml * edv / drawn.lv_edv_ml,
        longitudinal_shortening=min(max(shortening, 0.02), 0.24),
    )
