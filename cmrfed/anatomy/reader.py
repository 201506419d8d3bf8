"""Outlines as readers draw them: near a heart's walls, a little inside its cavity, and never thin at the apex.

Readers draw the endocardium along the compact wall, or a little inside it where trabeculae lie (Schulz-Menger et al.,
JCMR 2020); at the apex a slice cuts the wall aslant, and what is outlined is thicker than the 1 to 3 mm of muscle that
are there (Bradfield et al., Br Heart J 1977). Two experts' outlines of one ventricle lie 1 to 1.5 mm apart (Bernard et
al., IEEE TMI 2018, table V). How much of each there is was set so that walls by level, and their unevenness, are
those of the development half of M&Ms and ACDC.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32
from numpy.random import Generator

from cmrfed.phantom.heart import ANGLES, Phase, RightExtent, Section, Ventricles

RIGHT = RightExtent(
    reach=(0.92, 1.14), base_above_mm=(-14.0, 6.0), shortening=(0.98, 1.12), centre=(0.8, 1.1), insertion=(0.4, 0.7),
    bluntness=0.1, tilt_rad=0.6,
)  # fmt: skip
"""Readers follow the right ventricle to the last slices, beyond the phantom's end, and outline less of its base. Its
arms end in corners beside the septum, and its lower part lies further from it."""
TURN = (-0.49, 0.51)
"""Mean and standard deviation in radians of a heart in the image."""

_WAVES = np.arange(1, 9)
_TURNS = _WAVES[:, None] * np.linspace(-np.pi, np.pi, ANGLES, endpoint=False)
_COS, _SIN = np.cos(_TURNS), np.sin(_TURNS)
_DECAY = np.exp(-_WAVES / 5)
_SYSTOLIC = 1.3
"""Of the endocardium's inset: trabeculae fold up."""
_APICAL = (0.5, 0.9)
"""Level, 0 the base and 1 the apex, from which on the wall is drawn thicker than it is, and where all of it is."""
_RIGHT_WANDERS = 1.3
"""How much further the right ventricle's outline strays than the left one's."""
_SURE_MM = 15.0
"""Radius of a cavity in which the outline wanders as far as it does anywhere; in a smaller one, less."""


@dataclass(frozen=True)
class Reader:
    """inset_mm: how far inside the wall the endocardium is drawn, at end diastole. apical_mm: the thinnest wall that is
    drawn at the apex. wander_mm: how far the left ventricle's outlines stray (rms)."""

    inset_mm: float
    apical_mm: float
    wander_mm: float

    @classmethod
    def sample(cls, rng: Generator) -> "Reader":
        return cls(inset_mm=rng.uniform(0.6, 2.2), apical_mm=rng.uniform(3.6, 6.8), wander_mm=rng.uniform(0.5, 1.1))

    def outlined(self, ventricles: Ventricles, cuts_mm: Sequence[float], phase: Phase, rng: Generator) -> list[Section]:
        """The sections at these heights, as they are drawn; more of them change nothing in the others."""
        sections = [ventricles.section(z) for z in cuts_mm]
        levels = (np.array(cuts_mm) - ventricles.lv_base_mm) / ventricles.lv_length_mm
        endo, epi, rv = (np.stack([getattr(one, name) for one in sections]) for name in ("endo", "epi", "rv_radius"))
        inset = self.inset_mm * (_SYSTOLIC if phase == "ES" else 1.0)
        apical = np.interp(levels, _APICAL, (0, 1))[:, None] * self.apical_mm
        wall = np.maximum(epi - endo + inset, apical)
        inner, outer, right = (_wandering(own, len(sections), self.wander_mm) for own in rng.spawn(3))
        inner = inner * np.clip(endo.mean(1, keepdims=True) / _SURE_MM, 0.2, 1)
        drawn_endo = np.maximum(endo + inner, 0.3 * endo)
        drawn_epi = drawn_endo + np.maximum(wall + outer - inner, 0.5 * wall)
        drawn_rv = np.maximum(rv + _RIGHT_WANDERS * right, 0.3 * rv) * (rv > 0)
        drawn = (one.astype(np.float32) for one in (drawn_endo, drawn_epi, drawn_rv))
        return [
            replace(section, endo=endo, epi=epi, rv_radius=rv)
            for section, endo, epi, rv in zip(sections, *drawn, strict=True)
        ]


def _wandering(rng: Generator, sections: int, rms_mm: float) -> Float32[np.ndarray, "section angle"]:
    """Smooth along the outline, and from one slice to the next."""
    strength = rng.normal(size=_WAVES.size) * _DECAY * rms_mm / np.sqrt((_DECAY**2).sum() / 2)
    phases = rng.uniform(-np.pi, np.pi, _WAVES.size) + np.cumsum(rng.normal(0, 0.8, (sections, _WAVES.size)), axis=0)
    return np.asarray((strength * np.cos(phases)) @ _COS - (strength * np.sin(phases)) @ _SIN, np.float32)
