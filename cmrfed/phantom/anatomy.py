"""One patient in the scanner: heart, fat around it and thorax, cut into short-axis slices of labelled tissue."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, UInt8
from numpy.random import Generator

from cmrfed.phantom.fields import Plane, Warp, band_noise, length
from cmrfed.phantom.heart import (
    ANGLES,
    Heart,
    HeartPoints,
    Phase,
    Physiology,
    Section,
    Turn,
    Ventricles,
    sample_heart,
)
from cmrfed.phantom.physics import Tissue
from cmrfed.phantom.thorax import (
    Abdomen,
    ChestWall,
    Layers,
    Noise,
    PlaneMask,
    PointIndex,
    PointValues,
    Posterior,
    Thorax,
    TissueMap,
    fill,
)
from cmrfed.shapes import Label

FIELD_OF_VIEW_MM = 200.0
SIZE = 160
PIXEL_MM = FIELD_OF_VIEW_MM / SIZE

Subslice = tuple[float, float, tuple[float, float]]
# a slice is the weighted sum of sub-slices (offset as a share of its thickness, weight), half a pixel from each other,
# so that the sum is smooth in the plane as well as through it; a third one costs half as much again and shows little
SUBSLICES: tuple[Subslice, ...] = ((-0.23, 0.5, (-0.25, 0.25)), (0.23, 0.5, (0.25, -0.25)))

MaskPlane = UInt8[np.ndarray, "row column"]
Outline = Float[np.ndarray, " _point"]
PlanePoints = tuple[Plane, Plane]
Discs = list[tuple["Atrium", PointValues]]

HEART_TURN = (0.1, 0.42)
"""Mean and standard deviation in radians of a heart's turn about its axis."""

_FAR = np.float32(1e3)
_FAT_AT_MOST_MM = 32.0
_SPARSE = 8  # angles from one point of an outline to the next
_BESIDE_MM = 2.5
"""Sub-slices of the thickest slice lie no further than this from its middle."""


@dataclass(frozen=True)
class Pose:
    """Where the left ventricle's axis meets the image (mm from its centre), and the heart's turn about it."""

    x_mm: float
    y_mm: float
    turn_rad: float
    base_tilt: tuple[float, float]

    def height(self, points: HeartPoints, z_mm: float) -> Plane:
        """z of the points of a plane at `z_mm`, as the tilted valve plane has it."""
        tilt_s, tilt_t = self.base_tilt
        return np.asarray(np.float32(z_mm) + np.float32(tilt_s) * points.s + np.float32(tilt_t) * points.t)

    def to_heart(self, x: Plane, y: Plane) -> tuple[Plane, Plane]:
        """Image to heart coordinates: unturned, s points to the image's left and t to its top."""
        cos, sin = np.float32(np.cos(self.turn_rad)), np.float32(np.sin(self.turn_rad))
        x, y = x - np.float32(self.x_mm), y - np.float32(self.y_mm)
        return -x * cos - y * sin, x * sin - y * cos

    def to_image(self, s: Outline, t: Outline) -> tuple[Outline, Outline]:
        """The reverse."""
        cos, sin = np.cos(self.turn_rad), np.sin(self.turn_rad)
        return self.x_mm - s * cos + t * sin, self.y_mm - s * sin - t * cos


@dataclass(frozen=True)
class Atrium:
    """A chamber or great vessel above the valves: a disc in heart coordinates (mm, for an epicardium of 32 mm)."""

    s: float
    t: float
    radius: float
    wall: float
    aspect: float
    turn_rad: float
    growth: float
    kind: Tissue

    def placed(self, section: Section, base_mm: float) -> tuple[float, float, float]:
        """Centre (s, t) and radius in mm in a section above a base at that height; they grow with the heart."""
        scale = float(section.epi.mean()) / 32
        rise = max(base_mm - section.z_mm, 0.0)
        return self.s * scale, self.t * scale, self.radius * scale + self.growth * rise

    def corners(self, section: Section, base_mm: float) -> tuple[Outline, Outline]:
        """Of a square (s, t) about it, with some room for its uneven edge."""
        s, t, radius = self.placed(section, base_mm)
        half = radius * self.aspect + self.wall + 4
        return s + half * np.array([-1.0, -1, 1, 1]), t + half * np.array([-1.0, 1, -1, 1])


