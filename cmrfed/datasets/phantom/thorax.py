"""What surrounds the heart in a short-axis plane: lungs, chest wall, diaphragm and organs below it, aorta and spine.

Image coordinates in mm about the image's centre: x to the patient's left, y to the posterior; so the chest wall is at
the top left, the left lung on the right, the liver at the lower left and the spine and descending aorta at the lower
right. z runs from base to apex; the organs below the diaphragm take more room towards the apex.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, UInt8
from numpy.random import Generator

from cmrfed.datasets.phantom.fields import Plane
from cmrfed.datasets.phantom.physics import Tissue

TissueMap = UInt8[np.ndarray, "row column"]
PlaneMask = Bool[np.ndarray, "row column"]
LeftOrgan = Literal["stomach", "spleen", "fat", "lung"]


@dataclass(frozen=True)
class Noise:
    """Unit-variance fields of one slice, shared by all of its structures; correlated over about 1.5, 4 and 12 mm."""

    fine: Plane
    medium: Plane
    coarse: Plane


@dataclass(frozen=True)
class ChestWall:
    """Layers outside a curved inner surface; thicknesses and lengths in mm, `direction` in radians (x, y)."""

    direction: float
    distance_mm: float
    curvature_mm: float
    rib_depth_mm: float
    rib_spacing_mm: float
    rib_phase: float
    rib_slant: float
    muscle_mm: float
    fat_mm: float
    sternum_mm: float
    approach: float

    @classmethod
    def sample(cls, rng: Generator, direction: float, distance_mm: float, adiposity: float) -> "ChestWall":
        """`adiposity` 0..1 goes from a lean to an obese patient."""
        return cls(
            direction=direction,
            distance_mm=distance_mm,
            curvature_mm=rng.uniform(55, 130),
            rib_depth_mm=rng.uniform(8, 13),
            rib_spacing_mm=rng.uniform(22, 34),
            rib_phase=rng.uniform(0, 40),
            rib_slant=rng.uniform(-0.8, 0.8),
            muscle_mm=rng.uniform(3, 14),
            fat_mm=rng.uniform(3, 8) + 26 * adiposity**1.5,
            sternum_mm=rng.uniform(-60, -20),
            approach=rng.uniform(0.0, 0.4),
        )

    def paint(self, tissue: TissueMap, x: Plane, y: Plane, z: float, noise: Noise) -> None:
        """Paint the wall, from the pleura outwards to the air; `z` in mm from the heart's middle, apex positive."""
        cos, sin = np.float32(np.cos(self.direction)), np.float32(np.sin(self.direction))
        along = y * cos - x * sin
        depth = (
            x * cos
            + y * sin
            - np.float32(self.distance_mm - self.approach * z)
            + along**2 / np.float32(2 * self.curvature_mm)
        )
        muscle = self.muscle_mm * (1 + 0.25 * noise.coarse)
        depths = [
            (0.0, Tissue.FAT),
            (1.6, Tissue.MUSCLE),
            (1.6 + self.rib_depth_mm, Tissue.FAT),
            (3.0 + self.rib_depth_mm, Tissue.MUSCLE),
        ]
        for start, kind in depths:
            tissue[depth > np.float32(start)] = kind
        skin = 3.0 + self.rib_depth_mm + muscle
        tissue[(tissue == Tissue.MUSCLE) & (depth > 0) & (noise.fine + noise.medium > 2.4)] = Tissue.FAT
        self._paint_ribs(tissue, along, depth, z)
        tissue[depth > skin] = Tissue.FAT
        tissue[depth > skin + self.fat_mm] = Tissue.SKIN
        tissue[depth > skin + self.fat_mm + 2] = Tissue.AIR

    def _paint_ribs(self, tissue: TissueMap, along: np.ndarray, depth: np.ndarray, z: float) -> None:
        wall = (depth > 0) & (depth < np.float32(self.rib_depth_mm + 3))
        along, depth = along[wall], depth[wall]
        spacing = np.float32(self.rib_spacing_mm)
        local = (along + np.float32(self.rib_phase + self.rib_slant * z)) % spacing - spacing / 2
        middle, half = np.float32(1.6 + self.rib_depth_mm / 2), np.float32(self.rib_depth_mm / 2 - 0.8)
        rib = np.hypot(local / np.float32(0.3 * self.rib_spacing_mm), (depth - middle) / half)
        sternum = np.hypot((along - np.float32(self.sternum_mm)) / 18, (depth - middle) / (half + 1))
        bone = np.minimum(rib, sternum)
        layers = tissue[wall]
        layers[bone < 1] = Tissue.CORTICAL_BONE
        layers[bone < 0.68] = Tissue.MARROW
        tissue[wall] = layers


