"""Two beating ventricles in mm: analytic shapes whose volumes, walls and motion follow published physiology.

Coordinates: z runs from the left ventricle's base at end diastole (0) to the apex; in the plane, s points from the left
ventricle's axis to the right ventricle and t to the anterior wall, so the angle atan2(t, s) is 0 at the septum, 90
degrees anterior, 180 lateral and 270 inferior. Surfaces are tabulated over z and angle as *squared* radii, because
incompressible wall then obeys a sum: epi^2 = endo^2 + (wall's area / pi).

Volumes, ejection fractions and wall thickness of healthy adults: Petersen et al., JCMR 2017 (UK Biobank), and
Kawel-Boehm et al., JCMR 2020. Disease: the definitions of ACDC's groups (Bernard et al., IEEE TMI 2018).
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Int
from numpy.random import Generator

from cmrfed.config import Disease
from cmrfed.phantom.fields import Plane, length

Pathology = Literal["NOR", "DCM", "HCM", "MINF", "RV"]
Sex = Literal["F", "M"]
Phase = Literal["ED", "ES"]
PATHOLOGIES: tuple[Pathology, ...] = ("NOR", "DCM", "HCM", "MINF", "RV")
"""What the phantom's own patients have; `cmrfed.anatomy` draws more."""

ANGLES = 512  # a power of two, for which the remainder is a bitwise "and"
_ANGLE = np.linspace(-np.pi, np.pi, ANGLES, endpoint=False, dtype=np.float32)
_STEP_MM = 1.0
_ABOVE_BASE_MM = 40.0
_RISE_MM, _CELL_MM = 6.0, 2.5  # slabs and cells that the right ventricle's volume is counted in

AngleTable = Float32[np.ndarray, "level angle"]
PerLevel = Float[np.ndarray, " level"]
Ring = Float32[np.ndarray, " angle"]
Turn = Int[np.ndarray, "row column"]


@dataclass(frozen=True)
class Physiology:
    """What one patient's heart should measure: volumes in mL, fractions 0..1, thickness in mm at end diastole.

    `severity` goes from 0, hardly different from health, to 1, extreme; it means nothing in health. How much of each
    disease's mark there is follows: `bulge_mm`, what the thickest sector of HCM stands out by; `thinning`, the share
    of a scar's wall that is gone, and `akinesia`, of its contraction (above 1 it bulges); `flattening` of the septum
    by the right ventricle's pressure, as a share of the radius. `leak`: what the right ventricle pumps beyond the left
    one's stroke, as a share of it: through a defect between the atria, or back through a valve that leaks.
    """

    pathology: Disease
    sex: Sex
    severity: float
    lv_edv_ml: float
    ejection_fraction: float
    rv_edv_ml: float
    wall_mm: float
    rv_wall_mm: float
    longitudinal_shortening: float
    bulge_mm: float = 0.0
    thinning: float = 0.0
    akinesia: float = 0.0
    flattening: float = 0.0
    leak: float = 0.0

    @property
    def stroke_volume_ml(self) -> float:
        """What the left ventricle pumps in a beat, and the right one too when nothing leaks."""
        return self.lv_edv_ml * self.ejection_fraction

    @property
    def rv_esv_ml(self) -> float:
        """What the stroke leaves in the right ventricle; the left one's valve leaks before less than three tenths."""
        return max(self.rv_edv_ml - self.stroke_volume_ml * (1 + self.leak), 0.3 * self.rv_edv_ml)