@dataclass(frozen=True)
class Annotator:
    """Whoever drew this patient's outlines. Readers differ most at the base and the apex (Bernard et al., IEEE TMI
    2018): one follows the ventricles to their last trace, the other stops sooner. The endocardium is drawn along the
    compact wall (Schulz-Menger et al., JCMR 2020), by some a little inside it, most so where trabeculae are folded up.

    inset_mm: of the endocardium at ED and ES. least_lv_mm: radius of the smallest section that is outlined;
    least_rv_mm2: area of the smallest one.
    """

    inset_mm: tuple[float, float]
    least_lv_mm: float
    least_rv_mm2: float

    @classmethod
    def sample(cls, rng: Generator, ridges_mm: Float32[np.ndarray, "phase chamber slice angle"]) -> "Annotator":
        shares = rng.uniform(0, 0.3), rng.uniform(0, 0.6)
        ed, es = (float(share * ridges_mm[phase, 0].mean()) for phase, share in enumerate(shares))
        return cls((ed, es), least_lv_mm=rng.uniform(3, 14), least_rv_mm2=rng.uniform(0, 300))


@dataclass(frozen=True)
class Fat:
    """Thickness in mm of the layers around the heart: inside the pericardium, its own dark line, and outside."""

    epicardial_mm: float
    groove_mm: float
    pericardium_mm: float
    paracardial_mm: float
    patchiness: float

    @property
    def reach_mm(self) -> float:
        """Beyond which no layer goes, but for rare patches, which end there."""
        inner = 1.3 * self.epicardial_mm * (0.7 + 2.6 * self.patchiness) + self.groove_mm + self.pericardium_mm
        return min(inner + 2 * self.paracardial_mm * (0.8 + 1.4 * self.patchiness), _FAT_AT_MOST_MM)


