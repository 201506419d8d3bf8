"""What surrounds the heart in a short-axis plane: lungs, chest wall, diaphragm and organs below it, aorta and spine.

Coordinates in mm about the heart: x to the patient's left, y to the posterior, before the operator turns the image
(see `scan`); so the chest wall is at the top left, the left lung on the right, the liver at the lower left and the
spine and descending aorta at the lower right. z runs from base to apex; the organs below the diaphragm take more room
towards the apex.

Sizes: chest wall and subcutaneous fat from CT (Obeid et al., Surg Obes Relat Dis 2006 span lean to obese), ribs and
intercostal spaces (Mohr et al., J Biomech 2007), aortic diameters (Kawel-Boehm et al., JCMR 2020), paracardial fat
(Iacobellis & Willens, JASE 2009), stomach and splenic flexure as in sectional atlases. Where a text gives one number,
the range here is wide about it.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8
from numpy.random import Generator

from cmrfed.phantom.fields import Plane, length
from cmrfed.phantom.physics import Tissue

TissueMap = UInt8[np.ndarray, "row column"]
PlaneMask = Bool[np.ndarray, "row column"]
Layers = UInt8[np.ndarray, " point"]
PointValues = Float32[np.ndarray, " point"]
PointIndex = Int[np.ndarray, " point"]
OrganKind = Literal["stomach", "colon", "spleen"]

_RIBS = 16


def fill(tissue: TissueMap | Layers, where: PlaneMask | Bool[np.ndarray, " point"], kind: Tissue) -> None:
    """Make what is true in `where` of that kind."""
    np.putmask(tissue, where, kind.value)


@dataclass(frozen=True)
class Noise:
    """Unit-variance fields of one slice, shared by all of its structures; correlated over about 1.5, 4 and 12 mm."""

    fine: Plane
    medium: Plane
    coarse: Plane

    def at(self, points: PointIndex) -> "PointNoise":
        """The fields at these points of the raveled plane."""
        return PointNoise(self.fine.take(points), self.medium.take(points), self.coarse.take(points))

    def window(self, rows: slice, columns: slice) -> "Noise":
        """The fields in a part of the plane, as arrays of their own."""
        return Noise(*(field[rows, columns].copy() for field in (self.fine, self.medium, self.coarse)))


@dataclass(frozen=True)
class PointNoise:
    """`Noise` at some points of a plane."""

    fine: PointValues
    medium: PointValues
    coarse: PointValues

    def at(self, points: PointIndex) -> "PointNoise":
        """The fields at some of them."""
        return PointNoise(self.fine.take(points), self.medium.take(points), self.coarse.take(points))


@dataclass(frozen=True)
class Ribs:
    """Ribs and the cartilages that join them to the sternum: no two alike. One number a rib but for the lengths."""

    spacing_mm: float
    phase_mm: float
    slant: float
    shift: Float32[np.ndarray, " rib"]
    width: Float32[np.ndarray, " rib"]
    cartilage: Bool[np.ndarray, " rib"]

    @classmethod
    def sample(cls, rng: Generator) -> "Ribs":
        """Ribs 12..20 mm wide, a quarter to a half of a spacing; oblique cuts look longer."""
        return cls(
            spacing_mm=rng.uniform(22, 45),
            phase_mm=rng.uniform(0, 200),
            slant=rng.uniform(-1.2, 1.2),
            shift=rng.uniform(-0.2, 0.2, _RIBS).astype(np.float32),
            width=rng.uniform(0.1, 0.38, _RIBS).astype(np.float32),
            cartilage=rng.random(_RIBS) < 0.5,
        )

    def paint(self, tissue: Layers, along: PointValues, share: PointValues, z: float) -> None:
        """Paint the ribs; `share` runs from -1 to 1 through the layer that holds them."""
        place = (along + np.float32(self.phase_mm + self.slant * z)) / np.float32(self.spacing_mm)
        rib = np.floor(place)
        number = rib.astype(np.intp) % _RIBS
        oval = length((place - rib - 0.5 - self.shift[number]) / self.width[number], share)
        cartilage = self.cartilage[number]
        fill(tissue, oval < 1, Tissue.CORTICAL_BONE)
        fill(tissue, (oval < 0.8) & ~cartilage, Tissue.MARROW)
        fill(tissue, (oval < 0.85) & cartilage, Tissue.CARTILAGE)


@dataclass(frozen=True)
class ChestWall:
    """Layers outside a curved inner surface; thicknesses and lengths in mm, `direction` in radians (x, y).

    pad_mm: fat between the pleura or pericardium and the ribs, which comes and goes along the wall.
    """

    direction: float
    distance_mm: float
    curvature_mm: float
    rib_depth_mm: float
    ribs: Ribs
    muscle_mm: float
    fat_mm: float
    sternum_mm: float
    approach: float
    pad_mm: float
    streaks: float

    @classmethod
    def sample(cls, rng: Generator, direction: float, distance_mm: float, adiposity: float) -> "ChestWall":
        """`adiposity` 0..1 goes from a lean to an obese patient."""
        return cls(
            direction=direction,
            distance_mm=distance_mm + rng.uniform(-12, 4),
            curvature_mm=rng.uniform(70, 220),
            rib_depth_mm=rng.uniform(7, 12),
            ribs=Ribs.sample(rng),
            muscle_mm=rng.uniform(2, 12),
            fat_mm=rng.uniform(3, 14) + 26 * adiposity**1.5,
            sternum_mm=rng.uniform(-70, -10),
            approach=rng.uniform(0.0, 0.5),
            pad_mm=rng.uniform(-1, 13) + 14 * adiposity * rng.uniform(0.2, 1),
            streaks=rng.uniform(1.0, 2.6),
        )

    @property
    def skin_mm(self) -> float:
        """From the heart's centre to the skin, along `direction` and in the middle of the stack."""
        return self.distance_mm + self.rib_depth_mm + 3 + self.muscle_mm + self.fat_mm

    def paint(self, tissue: TissueMap, x: Plane, y: Plane, z: float, noise: Noise) -> None:
        """Paint the wall, from the pleura outwards to the air; `z` in mm from the heart's middle, apex positive."""
        cos, sin = np.float32(np.cos(self.direction)), np.float32(np.sin(self.direction))
        along = y * cos - x * sin
        depth = x * cos + y * sin - np.float32(self.distance_mm - self.approach * z)
        depth += along * along / np.float32(2 * self.curvature_mm)
        depth += noise.coarse
        points = np.flatnonzero(depth > -20)
        along, depth, near = along.take(points), depth.take(points), noise.at(points)
        layers = tissue.take(points)
        pad = depth > -np.float32(self.pad_mm) * (0.7 + 0.8 * near.coarse)
        fill(layers, pad, Tissue.FAT)
        fill(layers, pad & (np.abs(near.medium + 0.3 * near.fine) < 0.05 * near.coarse), Tissue.FIBROUS)
        self._paint_layers(layers, along, depth, z, near)
        tissue.ravel()[points] = layers

    def _paint_layers(self, layers: Layers, along: PointValues, depth: PointValues, z: float, near: PointNoise) -> None:
        ribs_end = np.float32(1.0 + self.rib_depth_mm)
        muscle_end = ribs_end + 2 + np.float32(self.muscle_mm) * (1 + 0.45 * near.coarse)
        fill(layers, depth > 0, Tissue.FAT)
        fill(layers, depth > 1, Tissue.MUSCLE)
        share = (depth - 1) / np.float32(self.rib_depth_mm / 2) - 1
        self.ribs.paint(layers, along, share, z)
        sternum = length((along - np.float32(self.sternum_mm)) / 18, share)
        fill(layers, sternum < 1.1, Tissue.CORTICAL_BONE)
        fill(layers, sternum < 0.85, Tissue.MARROW)
        fill(layers, depth > ribs_end, Tissue.FAT)
        fill(layers, depth > ribs_end + 2, Tissue.MUSCLE)
        streak = (layers == Tissue.MUSCLE) & (depth > 0) & (near.coarse + 0.7 * near.medium > np.float32(self.streaks))
        fill(layers, streak, Tissue.FAT)
        fill(layers, depth > muscle_end, Tissue.FAT)
        septum = np.abs(near.medium + 0.3 * near.fine) < 0.05 * near.coarse
        fill(layers, (depth > muscle_end + 1) & septum, Tissue.FIBROUS)
        fill(layers, depth > muscle_end + np.float32(self.fat_mm), Tissue.SKIN)
        fill(layers, depth > muscle_end + np.float32(self.fat_mm + 2), Tissue.AIR)