def sample_physiology(rng: Generator, pathology: Pathology, sex: Sex, severity: float | None = None) -> Physiology:
    """Draw a patient, of any severity unless it is given.

    Healthy men: LV EDV 166 +- 28 mL, EF 58 +- 5 %; women 124 +- 20 mL, EF 61 +- 5 % (Petersen 2017); the wall, 7.4 and
    6.1 mm at its thickest level, is what gives their LV mass of 103 +- 21 g and 70 +- 13 g (the same). DCM: EDV above
    normal, EF below 40 %. HCM: a wall above 15 mm somewhere, EF kept. MINF: EF below 45 %, a thin akinetic region. RV:
    a right ventricle larger than the left, with a thicker wall and, by its pressure, a flattened septum. Raises
    ValueError when severity is outside 0..1.
    """
    if severity is not None and not 0 <= severity <= 1:
        raise ValueError(f"severity must be between 0 and 1, found {severity}")
    man = sex == "M"
    edv = np.clip(rng.normal(166, 28), 95, 240) if man else np.clip(rng.normal(124, 20), 72, 175)
    fraction = np.clip(rng.normal(0.58 if man else 0.61, 0.05), 0.49, 0.71)
    rv_edv = edv * rng.uniform(0.9, 1.22)
    wall = np.clip(rng.normal(7.4, 1.3) if man else rng.normal(6.1, 1.1), 4.2, 11.5)
    rv_wall = rng.uniform(1.6, 3.0)
    severity = float(rng.random() if severity is None else severity)

    def worse(mild: float, extreme: float, spread: float) -> float:
        """Between the two by severity, and a little beside."""
        return mild + (extreme - mild) * severity + rng.uniform(-spread, spread)

    if pathology == "DCM":
        edv, fraction = edv * worse(1.3, 2.1, 0.1), worse(0.38, 0.14, 0.015)
        rv_edv, wall = rv_edv * worse(1.0, 1.35, 0.1), wall * worse(1.0, 0.8, 0.05)
    elif pathology == "HCM":
        edv, fraction = edv * worse(1.05, 0.75, 0.05), worse(0.62, 0.77, 0.02)
        rv_edv, wall = rv_edv * worse(1.0, 0.75, 0.05), wall * worse(1.05, 1.35, 0.05)
    elif pathology == "MINF":
        edv, fraction = edv * worse(1.0, 1.6, 0.1), worse(0.44, 0.2, 0.01)
    elif pathology == "RV":
        edv, fraction = edv * worse(1.0, 0.7, 0.05), rng.uniform(0.48, 0.66)
        rv_edv, rv_wall = rv_edv * worse(1.25, 1.7, 0.08), rv_wall * worse(1.1, 2.2, 0.1)
    shortening = np.clip(0.16 * fraction / 0.6 * rng.uniform(0.8, 1.2), 0.02, 0.24)
    measures = (float(one) for one in (edv, fraction, rv_edv, wall, rv_wall, shortening))
    return Physiology(pathology, sex, severity, *measures, **_marks(pathology, severity))


def _marks(pathology: Pathology, severity: float) -> dict[str, float]:
    """How much of a disease's mark there is."""
    marks: dict[Pathology, dict[str, float]] = {
        "HCM": {"bulge_mm": 5 + 11 * severity},
        "MINF": {"thinning": 0.2 + 0.4 * severity, "akinesia": 0.6 + 0.45 * severity},
        "RV": {"flattening": 0.1 + 0.22 * severity},
    }
    return marks.get(pathology, {})


@dataclass(frozen=True)
class HeartPoints:
    """Points of a short-axis plane in heart coordinates, with their distance from the LV axis and angle about it."""

    s: Plane
    t: Plane
    radius: Plane
    turn: Turn

    @classmethod
    def at(cls, s: Plane, t: Plane) -> "HeartPoints":
        """Points (s, t) in mm."""
        return cls(s, t, length(s, t), turn_of(s, t))

    def about(self, centre: tuple[float, float]) -> "HeartPoints":
        """The same points in coordinates about `centre` (s, t)."""
        return HeartPoints.at(self.s - np.float32(centre[0]), self.t - np.float32(centre[1]))


@dataclass(frozen=True)
class Section:
    """The surfaces in one short-axis plane, radii in mm by angle about the LV axis or the RV's own centre."""

    z_mm: float
    endo: Ring
    epi: Ring
    rv_centre: tuple[float, float]
    rv_radius: Ring

    def to_left(self, points: HeartPoints) -> tuple[Plane, Plane]:
        """Radial distance in mm, negative inside, to the LV's endocardium and to its epicardium."""
        return points.radius - self.endo.take(points.turn), points.radius - self.epi.take(points.turn)

    def to_right(self, about_rv: HeartPoints) -> Plane:
        """The same to the RV's endocardium, of points about `rv_centre`."""
        return np.asarray(about_rv.radius - self.rv_radius.take(about_rv.turn))