@dataclass(frozen=True)
class Anatomy:
    """A patient: sampled once, then cut into slices. `slices_z_mm` are the slices' centres, base to apex;
    `ridges_mm` how far the compact wall's inner ridges stand into the blood of the left and of the right chamber."""

    heart: Heart
    pose: Pose
    thorax: Thorax
    atria: tuple[Atrium, ...]
    fat: Fat
    warp: Warp
    thorax_warp: Warp
    slices_z_mm: tuple[float, ...]
    shifts_mm: Float32[np.ndarray, "slice 2"]
    noise: tuple[Noise, ...]
    ridges_mm: Float32[np.ndarray, "phase chamber slice angle"]
    reader: Annotator

    @property
    def middle_mm(self) -> float:
        """z of the middle of the left ventricle at end diastole."""
        return self.heart.phases["ED"].lv_length_mm / 2

    def outline(self, index: int) -> tuple[Outline, Outline]:
        """Points (x, y) in image mm on or around the heart and its vessels in slice `index`, at either phase."""
        z = self.slices_z_mm[index]
        phases = self.heart.phases.values()
        s, t = _outline([phase.section(z + beside) for phase in phases for beside in (-_BESIDE_MM, _BESIDE_MM)])
        tilt_mm = _BESIDE_MM + 70 * float(np.hypot(*self.pose.base_tilt))
        for phase in phases:
            if z - tilt_mm < phase.lv_base_mm:
                for atrium in self.atria:
                    corners = atrium.corners(phase.section(z), phase.lv_base_mm)
                    s, t = np.concatenate([s, corners[0]]), np.concatenate([t, corners[1]])
        x, y = self.pose.to_image(s, t)
        return x + self.shifts_mm[index, 0], y + self.shifts_mm[index, 1]

    def surroundings(self, index: int, warped: PlanePoints, z: float) -> TissueMap:
        """Tissue of slice `index` without the heart, at height `z` and at points that `thorax_warp` has displaced.

        z runs from the left ventricle's base at end diastole, 0, to the apex.
        """
        x, y = warped
        shift = self.shifts_mm[index]
        return self.thorax.paint(x, y, (x - shift[0], y - shift[1]), z - self.middle_mm, self.noise[index])

    def tissue(
        self, phase: Phase, index: int, points: HeartPoints, z: float, around: TissueMap, noise: Noise
    ) -> TissueMap:
        """Tissue of slice `index` at `phase`, the heart painted over `around`, what `surroundings` gave; `noise` is the
        slice's at the points."""
        ventricles = self.heart.phases[phase]
        if phase == "ES":
            # the trabecular pattern folds up as the ventricle empties: not the same picture scaled
            noise = Noise(noise.fine[::-1], noise.medium[:, ::-1], noise.coarse)
        ridges = self.ridges_mm[0 if phase == "ED" else 1, :, index]
        return _HeartPainter(self, ventricles, ventricles.section(z), points, noise, ridges).paint(around.copy())

    def mask(self, phase: Phase, index: int, points: HeartPoints) -> MaskPlane:
        """Labels in the middle of slice `index`: trabeculae and papillary muscles belong to the blood pool."""
        ventricles, z = self.heart.phases[phase], self.slices_z_mm[index]
        section = ventricles.section(z)
        to_endo, to_epi = section.to_left(points)
        to_rv = section.to_right(points.about(section.rv_centre))
        mask = np.zeros(points.s.shape, dtype=np.uint8)
        mask[(self.pose.height(points, z) >= ventricles.rv_base_mm) & (to_rv < 0)] = Label.RV
        mask[to_epi < 0] = Label.BACKGROUND
        pixel_mm2 = float(np.hypot(points.s[0, 1] - points.s[0, 0], points.t[0, 1] - points.t[0, 0])) ** 2
        if np.count_nonzero(mask) * pixel_mm2 < self.reader.least_rv_mm2:
            mask[:] = Label.BACKGROUND
        # the left ventricle is outlined as a whole ring or not at all, however its valve plane is tilted
        if z >= ventricles.lv_base_mm and section.epi.mean() > self.reader.least_lv_mm:
            mask[to_epi < 0] = Label.MYO
            mask[to_endo < -self.reader.inset_mm[0 if phase == "ED" else 1]] = Label.LV
        return mask

    def heart_points(self, index: int, warped: PlanePoints) -> HeartPoints:
        """Points of slice `index`, in image mm and as `warp` has displaced them, as the heart sees them."""
        x, y = warped
        shift = self.shifts_mm[index]
        return HeartPoints.at(*self.pose.to_heart(x - shift[0], y - shift[1]))