@dataclass(frozen=True)
class Organ:
    """A hollow or solid organ under the left dome: an uneven oval about `centre` (x, mm below the dome there)."""

    kind: OrganKind
    centre: tuple[float, float]
    radius_mm: float
    aspect: float
    turn_rad: float
    wall_mm: float
    gas: float
    fluid: float

    @classmethod
    def sample(cls, rng: Generator, kind: OrganKind, x_mm: float) -> "Organ":
        """`gas` above 1 is none; `fluid`: the level of a noise field above which the contents are liquid."""
        radius = rng.uniform(20, 45) if kind != "colon" else rng.uniform(12, 24)
        aspect = rng.uniform(1.0, 1.7)
        return cls(
            kind=kind,
            centre=(x_mm, radius * rng.uniform(0.7, 1.1)),
            radius_mm=radius,
            aspect=aspect,
            turn_rad=rng.uniform(-0.6, 0.6),
            wall_mm=rng.uniform(2, 4.5),
            gas=rng.uniform(-0.4, 2.0),
            fluid=rng.uniform(-0.5, 2.5),
        )

    def paint(self, tissue: Layers, x: PointValues, below: PointValues, near: PointNoise) -> None:
        """Paint it over what is there; `below`: mm below the diaphragm."""
        dx, dy = x - np.float32(self.centre[0]), below - np.float32(self.centre[1])
        cos, sin = np.float32(np.cos(self.turn_rad)), np.float32(np.sin(self.turn_rad))
        radius = length((dx * cos + dy * sin) / np.float32(self.aspect), dy * cos - dx * sin)
        to_edge = radius - np.float32(self.radius_mm) + 2.5 * near.coarse + near.medium
        if self.kind == "spleen":
            fill(tissue, to_edge < 0, Tissue.SPLEEN)
            return
        fill(tissue, to_edge < 0, Tissue.MUSCLE)
        lumen = to_edge < -np.float32(self.wall_mm) * (1 + 0.5 * near.medium)
        fill(tissue, lumen, Tissue.BOWEL)
        fill(tissue, lumen & (near.medium + 0.8 * near.coarse > np.float32(self.fluid)), Tissue.FLUID)
        # gas rises to the front of a patient lying on the back
        fill(tissue, lumen & (dy < np.float32(-self.gas * self.radius_mm)), Tissue.AIR)