@dataclass(frozen=True)
class Ventricles:
    """Both ventricles at one phase, tabulated every mm of z from `top_mm` on.

    folding: how many times thicker than at end diastole the trabeculae of the left and of the right cavity are.
    """

    top_mm: float
    lv_base_mm: float
    rv_base_mm: float
    lv_length_mm: float
    endo_squared: AngleTable
    epi_squared: AngleTable
    rv_centre: Float32[np.ndarray, "level 2"]
    rv_radius: AngleTable
    folding: tuple[float, float] = (1.0, 1.0)

    def section(self, z_mm: float) -> Section:
        """The surfaces at height `z_mm`, whether or not the ventricles reach there."""
        level = np.clip((z_mm - self.top_mm) / _STEP_MM, 0, len(self.endo_squared) - 1.001)
        low, share = int(level), np.float32(level - int(level))

        def between(table: np.ndarray) -> np.ndarray:
            return table[low] * (1 - share) + table[low + 1] * share

        centre = between(self.rv_centre)
        return Section(
            z_mm,
            np.sqrt(np.maximum(between(self.endo_squared), 0)),
            np.sqrt(np.maximum(between(self.epi_squared), 0)),
            (float(centre[0]), float(centre[1])),
            between(self.rv_radius),
        )

    def volumes_ml(self) -> tuple[float, float, float]:
        """Volumes of LV blood, LV myocardium and RV blood, integrated over the tables."""
        below = (self._levels() >= self.lv_base_mm)[:, None]
        endo, epi = np.maximum(self.endo_squared, 0) * below, np.maximum(self.epi_squared, 0) * below
        to_ml = np.pi * _STEP_MM / ANGLES / 1000
        rows = _rv_rows(self._levels(), self.rv_base_mm, self.lv_base_mm + self.lv_length_mm)
        rv_ml = _FreeCells.of(self.epi_squared[rows], self.rv_centre[rows]).volume_ml(self.rv_radius[rows])
        return float(endo.sum() * to_ml), float((epi - endo).sum() * to_ml), rv_ml

    def _levels(self) -> PerLevel:
        return self.top_mm + _STEP_MM * np.arange(len(self.endo_squared))


@dataclass(frozen=True)
class Papillary:
    """One papillary muscle, relative to the cavity: angle in radians, heights as a share of the cavity's length.

    Its section is an oval, `length` times as long towards the wall as across.
    """

    angle: float
    radius_mm: float
    length: float
    wall_gap: float
    first: float
    last: float


@dataclass(frozen=True)
class Heart:
    """One patient's ventricles at both phases, with the muscles that cross the blood pool."""

    physiology: Physiology
    phases: dict[Phase, Ventricles]
    papillaries: tuple[Papillary, ...]
    trabeculation: float


@dataclass(frozen=True)
class RightExtent:
    """Between which numbers it is drawn how far a right ventricle goes, and how it lies about the left one.

    reach: where it ends, as a share of the way from its base to the left one's apex; it is about 7 cm long (Rudski et
    al., JASE 2010), the left one 8. base_above_mm: its base, above the left one's. shortening: its reach at end
    systole, of that at end diastole. centre: of its outline, and insertion: the end of its arms, both from the left
    one's axis, in that one's radii. bluntness: half of its outline's least width there, as a share of its height.
    tilt_rad: of its outline about its own centre, the lower part away from the left ventricle.
    """

    reach: tuple[float, float] = (0.72, 1.0)
    base_above_mm: tuple[float, float] = (-10.0, 10.0)
    shortening: tuple[float, float] = (0.85, 1.0)
    centre: tuple[float, float] = (0.4, 0.75)
    insertion: tuple[float, float] = (0.0, 0.3)
    bluntness: float = 0.5
    tilt_rad: float = 0.0