@dataclass(frozen=True)
class _HeartPainter:
    """Paints one plane of the heart, outside in: fat, pericardium, walls, blood, and the muscles within the blood."""

    anatomy: Anatomy
    ventricles: Ventricles
    section: Section
    points: HeartPoints
    noise: Noise
    ridges_mm: Float32[np.ndarray, "chamber angle"]

    def paint(self, tissue: TissueMap) -> TissueMap:
        to_endo, to_epi = self.section.to_left(self.points)
        about_rv = self.points.about(self.section.rv_centre)
        to_rv = self.section.to_right(about_rv)
        height = self.anatomy.pose.height(self.points, self.section.z_mm)
        lv, rv = height >= self.ventricles.lv_base_mm, height >= self.ventricles.rv_base_mm
        wall = np.float32(self._rv_wall_mm())
        outside = _smooth_min(np.where(lv, to_epi, _FAR), np.where(rv, to_rv - wall, _FAR), np.float32(12))
        above = np.flatnonzero(~lv)
        discs = self._discs(above) if above.size else []
        if discs:
            outside.ravel()[above] = np.minimum(outside.ravel()[above], _outline_of(discs))
        self._paint_fat(tissue, outside)
        # the right ventricle opens into the atrium and the outflow tract without a wall between them
        fill(tissue, ~rv & (to_rv < 0) & (height > self.ventricles.rv_base_mm - 10), Tissue.VENOUS_BLOOD)
        _paint_discs(tissue, above, discs)
        fill(tissue, rv & (to_rv < wall), Tissue.MYOCARDIUM)
        self._paint_right(tissue, rv & (to_rv < 0), to_epi, to_rv, about_rv.turn)
        fill(tissue, lv & (to_epi < 0), Tissue.MYOCARDIUM)
        self._paint_left(tissue, lv & (to_endo < 0), to_endo)
        return tissue

    def _paint_right(self, tissue: TissueMap, blood: PlaneMask, to_epi: Plane, to_rv: Plane, turn: Turn) -> None:
        fill(tissue, blood, Tissue.VENOUS_BLOOD)
        free = np.flatnonzero(blood & (to_epi > 0))
        layers, depth = tissue.take(free), -to_rv.take(free)
        fill(layers, depth < self.ridges_mm[1].take(turn.take(free)), Tissue.MYOCARDIUM)
        self._paint_trabeculae(layers, np.minimum(depth, to_epi.take(free)), free, 1.3, self.ventricles.folding[1])
        tissue.ravel()[free] = layers

    def _paint_left(self, tissue: TissueMap, cavity: PlaneMask, to_endo: Plane) -> None:
        """Muscle as far as the ridges reach, for the wall's inner face is furrowed; strands; papillary muscles."""
        inside = np.flatnonzero(cavity)
        layers, depth = np.full(len(inside), Tissue.BLOOD, np.uint8), -to_endo.take(inside)
        fill(layers, depth < self.ridges_mm[0].take(self.points.turn.take(inside)), Tissue.MYOCARDIUM)
        self._paint_trabeculae(layers, depth, inside, 0.7, self.ventricles.folding[0])
        self._paint_papillaries(layers, inside)
        tissue.ravel()[inside] = layers

    def _rv_wall_mm(self) -> float:
        thickening = 1.3 if self.ventricles.lv_base_mm > 0 else 1.0
        return self.anatomy.heart.physiology.rv_wall_mm * thickening

    def _discs(self, above: PointIndex) -> Discs:
        """The atria and great vessels, each with the distance in mm of the points `above` the left ventricle's base."""
        s_above, t_above = self.points.s.take(above), self.points.t.take(above)
        uneven = 1.5 * self.noise.coarse.take(above)
        discs = []
        for atrium in self.anatomy.atria:
            s_centre, t_centre, radius = atrium.placed(self.section, self.ventricles.lv_base_mm)
            s, t = s_above - np.float32(s_centre), t_above - np.float32(t_centre)
            cos, sin = np.float32(np.cos(atrium.turn_rad)), np.float32(np.sin(atrium.turn_rad))
            oval = length((s * cos + t * sin) / np.float32(atrium.aspect), t * cos - s * sin)
            discs.append((atrium, oval - np.float32(radius) + uneven))
        return discs

    def _paint_fat(self, tissue: TissueMap, outside: Plane) -> None:
        """Fat within the pericardium, that line, and fat beyond it, up to `outside` mm from heart and vessels."""
        fat = self.anatomy.fat
        fill(tissue, outside < 0, Tissue.FAT)
        near = np.flatnonzero((outside >= 0) & (outside < np.float32(fat.reach_mm)))
        layers, distance, coarse = tissue.ravel()[near], outside.ravel()[near], self.noise.coarse.take(near)
        groove = fat.groove_mm * np.exp(-(((self.section.z_mm - self.ventricles.lv_base_mm) / 9) ** 2))
        right = 1 / (1 + np.exp(-self.points.s.take(near) / 15))
        apical = 0.7 + np.clip(self.section.z_mm / self.anatomy.middle_mm - 1, 0, 1)
        uneven = 0.7 + np.float32(1.3 * fat.patchiness) * coarse
        inner = np.maximum(np.float32(fat.epicardial_mm) * (0.3 + right) * uneven + np.float32(groove), 0)
        outer = inner + np.float32(fat.pericardium_mm) * (coarse > -0.6)
        patchy = np.float32(apical * fat.paracardial_mm) * (0.25 + 0.9 * right)
        patchy *= 0.8 + np.float32(0.7 * fat.patchiness) * coarse
        reach = outer + np.where(layers == Tissue.LUNG, np.maximum(patchy, 0), np.float32(1.5))
        fill(layers, distance < reach, Tissue.FAT)
        fill(layers, distance < outer, Tissue.FIBROUS)
        fill(layers, distance < inner, Tissue.FAT)
        tissue.ravel()[near] = layers

    def _paint_trabeculae(
        self, layers: Layers, depth: PointValues, points: PointIndex, strength: float, folding: float
    ) -> None:
        """Muscle strands where noise exceeds a threshold that rises away from the wall, more of them at the apex."""
        heart = self.anatomy.heart
        towards_apex = (self.section.z_mm - self.ventricles.lv_base_mm) / self.ventricles.lv_length_mm
        reach = 2.0 + 2.5 * strength * heart.trabeculation * (0.6 + np.clip(towards_apex, 0, 1))
        pattern = 0.35 * self.noise.fine.take(points) + 0.9 * self.noise.medium.take(points)
        fill(layers, pattern > 0.4 + depth / np.float32(folding * reach), Tissue.MYOCARDIUM)

    def _paint_papillaries(self, layers: Layers, inside: PointIndex) -> None:
        level = (self.section.z_mm - self.ventricles.lv_base_mm) / self.ventricles.lv_length_mm
        s, t = self.points.s.take(inside), self.points.t.take(inside)
        edge = 1 + 0.2 * self.noise.medium.take(inside)
        for muscle in self.anatomy.heart.papillaries:
            if not muscle.first < level < muscle.last:
                continue
            swell = np.sin(np.pi * (level - muscle.first) / (muscle.last - muscle.first)) ** 0.5
            # it shortens with the cavity, and keeps its volume
            shorter = self.ventricles.lv_length_mm / self.anatomy.heart.phases["ED"].lv_length_mm
            radius = muscle.radius_mm * float(swell) / shorter**0.5
            turn = int((muscle.angle + np.pi) / (2 * np.pi) * ANGLES) % ANGLES
            distance = max(float(self.section.endo[turn]) - radius * muscle.length * (1 + muscle.wall_gap), 0.0)
            cos, sin = np.float32(np.cos(muscle.angle)), np.float32(np.sin(muscle.angle))
            outwards = (s * cos + t * sin - np.float32(distance)) / np.float32(muscle.length)
            fill(layers, length(outwards, t * cos - s * sin) < np.float32(radius) * edge, Tissue.MYOCARDIUM)