@dataclass(frozen=True)
class Abdomen:
    """What lies below the diaphragm: the liver and, to its left, fat with stomach, colon and spleen in it, or lung.

    `pads`: (x, half-width, height) in mm of the fat in the angles between heart and diaphragm.
    """

    dome_mm: float
    slope: float
    curvature: float
    summit_mm: float
    rise: float
    liver_edge_mm: float
    liver_fat_mm: float
    organs: tuple[Organ, ...]
    lung_right_of_mm: float
    vessel_width: float
    pads: tuple[tuple[float, float, float], ...]

    @classmethod
    def sample(cls, rng: Generator, heart_bottom_mm: float) -> "Abdomen":
        """`heart_bottom_mm`: y of the lowest point of the heart, on which the diaphragm's dome lies."""
        chances: tuple[tuple[OrganKind, float, float], ...] = (("spleen", 0.35, 75), ("colon", 0.35, 50))
        organs = [Organ.sample(rng, kind, rng.normal(x, 15)) for kind, chance, x in chances if rng.random() < chance]
        if rng.random() < 0.75:
            organs.append(Organ.sample(rng, "stomach", rng.uniform(20, 60)))
        return cls(
            dome_mm=heart_bottom_mm + rng.uniform(-14, 4),
            slope=rng.normal(0.15, 0.25),
            curvature=rng.uniform(0.0003, 0.004),
            summit_mm=rng.uniform(-50, 20),
            rise=rng.uniform(0.1, 0.7),
            liver_edge_mm=rng.uniform(-50, 50),
            liver_fat_mm=rng.uniform(-5, 5),
            organs=tuple(organs),
            lung_right_of_mm=rng.uniform(-10, 60) if rng.random() < 0.25 else np.inf,
            vessel_width=rng.uniform(0.02, 0.12),
            pads=tuple((rng.normal(x, 10), rng.uniform(12, 30), rng.uniform(-6, 22)) for x in (-40, 35)),
        )

    def paint(self, tissue: TissueMap, x: Plane, y: Plane, z: float, noise: Noise) -> None:
        """Paint the organs; `z` in mm from the middle of the heart, positive towards the apex."""
        across = x - np.float32(self.summit_mm)
        below = y - np.float32(self.dome_mm - self.rise * z) - np.float32(self.slope) * x
        below -= np.float32(self.curvature) * across * across
        below += noise.coarse
        if np.isfinite(self.lung_right_of_mm):
            below -= np.maximum(x - np.float32(self.lung_right_of_mm), 0) * np.float32(0.9)
        points = np.flatnonzero(below > -25)
        x, below, near = x.take(points), below.take(points), noise.at(points)
        layers = tissue.take(points)
        self._paint_pads(layers, x, below, near)
        inside = np.flatnonzero(below > 0)
        contents = np.full(len(inside), Tissue.FAT, np.uint8)
        self._paint_contents(contents, x.take(inside), below.take(inside), z, near.at(inside))
        layers[inside] = contents
        tissue.ravel()[points] = layers

    def _paint_pads(self, tissue: Layers, x: PointValues, below: PointValues, near: PointNoise) -> None:
        height = np.zeros_like(x)
        for centre, half_width, pad in self.pads:
            height += np.float32(pad) * np.exp(-(((x - np.float32(centre)) / np.float32(half_width)) ** 2))
        fat = (below > -height * (1 + 0.4 * near.coarse)) & (height > 1.5)
        fill(tissue, fat, Tissue.FAT)
        fill(tissue, fat & (np.abs(near.medium - 0.3 * near.fine) < 0.06 * near.coarse), Tissue.FIBROUS)

    def _paint_contents(self, tissue: Layers, x: PointValues, below: PointValues, z: float, near: PointNoise) -> None:
        fill(tissue, np.abs(near.medium + 0.3 * near.fine) < 0.06 * near.coarse, Tissue.FIBROUS)
        fill(tissue, near.medium + 0.4 * near.fine > 2.2, Tissue.SMALL_VESSEL)
        for organ in self.organs:
            organ.paint(tissue, x, below, near)
        edge = np.float32(self.liver_edge_mm + 0.4 * z) + 5 * near.coarse - 0.5 * below
        liver = (below > np.float32(self.liver_fat_mm) * (1 + 0.6 * near.coarse)) & (x < edge)
        fill(tissue, liver, Tissue.LIVER)
        vessels = (np.abs(near.medium) < np.float32(self.vessel_width)) & (near.coarse > -0.2)
        vessels |= np.abs(near.coarse - 1.2) < np.float32(0.7 * self.vessel_width)
        vessels |= near.medium + 0.5 * near.coarse > 2.3
        fill(tissue, liver & vessels, Tissue.SMALL_VESSEL)
        fill(tissue, liver & (near.coarse > 2.2), Tissue.VENOUS_BLOOD)
        fill(tissue, below < 2.0 + 0.6 * near.coarse, Tissue.MUSCLE)