def sample_heart(rng: Generator, physiology: Physiology, right: RightExtent = RightExtent()) -> Heart:
    """Draw a heart with the wanted measurements: a blunt ellipsoid with an uneven wall, and a crescent beside it.

    From ED to ES the cavity shrinks ring by ring and shortens; each sector of wall keeps its volume, so that it
    thickens as its cavity empties. Infarcted sectors neither shrink nor thicken.
    """
    diastole = _left_ventricle(rng, physiology)
    systole = _contract(diastole, physiology)
    shape = _RightShape.sample(rng, right)
    shorter = replace(shape, reach=shape.reach * rng.uniform(*right.shortening))
    return Heart(
        physiology,
        {
            "ED": _with_right_ventricle(diastole, shape, physiology.rv_edv_ml),
            "ES": replace(
                _with_right_ventricle(systole, shorter, physiology.rv_esv_ml),
                folding=_folding(physiology),
            ),
        },
        _sample_papillaries(rng),
        rng.uniform(0.0, 1.0),
    )


def _folding(physiology: Physiology) -> tuple[float, float]:
    """At end systole. The muscle within a cavity, about a fifth of the left ventricle's mass (papillary muscles 9 %:
    Vogel-Claussen et al., JCMR 2006; trabeculae 12 %: Jacquier et al., Eur Heart J 2010), keeps its volume, while the
    cavity's girth falls with the root of its area, and its length by the shortening. Less of it is seen where the
    cavity all but closes, as in HCM."""
    emptied = 1 / (1 - physiology.ejection_fraction), physiology.rv_edv_ml / physiology.rv_esv_ml
    lv, rv = (float(np.sqrt(ratio / (1 - physiology.longitudinal_shortening))) for ratio in emptied)
    return lv, rv


@dataclass(frozen=True)
class _LeftVentricle:
    """Squared radii over material height u (0 base .. 1 apex) and angle; z = base + u length."""

    u: Float32[np.ndarray, " level"]
    base_mm: float
    length_mm: float
    endo_squared: AngleTable
    ring: AngleTable
    scar: AngleTable


def _left_ventricle(rng: Generator, physiology: Physiology) -> _LeftVentricle:
    """End diastole. Length over the cube root of the volume, about 1.6 in health, falls as the ventricle dilates."""
    roundness = rng.uniform(1.4, 1.55) if physiology.pathology == "DCM" else rng.uniform(1.52, 1.75)
    length = roundness * np.cbrt(physiology.lv_edv_ml * 1000)
    u = np.arange(-_ABOVE_BASE_MM, length + 25, _STEP_MM, dtype=np.float32) / np.float32(length)
    equator, bluntness = rng.uniform(0.15, 0.35), rng.uniform(1.9, 2.5)
    towards = (u - equator) / (1 - equator)
    profile = np.where(towards > 0, 1 - np.abs(towards) ** bluntness, 1 - 0.5 * towards**2)
    shape = profile[:, None] * _uneven(rng, u, (0.0, 0.05, 0.025, 0.015)) ** 2
    flattening = physiology.flattening + rng.uniform(0.0, 0.08)
    shape = shape * (1 - flattening * np.exp(-((_ANGLE / 0.75) ** 2)))[None, :] ** 2
    inside = ((u >= 0) & (u <= 1))[:, None]
    volume_per_r2 = np.pi * (np.maximum(shape, 0) * inside).sum() * _STEP_MM / ANGLES
    endo_squared = shape * (physiology.lv_edv_ml * 1000 / volume_per_r2)
    scar = _infarct(rng, physiology, u)
    wall = _wall_thickness(rng, physiology, u) * (1 - physiology.thinning * scar)
    ring = 2 * np.sqrt(np.maximum(endo_squared, 0)) * wall + wall**2
    return _LeftVentricle(u, 0.0, float(length), _f32(endo_squared), _f32(ring), _f32(scar))