def _outline_of(discs: Discs) -> PointValues:
    """Distance from the outside of atria and vessels, the concave corners between them filled."""
    first, distance = discs[0]
    outline = distance - np.float32(first.wall)
    for atrium, distance in discs[1:]:
        outline = _smooth_min(outline, distance - np.float32(atrium.wall), np.float32(20))
    return outline


def _paint_discs(tissue: TissueMap, above: PointIndex, discs: Discs) -> None:
    """The great arteries, which come last, stand with their rings in front of the atria."""
    layers = tissue.ravel()[above]
    for atrium, distance in discs:
        fill(layers, distance < np.float32(atrium.wall), Tissue.MYOCARDIUM)
        fill(layers, distance < 0, atrium.kind)
    tissue.ravel()[above] = layers


def image_points(size: int, offset_px: tuple[float, float] = (0.0, 0.0)) -> tuple[Plane, Plane]:
    """Points (x, y) in mm of a `size` x `size` image over the field of view; point 0 lies at its edge, as in an FFT."""
    at = np.arange(size) * (FIELD_OF_VIEW_MM / size) - FIELD_OF_VIEW_MM / 2
    x, y = np.meshgrid(at + offset_px[0] * PIXEL_MM, at + offset_px[1] * PIXEL_MM)
    return x.astype(np.float32), y.astype(np.float32)