@dataclass(frozen=True)
class Vessel:
    """A pulmonary vessel near the hilum: an oval (mm) about a centre, seen while `first` < z < `last`."""

    centre: tuple[float, float]
    radius_mm: float
    aspect: float
    turn_rad: float
    first_mm: float
    last_mm: float
    kind: Tissue

    @classmethod
    def sample(cls, rng: Generator, heart_centre: tuple[float, float]) -> "Vessel":
        """Lobar and segmental vessels, 3 to 15 mm across, behind and to the left of the base."""
        angle, distance = rng.uniform(-0.6, 2.2), rng.uniform(35, 80)
        first = rng.uniform(-120, -40)
        return cls(
            centre=(heart_centre[0] + distance * np.cos(angle), heart_centre[1] + distance * np.sin(angle)),
            radius_mm=rng.uniform(1.5, 7.5),
            aspect=rng.uniform(1, 3.5),
            turn_rad=rng.uniform(0, np.pi),
            first_mm=first,
            last_mm=first + rng.uniform(15, 90),
            kind=Tissue.BLOOD if rng.random() < 0.5 else Tissue.VENOUS_BLOOD,
        )

    def paint(self, tissue: TissueMap, x: Plane, y: Plane, z: float, noise: Noise) -> None:
        """Paint it where `z` reaches."""
        if not self.first_mm < z < self.last_mm:
            return
        points, dx, dy = _around(x, y, self.centre, self.radius_mm * self.aspect + 6)
        cos, sin = np.float32(np.cos(self.turn_rad)), np.float32(np.sin(self.turn_rad))
        oval = length((dx * cos + dy * sin) / np.float32(self.aspect), dy * cos - dx * sin)
        oval += 0.8 * noise.medium.take(points)
        layers = tissue.take(points)
        fill(layers, oval < np.float32(self.radius_mm + 0.8), Tissue.FIBROUS)
        fill(layers, oval < np.float32(self.radius_mm), self.kind)
        tissue.ravel()[points] = layers