def _wall_thickness(rng: Generator, physiology: Physiology, u: np.ndarray) -> np.ndarray:
    """By segment: thickest at the basal septum, at the very apex 1 to 3 mm (Bradfield et al., Br Heart J 1977); in HCM
    with a bulge, most often septal."""
    along = np.interp(u, [0.0, 0.1, 0.5, 0.85, 1.0, 1.2], [0.9, 1.0, 0.96, 0.7, 0.4, 0.3])
    septal = 1 + rng.uniform(0.0, 0.14) * np.cos(_ANGLE)
    wall = physiology.wall_mm * along[:, None] * septal[None, :] * _uneven(rng, u, (0.03, 0.04, 0.03, 0.02))
    if physiology.pathology == "HCM":
        place = rng.choice([rng.normal(0.3, 0.35), rng.uniform(-np.pi, np.pi)], p=[0.8, 0.2])
        height, reach = rng.choice([0.3, 0.8], p=[0.8, 0.2]), rng.uniform(0.25, 0.45)
        bulge = np.exp(-0.5 * (_wrapped(_ANGLE - place) / rng.uniform(0.6, 1.1)) ** 2)
        wall = wall + physiology.bulge_mm * bulge[None, :] * np.exp(-0.5 * ((u - height) / reach) ** 2)[:, None]
    return wall


def _infarct(rng: Generator, physiology: Physiology, u: np.ndarray) -> np.ndarray:
    """0 in healthy wall to 1 in scar: one coronary's territory (AHA segments, Cerqueira et al., Circulation 2002)."""
    if physiology.pathology != "MINF":
        return np.zeros((len(u), ANGLES))
    territories = {"LAD": (0.9, 0.75), "RCA": (-1.2, 0.3), "LCX": (2.7, 0.35)}
    angle, height = territories[rng.choice(list(territories), p=[0.5, 0.3, 0.2])]
    width, reach = rng.uniform(0.6, 1.0), rng.uniform(0.25, 0.45)
    around = np.exp(-0.5 * (_wrapped(_ANGLE - angle - rng.normal(0, 0.2)) / width) ** 4)
    along = np.exp(-0.5 * ((u - height) / reach) ** 4)
    return along[:, None] * around[None, :]


def _contract(lv: _LeftVentricle, physiology: Physiology) -> _LeftVentricle:
    """End systole: cavity sections shrink by 1 - c (1 - akinesia scar) with c set by the ejection fraction."""
    length = lv.length_mm * (1 - physiology.longitudinal_shortening)
    # the apex all but empties, the base the least (Bogaert & Rademakers, Am J Physiol 2001)
    mobile = (1 - physiology.akinesia * lv.scar) * np.clip(0.8 + 0.5 * lv.u, 0.8, 1.3)[:, None]
    cavity = np.maximum(lv.endo_squared, 0) * ((lv.u >= 0) & (lv.u <= 1))[:, None]
    wanted = 1 - (1 - physiology.ejection_fraction) * lv.length_mm / length
    contraction = wanted * cavity.sum() / (mobile * cavity).sum()
    endo_squared = lv.endo_squared * np.maximum(1 - contraction * mobile, 0.03)
    # every sector keeps its volume while its slab gets thinner by length / lv.length_mm
    ring = lv.ring * (lv.length_mm / length)
    return _LeftVentricle(lv.u, lv.length_mm - length, length, _f32(endo_squared), _f32(ring), lv.scar)


@dataclass(frozen=True)
class _RightShape:
    """The right ventricle's outline relative to the left one: see `_right_outline` for how each number is used."""

    centre: float
    height: float
    outflow_mm: float
    outflow: float
    squareness: float
    reach: float
    insertion: float
    bluntness: float
    tilt_rad: float
    base_above_mm: float
    harmonics: Ring

    @classmethod
    def sample(cls, rng: Generator, extent: RightExtent) -> "_RightShape":
        return cls(
            centre=rng.uniform(*extent.centre),
            height=rng.uniform(0.92, 1.3),
            outflow_mm=rng.uniform(0, 14),
            outflow=rng.uniform(0.0, 0.45),
            squareness=rng.uniform(1.7, 2.6),
            reach=rng.uniform(*extent.reach),
            insertion=rng.uniform(*extent.insertion),
            bluntness=extent.bluntness,
            tilt_rad=extent.tilt_rad,
            base_above_mm=rng.uniform(*extent.base_above_mm),
            harmonics=_f32(_uneven(rng, np.zeros(1), (0.0, 0.05, 0.07, 0.05, 0.03))[0]),
        )