@dataclass(frozen=True)
class Abdomen:
    """What lies below the diaphragm: the liver, and to its left the stomach, the spleen, fat, or lung."""

    dome_mm: float
    slope: float
    curvature: float
    rise: float
    liver_edge_mm: float
    left_organ: LeftOrgan
    left_centre: tuple[float, float]
    left_radius_mm: float
    gas: float
    vessel_width: float

    @classmethod
    def sample(cls, rng: Generator, heart_bottom_mm: float) -> "Abdomen":
        """`heart_bottom_mm`: y of the lowest point of the heart, on which the diaphragm's dome lies."""
        left: LeftOrgan = ("stomach", "spleen", "fat", "lung")[int(rng.choice(4, p=[0.5, 0.12, 0.2, 0.18]))]
        radius = rng.uniform(26, 45)
        return cls(
            dome_mm=heart_bottom_mm + rng.uniform(-1, 9),
            slope=rng.normal(0.05, 0.14),
            curvature=rng.uniform(0.0005, 0.004),
            rise=rng.uniform(0.2, 0.7),
            liver_edge_mm=rng.uniform(-15, 45),
            left_organ=left,
            left_centre=(rng.uniform(25, 65), heart_bottom_mm + radius + rng.uniform(-4, 10)),
            left_radius_mm=radius,
            gas=rng.uniform(-1.0, 1.0),
            vessel_width=rng.uniform(0.04, 0.12),
        )

    def paint(self, tissue: TissueMap, x: Plane, y: Plane, z: float, noise: Noise) -> None:
        """Paint the organs; `z` in mm from the middle of the heart, positive towards the apex."""
        dome = self.dome_mm - self.rise * z + self.slope * x + self.curvature * (x + 20) ** 2
        below = y - dome.astype(np.float32) + noise.coarse
        if self.left_organ == "lung":
            below -= np.maximum(x - np.float32(self.liver_edge_mm), 0) * np.float32(0.9)
        inside = below > 0
        tissue[inside] = Tissue.FAT
        if self.left_organ in ("stomach", "spleen"):
            self._paint_left_organ(tissue, inside, x, y, z, noise)
        edge = np.float32(self.liver_edge_mm + 0.4 * z) + 4 * noise.coarse
        liver = (below > 2.5) & (x < edge - 0.5 * below)
        tissue[liver] = Tissue.LIVER
        tissue[liver & (np.abs(noise.medium) < self.vessel_width) & (noise.coarse > -0.2)] = Tissue.SMALL_VESSEL
        tissue[liver & (noise.medium > 2.1)] = Tissue.SMALL_VESSEL
        tissue[(below > 0) & (below < 1.8)] = Tissue.MUSCLE

    def _paint_left_organ(
        self, tissue: TissueMap, inside: PlaneMask, x: Plane, y: Plane, z: float, noise: Noise
    ) -> None:
        centre_x, centre_y = self.left_centre
        radius = np.hypot(x - np.float32(centre_x), (y - np.float32(centre_y - 0.3 * self.rise * z)) * np.float32(1.1))
        to_edge = radius - np.float32(self.left_radius_mm) + 2.5 * noise.coarse + noise.medium
        organ = inside & (to_edge < 0)
        if self.left_organ == "spleen":
            tissue[organ] = Tissue.SPLEEN
            return
        tissue[organ] = Tissue.MUSCLE
        lumen = inside & (to_edge < -3)
        tissue[lumen] = Tissue.BOWEL
        tissue[lumen & (noise.medium + 0.6 * noise.coarse > 0.7)] = Tissue.FLUID
        # gas rises to the front of a patient lying on the back
        tissue[lumen & (y < np.float32(centre_y + self.gas * self.left_radius_mm))] = Tissue.AIR


@dataclass(frozen=True)
class Posterior:
    """Descending aorta, oesophagus and spine: centres in image mm, radii in mm; they recede towards the apex."""

    aorta: tuple[float, float]
    aorta_mm: float
    oesophagus: tuple[float, float]
    spine: tuple[float, float]
    spine_mm: float
    recession: float

    @classmethod
    def sample(cls, rng: Generator, lv_centre: tuple[float, float]) -> "Posterior":
        """Aortic diameters 18..28 mm (Kawel-Boehm 2020), 45..75 mm from the left ventricle's axis."""
        angle, distance = rng.uniform(0.6, 1.5), rng.uniform(48, 75)
        x, y = lv_centre[0] + distance * np.cos(angle), lv_centre[1] + distance * np.sin(angle)
        return cls(
            aorta=(x, y),
            aorta_mm=rng.uniform(9, 14),
            oesophagus=(x - rng.uniform(14, 22), y - rng.uniform(-4, 8)),
            spine=(x - rng.uniform(0, 20), y + rng.uniform(30, 42)),
            spine_mm=rng.uniform(18, 23),
            recession=rng.uniform(0.2, 0.6),
        )

    def paint(self, tissue: TissueMap, x: Plane, y: Plane, z: float, noise: Noise) -> None:
        """Paint them; `z` in mm from the middle of the heart, positive towards the apex."""
        away = np.float32(self.recession * z)
        spine = np.hypot(x - self.spine[0], y - self.spine[1] - away) + noise.coarse
        tissue[spine < self.spine_mm + 14 + 2 * noise.coarse] = Tissue.MUSCLE
        tissue[spine < self.spine_mm] = Tissue.CORTICAL_BONE
        tissue[spine < self.spine_mm - 1.8] = Tissue.MARROW
        gullet = np.hypot((x - self.oesophagus[0]) / 1.4, y - self.oesophagus[1] - away) + 0.5 * noise.medium
        tissue[gullet < 7] = Tissue.FAT
        tissue[gullet < 5.5] = Tissue.MUSCLE
        tissue[gullet < 1.8] = Tissue.AIR
        aorta = np.hypot(x - self.aorta[0], y - self.aorta[1] - away) + 0.3 * noise.coarse
        tissue[aorta < self.aorta_mm + 3.5 + 1.5 * noise.medium] = Tissue.FAT
        tissue[aorta < self.aorta_mm + 1.0] = Tissue.FIBROUS
        tissue[aorta < self.aorta_mm] = Tissue.BLOOD


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
    width = np.clip(0.01 + 0.07 * noise.coarse, 0.0, 0.16) * np.float32(density)
    tissue[(np.abs(noise.medium) < width) & (noise.fine > -1.0)] = Tissue.SMALL_VESSEL
    peaks = 0.4 * noise.fine + 0.9 * noise.medium + 0.3 * noise.coarse
    tissue[peaks > np.float32(3.1 - 0.5 * density)] = Tissue.SMALL_VESSEL