@dataclass(frozen=True)
class Posterior:
    """Descending aorta, oesophagus, spine and hilar vessels: mm; they recede towards the apex."""

    aorta: tuple[float, float]
    aorta_mm: float
    aorta_aspect: float
    aorta_fat_mm: float
    oesophagus: tuple[float, float]
    spine: tuple[float, float]
    spine_mm: float
    recession: float
    vessels: tuple[Vessel, ...]

    @classmethod
    def sample(cls, rng: Generator, lv_centre: tuple[float, float]) -> "Posterior":
        """Aortic diameters 18..28 mm (Kawel-Boehm 2020), 50..95 mm from the left ventricle's axis."""
        angle, distance = rng.uniform(0.3, 1.6), rng.uniform(50, 95)
        x, y = lv_centre[0] + distance * np.cos(angle), lv_centre[1] + distance * np.sin(angle)
        return cls(
            aorta=(x, y),
            aorta_mm=rng.uniform(8.5, 14),
            aorta_aspect=rng.uniform(1.0, 1.5),
            aorta_fat_mm=rng.uniform(0, 4),
            oesophagus=(x - rng.uniform(14, 22), y - rng.uniform(-4, 8)),
            spine=(x - rng.uniform(0, 20), y + rng.uniform(30, 42)),
            spine_mm=rng.uniform(18, 23),
            recession=rng.uniform(0.1, 0.8),
            vessels=tuple(Vessel.sample(rng, lv_centre) for _ in range(int(rng.integers(0, 9)))),
        )

    def paint(self, tissue: TissueMap, x: Plane, y: Plane, z: float, noise: Noise) -> None:
        """Paint them; `z` in mm from the middle of the heart, positive towards the apex."""
        y = y - np.float32(self.recession * z)
        self._paint_spine(tissue, x, y, noise)
        self._paint_oesophagus(tissue, x, y, noise)
        for vessel in self.vessels:
            vessel.paint(tissue, x, y, z, noise)
        points, dx, dy = _around(x, y, self.aorta, 1.5 * self.aorta_mm + 12)
        near, layers = noise.at(points), tissue.take(points)
        aorta = length(dx / np.float32(self.aorta_aspect), dy) + 0.5 * near.coarse
        fill(layers, aorta < self.aorta_mm + 1 + np.float32(self.aorta_fat_mm) * (1 + 0.8 * near.coarse), Tissue.FAT)
        fill(layers, aorta < self.aorta_mm + 1.0, Tissue.FIBROUS)
        fill(layers, aorta < self.aorta_mm, Tissue.BLOOD)
        tissue.ravel()[points] = layers

    def _paint_spine(self, tissue: TissueMap, x: Plane, y: Plane, noise: Noise) -> None:
        points, dx, dy = _around(x, y, self.spine, self.spine_mm + 25)
        near, layers = noise.at(points), tissue.take(points)
        spine = length(dx, dy) + near.coarse
        fill(layers, spine < self.spine_mm + 14 + 2 * near.coarse, Tissue.MUSCLE)
        fill(layers, spine < self.spine_mm, Tissue.CORTICAL_BONE)
        fill(layers, spine < self.spine_mm - 1.8, Tissue.MARROW)
        tissue.ravel()[points] = layers

    def _paint_oesophagus(self, tissue: TissueMap, x: Plane, y: Plane, noise: Noise) -> None:
        points, dx, dy = _around(x, y, self.oesophagus, 15.0)
        layers = tissue.take(points)
        gullet = length(dx / np.float32(1.4), dy) + 0.5 * noise.medium.take(points)
        fill(layers, gullet < 7, Tissue.FAT)
        fill(layers, gullet < 5.5, Tissue.MUSCLE)
        fill(layers, gullet < 1.8, Tissue.AIR)
        tissue.ravel()[points] = layers