def sample_anatomy(rng: Generator, physiology: Physiology, adiposity: float, slice_spacing_mm: float) -> Anatomy:
    """Draw a patient with the wanted heart. `adiposity` 0..1 goes from lean to obese."""
    heart = sample_heart(rng, physiology)
    pose = _sample_pose(rng, heart)
    slices = _place_slices(rng, heart.phases["ED"], slice_spacing_mm)
    shifts = rng.normal(0, rng.uniform(0.3, 2.0), (len(slices), 2)).astype(np.float32)
    ridges_mm = _sample_ridges(rng, heart, slices)
    fields = [band_noise(rng, len(slices), SIZE, sigma / PIXEL_MM) for sigma in (1.0, 2.6, 9.0)]
    return Anatomy(
        heart=heart,
        pose=pose,
        thorax=_sample_thorax(rng, heart, pose, adiposity),
        atria=_sample_atria(rng),
        fat=_sample_fat(rng, adiposity),
        warp=Warp.sample(rng, rng.uniform(0.5, 2.2), (60.0, 160.0)),
        thorax_warp=Warp.sample(rng, rng.uniform(0.5, 2.5), (70.0, 200.0)),
        slices_z_mm=slices,
        shifts_mm=shifts,
        noise=tuple(Noise(*planes) for planes in zip(*fields, strict=True)),
        ridges_mm=ridges_mm,
        reader=Annotator.sample(rng, ridges_mm),
    )