def _with_right_ventricle(lv: _LeftVentricle, shape: _RightShape, volume_ml: float) -> Ventricles:
    """Tabulate both ventricles over z, the right one swollen or shrunk until it holds `volume_ml`."""
    z = np.arange(-_ABOVE_BASE_MM, lv.base_mm + lv.length_mm + 20, _STEP_MM, dtype=np.float32)
    u = (z - lv.base_mm) / lv.length_mm
    endo, epi = _resample(lv.endo_squared, lv.u, u), _resample(lv.endo_squared + lv.ring, lv.u, u)
    # the tricuspid ring descends further than the mitral one
    base, apex = 1.5 * lv.base_mm - shape.base_above_mm, lv.base_mm + lv.length_mm
    epi_mm = np.sqrt(np.maximum(epi.mean(1), 1.0))
    rows = _rv_rows(z, base, apex)
    size, cells = 1.0, None
    for _ in range(6):
        centre, radius = _right_outline(z[rows], epi_mm[rows], float(epi_mm.max()), shape, base, apex, size)
        cells = cells or _FreeCells.of(epi[rows], centre)
        size *= float(np.clip(volume_ml / max(cells.volume_ml(radius), 1.0), 0.5, 2.0)) ** 0.6
    centre, radius = _right_outline(z, epi_mm, float(epi_mm.max()), shape, base, apex, size)
    return Ventricles(float(z[0]), lv.base_mm, base, lv.length_mm, endo, epi, centre, radius)


def _right_outline(
    z: PerLevel, epi: PerLevel, widest: float, shape: _RightShape, base: float, apex: float, size: float
) -> tuple[Float32[np.ndarray, "level 2"], AngleTable]:
    """Centre and radius at the levels z: a superellipse whose part outside the left ventricle is the crescent. One half
    reaches away from the septum, a flatter one back to the insertions; it shrinks to the apex and ends before it.

    epi: mean radius of the epicardium by level; widest: the largest of all levels.
    """
    v = np.clip((z - base) / (shape.reach * (apex - base)), 0, 1)
    ends = int(np.searchsorted(v, 1))
    taper = (1 - v**2.2) ** 0.7
    half_height = shape.height * (0.35 * widest + 0.65 * epi) * (1 - 0.45 * v**1.3) * size**0.5
    centre_s = shape.centre * epi
    away = epi - centre_s + 0.85 * widest * size * taper
    # no shorter than this, or the outline would have corners at the insertions
    back = np.maximum(centre_s - shape.insertion * epi, shape.bluntness * half_height)
    centre_t = shape.outflow_mm * (1 - 2.2 * v)
    cos, sin = (of(_ANGLE - shape.tilt_rad)[None, :] for of in (np.cos, np.sin))
    half_width = np.where(cos > 0, away[:ends, None], back[:ends, None])
    # towards the outflow tract, in front, the basal half is drawn out
    drawn_out = 1 + shape.outflow * np.clip(1 - 2 * v[:ends], 0, 1)
    half_height = half_height[:ends, None] * np.where(sin > 0, drawn_out[:, None], 1)
    power = shape.squareness
    radius = np.zeros((len(z), ANGLES), np.float32)
    radius[:ends] = shape.harmonics / (np.abs(cos / half_width) ** power + np.abs(sin / half_height) ** power) ** (
        1 / power
    )
    return _f32(np.stack([centre_s, centre_t], 1)), radius