@dataclass(frozen=True)
class Thorax:
    """Everything but the heart."""

    wall: ChestWall
    abdomen: Abdomen
    posterior: Posterior
    vessel_density: float

    def paint(self, x: Plane, y: Plane, shifted: tuple[Plane, Plane], z: float, noise: Noise) -> TissueMap:
        """Tissue of every point. `shifted`: the points as the organs that move with the breath see them."""
        tissue = np.full(x.shape, Tissue.LUNG, dtype=np.uint8)
        paint_lung_vessels(tissue, noise, self.vessel_density)
        self.abdomen.paint(tissue, *shifted, z, noise)
        self.posterior.paint(tissue, *shifted, z, noise)
        self.wall.paint(tissue, x, y, z, noise)
        return tissue


def paint_lung_vessels(tissue: TissueMap, noise: Noise, density: float) -> None:
    """Branching lines where a noise field crosses zero, in patches, and cross-sections where another peaks."""
    width = np.clip(0.07 * noise.coarse - 0.02, 0.0, 0.15) * np.float32(density)
    lines = (np.abs(noise.medium) < width) & (noise.fine > -0.6)
    peaks = 0.55 * noise.fine + 0.8 * noise.medium + 0.25 * noise.coarse
    fill(tissue, lines | (peaks > np.float32(2.9 - 0.7 * density)), Tissue.SMALL_VESSEL)


def _around(
    x: Plane, y: Plane, centre: tuple[float, float], reach_mm: float
) -> tuple[PointIndex, PointValues, PointValues]:
    """The points within reach of a centre, by index into the raveled plane, and their offsets from it."""
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    points = np.flatnonzero((np.abs(dx) < np.float32(reach_mm)) & (np.abs(dy) < np.float32(reach_mm)))
    return points, dx.take(points), dy.take(points)