def _sample_ridges(
    rng: Generator, heart: Heart, slices_z_mm: tuple[float, ...]
) -> Float32[np.ndarray, "phase chamber slice angle"]:
    """Furrows of 4 to 48 to the circumference. The trabeculated layer is up to as thick as the compact wall in health,
    thickest at the apex (Dawson et al., Circ Cardiovasc Imaging 2011); it folds up in systole: `Ventricles.folding`."""
    number = np.arange(ANGLES // 2 + 1)
    gain = np.where((number >= 4) & (number <= 48), np.maximum(number, 1) ** -0.5, 0)
    phases = rng.uniform(0, 2 * np.pi, (2, 2, len(slices_z_mm), len(number)))
    waves = np.fft.irfft(gain * np.exp(1j * phases), n=ANGLES)
    waves /= waves.std()
    folding = np.array([heart.phases[phase].folding for phase in ("ED", "ES")])
    depth_mm = folding * np.array([rng.uniform(0.2, 3.0), rng.uniform(0.3, 2.6)])
    apical = 0.7 + 0.8 * np.clip(np.array(slices_z_mm) / heart.phases["ED"].lv_length_mm, 0, 1)
    ridges = np.maximum(waves + rng.uniform(-0.2, 1.0), 0) * depth_mm[:, :, None, None] * apical[None, None, :, None]
    return ridges.astype(np.float32)


def _sample_pose(rng: Generator, heart: Heart) -> Pose:
    """The heart's middle, which lies to the right ventricle's side of the LV axis, near the image's centre."""
    turn = rng.normal(*HEART_TURN)
    section = heart.phases["ED"].section(heart.phases["ED"].lv_length_mm * 0.3)
    septal = len(section.rv_radius) // 2
    aside = 0.5 * (section.rv_centre[0] + float(section.rv_radius[septal]) - float(section.epi.mean()))
    x, y = rng.normal(0, 4, 2) + aside * np.array([np.cos(turn), np.sin(turn)])
    tilt = rng.normal(0, 0.13, 2)
    return Pose(float(x), float(y), float(turn), (float(tilt[0]), float(tilt[1])))


def _place_slices(rng: Generator, ventricles: Ventricles, spacing_mm: float) -> tuple[float, ...]:
    """Slices from up to two above the base to the apex or one beyond it."""
    above = rng.choice([0, 1, 2], p=[0.45, 0.4, 0.15])
    first = rng.uniform(0.1, 0.9) * spacing_mm - above * spacing_mm
    beyond = ventricles.lv_length_mm + rng.uniform(-0.6, 0.9) * spacing_mm
    return tuple(float(z) for z in np.arange(first, beyond, spacing_mm))


def _sample_thorax(rng: Generator, heart: Heart, pose: Pose, adiposity: float) -> Thorax:
    diastole = heart.phases["ED"]
    levels = (level * diastole.lv_length_mm for level in (0.05, 0.25, 0.5))
    x, y = pose.to_image(*_outline([diastole.section(z) for z in levels]))
    direction = rng.normal(-2.3, 0.35)
    distance = float((x * np.cos(direction) + y * np.sin(direction)).max()) + rng.uniform(2, 14) + 6 * adiposity
    return Thorax(
        wall=ChestWall.sample(rng, direction, distance, adiposity),
        abdomen=Abdomen.sample(rng, float(y.max())),
        posterior=Posterior.sample(rng, (pose.x_mm, pose.y_mm)),
        vessel_density=rng.uniform(0.3, 1.2),
    )


def _outline(sections: list[Section]) -> tuple[Outline, Outline]:
    """Points (s, t) on the outside of both ventricles in these sections."""
    angle = np.linspace(-np.pi, np.pi, ANGLES, endpoint=False)[::_SPARSE]
    rv = [(one.rv_centre, one.rv_radius[::_SPARSE]) for one in sections]
    epi, cos, sin = np.concatenate([one.epi[::_SPARSE] for one in sections]), np.cos(angle), np.sin(angle)
    s = [np.tile(cos, len(sections)) * epi, *(centre[0] + radius * cos for centre, radius in rv)]
    t = [np.tile(sin, len(sections)) * epi, *(centre[1] + radius * sin for centre, radius in rv)]
    return np.concatenate(s), np.concatenate(t)


def _sample_atria(rng: Generator) -> tuple[Atrium, ...]:
    """Left atrium, aortic root, right atrium and pulmonary outflow, about the valves' fibrous skeleton."""

    def disc(s: float, t: float, radius: float, wall: float, growth: float, kind: Tissue, oval: float) -> Atrium:
        return Atrium(
            s=rng.normal(s, 4),
            t=rng.normal(t, 4),
            radius=radius * rng.uniform(0.85, 1.2),
            wall=wall,
            aspect=rng.uniform(1.0, oval),
            turn_rad=rng.uniform(0, np.pi),
            growth=growth * rng.uniform(0.5, 1.5),
            kind=kind,
        )

    return (
        disc(-6.0, -10.0, 22.0, 1.3, 0.15, Tissue.BLOOD, 1.5),
        disc(42.0, -14.0, 21.0, 1.2, 0.15, Tissue.VENOUS_BLOOD, 1.5),
        disc(28.0, 28.0, 14.0, 2.0, 0.0, Tissue.VENOUS_BLOOD, 1.25),
        disc(14.0, 9.0, 14.0, 1.6, 0.05, Tissue.BLOOD, 1.15),
    )


def _sample_fat(rng: Generator, adiposity: float) -> Fat:
    """Epicardial fat is 1..7 mm thick over the right ventricle's free wall (Iacobellis & Willens, JASE 2009)."""
    return Fat(
        epicardial_mm=rng.uniform(0.0, 1.6) + 2.2 * adiposity * rng.uniform(0.3, 1),
        groove_mm=rng.uniform(1, 5),
        pericardium_mm=rng.uniform(0.0, 0.9),
        paracardial_mm=rng.uniform(1, 6) + 14 * adiposity * rng.uniform(0.3, 1),
        patchiness=rng.uniform(0.3, 0.8),
    )


def _smooth_min(a: np.ndarray, b: np.ndarray, k: np.float32) -> np.ndarray:
    """The minimum with its concave corner filled over `k` mm (Quilez' polynomial smooth minimum)."""
    blend = np.maximum(k - np.abs(a - b), 0)
    return np.minimum(a, b) - blend**2 / (4 * k)