@dataclass(frozen=True)
class _FreeCells:
    """Grid cells which the left ventricle leaves free, in planes `_RISE_MM` apart, as the right ventricle sees them:
    distance from its centre, and place in its raveled table of radii."""

    radius: Float32[np.ndarray, " cell"]
    place: Int[np.ndarray, " cell"]

    @classmethod
    def of(cls, epi_squared: AngleTable, centre: Float32[np.ndarray, "level 2"]) -> "_FreeCells":
        points = _cells()
        radii, places = [], []
        for level, (outline, middle) in enumerate(zip(np.sqrt(np.maximum(epi_squared, 0)), centre, strict=True)):
            free = np.flatnonzero(points.radius > outline.take(points.turn))
            about_rv = points.about((float(middle[0]), float(middle[1])))
            radii.append(about_rv.radius.take(free))
            places.append(about_rv.turn.take(free) + level * ANGLES)
        return cls(np.concatenate(radii), np.concatenate(places))

    def volume_ml(self, rv_radius: AngleTable) -> float:
        """Of the cells inside the right ventricle's outline."""
        inside = np.count_nonzero(self.radius < rv_radius.ravel().take(self.place))
        return inside * _CELL_MM**2 * _RISE_MM / 1000


@cache
def _cells() -> HeartPoints:
    """The middles of all cells of a plane."""
    s, t = np.meshgrid(_f32(np.arange(-35, 125, _CELL_MM)), _f32(np.arange(-80, 80, _CELL_MM)))
    return HeartPoints.at(s, t)


def _rv_rows(z: PerLevel, base: float, apex: float) -> Int[np.ndarray, " row"]:
    """Rows of a table over z in the middles of slabs of `_RISE_MM` from the right ventricle's base on."""
    return np.searchsorted(z, np.arange(base + _RISE_MM / 2, apex, _RISE_MM))


def _sample_papillaries(rng: Generator) -> tuple[Papillary, ...]:
    """The anterolateral and the posteromedial muscle, each of one to three heads."""

    def heads(angle: float) -> list[Papillary]:
        count = int(rng.choice([1, 2, 3], p=[0.45, 0.4, 0.15]))
        return [
            Papillary(
                angle=angle + (head - (count - 1) / 2) * rng.uniform(0.25, 0.5),
                radius_mm=rng.uniform(2.8, 6.0) / count**0.4,
                length=rng.uniform(0.9, 1.8),
                wall_gap=rng.uniform(-0.7, 1.0),
                first=rng.uniform(0.15, 0.4),
                last=rng.uniform(0.65, 0.95),
            )
            for head in range(count)
        ]

    return (*heads(rng.normal(2.2, 0.2)), *heads(rng.normal(-2.2, 0.25)))


def _uneven(rng: Generator, u: np.ndarray, amplitudes: tuple[float, ...]) -> np.ndarray:
    """1 + sum_k a_k cos(k angle + phase_k), the phase turning slowly with height."""
    total = np.ones((len(u), ANGLES))
    for k, amplitude in enumerate(amplitudes, start=1):
        phase, height = rng.uniform(-np.pi, np.pi) + rng.normal(0, 1.5) * u, amplitude * rng.normal()
        if amplitude:
            total += height * np.cos(k * _ANGLE[None, :] + phase[:, None])
    return total


def _resample(table: AngleTable, u: np.ndarray, wanted: np.ndarray) -> Float32[np.ndarray, "resampled angle"]:
    level = np.clip((wanted - u[0]) / (u[1] - u[0]), 0, len(u) - 1.001)
    low = level.astype(int)
    share = (level - low)[:, None]
    return _f32(table[low] * (1 - share) + table[low + 1] * share)


def turn_of(s: Plane, t: Plane) -> Turn:
    """Index into a ring's angles of each point."""
    turn = (np.arctan2(t, s) * np.float32(ANGLES / (2 * np.pi)) + np.float32(ANGLES / 2)).astype(np.intp)
    return np.asarray(turn & (ANGLES - 1))


def _wrapped(angle: np.ndarray) -> np.ndarray:
    return (angle + np.pi) % (2 * np.pi) - np.pi


def _f32(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, dtype=np.float32)
