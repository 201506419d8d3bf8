"""A heart's masks from the phantom's parametric ventricles: as large, to a voxel, as they are asked to be.

The ventricles' surfaces are cut at the slices, and each is swollen or shrunk as a whole until the voxels within it hold
what Simpson's rule is to find. One number says how far for all slices of a phase, and every voxel is entered at one
value of it; so the value that takes in as many voxels as are wanted is found by sorting these, without a search.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8
from numpy.random import Generator

from cmrfed.anatomy.course import physiology_of
from cmrfed.anatomy.reader import RIGHT, TURN, Reader
from cmrfed.anatomy.segments import thickest_mm
from cmrfed.anatomy.topology import bounds, pieces_by_slice
from cmrfed.config import HeartConfig, UserError, VoxelsConfig
from cmrfed.phantom.heart import ANGLES, Heart, Phase, Physiology, Section, Ventricles, sample_heart, turn_of
from cmrfed.shapes import Label, VolumeMask
from cmrfed.volumetry import MYOCARDIUM_G_PER_ML

PHASES: tuple[Phase, ...] = ("ED", "ES")

_LEAST_EPI_MM = 5.0
"""Radius of the left ventricle's smallest section that is outlined."""
_LEAST_RV_MM2 = 25.0
"""Area of the right one's smallest."""
_LEAST_WALL_PIXELS = 1.6
"""Or the blood within a thinned wall would touch, across a corner, what is around it."""
_ROOM_MM, _LEAST_ROOM_MM = 14.0, 5.0
"""Around the drawn outlines, for what is swollen; most need the least."""
_WALL_TRIES, _WALL_MM = 6, 0.2
_PIECE_TRIES, _LEAST_SHARED = 4, 0.5

Voxels = Float32[np.ndarray, "slice row column"]
Inside = Bool[np.ndarray, "*slice row column"]


@dataclass(frozen=True)
class HeartMasks:
    """One heart in motion: what it is, and its masks at both phases, slices from the base to the apex."""

    physiology: Physiology
    masks: Mapping[str, VolumeMask]
    spacing_mm: tuple[float, float, float]


def draw_heart(asked: HeartConfig, voxels: VoxelsConfig, rng: Generator) -> HeartMasks:
    """A heart as it is asked for; what is not asked is drawn.

    By Simpson's rule the masks hold the physiology's volumes to a voxel, and the mass where it is asked for; where the
    wall is asked for, its thickest segment has it within a millimetre. Raises UserError where a stack has no room for
    it.
    """
    physiology = physiology_of(asked, rng)
    # before what depends on the disease, so that one person's hearts are alike in the rest
    reader, turn_rad, first = Reader.sample(rng), float(rng.normal(*TURN)), rng.uniform(0.1, 0.9)
    heart = sample_heart(rng, physiology, RIGHT)
    cuts_mm = _cuts(heart, first, voxels.slice_mm)
    sections = {phase: reader.outlined(ventricles, cuts_mm, phase, rng) for phase, ventricles in heart.phases.items()}
    window = _Window.around(list(chain(*sections.values())), voxels, turn_rad)
    masks = _drawn(window.narrowed(_ROOM_MM - _LEAST_ROOM_MM), heart, sections, asked) or _drawn(
        window, heart, sections, asked
    )
    return HeartMasks(physiology, masks, window.spacing_mm)


def _drawn(
    window: "_Window", heart: Heart, sections: Mapping[Phase, Sequence[Section]], asked: HeartConfig
) -> dict[str, VolumeMask]:
    """Both phases; none where a narrowed window has no room for them."""
    physiology = heart.physiology
    ed, es = (_Ventricles.of(window, heart.phases[phase], sections[phase]) for phase in PHASES)
    try:
        diastole = ed.blood(physiology.lv_edv_ml)
        systole = es.blood(physiology.lv_edv_ml - physiology.stroke_volume_ml)
        muscle = _muscle(ed, diastole, asked)
        masks = {
            "ED": ed.labelled(diastole, muscle, physiology.rv_edv_ml),
            "ES": es.labelled(systole, muscle, physiology.rv_esv_ml),
        }
    except UserError:
        if window.narrow:
            return {}
        raise
    if window.narrow and any(_on_the_edge(mask) for mask in masks.values()):
        return {}
    return {phase: window.pasted(mask) for phase, mask in masks.items()}


def _on_the_edge(mask: VolumeMask) -> bool:
    return bool(mask[:, [0, -1]].any() or mask[:, :, [0, -1]].any())


def _muscle(ed: "_Ventricles", swelling: float, asked: HeartConfig) -> float:
    """How many times as much muscle as was drawn the wall has."""
    if asked.mass_g is not None:
        return ed.muscle(swelling, asked.mass_g / MYOCARDIUM_G_PER_ML)
    muscle = 1.0
    if asked.wall_mm is None:
        return muscle
    for _ in range(_WALL_TRIES):
        found = thickest_mm(ed.labelled(swelling, muscle, None), ed.window.spacing_mm)
        if abs(found - asked.wall_mm) < _WALL_MM:
            break
        muscle *= (asked.wall_mm / found) ** 1.2  # a thin wall's area goes with its thickness, a thick one's faster
    return muscle


def _cuts(heart: Heart, first: float, slice_mm: float) -> list[float]:
    """Heights of the slices: one above the left ventricle's base, the others from there to its apex. first: how far
    below the base the second one is, in slices."""
    return [float(z) for z in np.arange((first - 1) * slice_mm, heart.phases["ED"].lv_length_mm, slice_mm)]


@dataclass(frozen=True)
class _Window:
    """The part of the image in which the heart is, as points about the left ventricle's axis.

    s, t: mm towards the septum and the anterior wall. rows, columns: where the window's first pixel is in the image.
    """

    s: Float32[np.ndarray, "row column"]
    t: Float32[np.ndarray, "row column"]
    first: tuple[int, int]
    voxels: VoxelsConfig
    narrow: bool = False

    @classmethod
    def around(cls, sections: list[Section], voxels: VoxelsConfig, turn_rad: float) -> "_Window":
        """The heart that is cut so, turned about its axis, in the middle of the image."""
        cos, sin = np.cos(turn_rad), np.sin(turn_rad)
        s, t = _outline(sections)
        x, y = -s * cos + t * sin, -s * sin - t * cos
        low, high = (np.array([end(y), end(x)]) for end in (np.min, np.max))
        pixel, middle = voxels.pixel_mm, (low + high) / 2
        counts = np.ceil((high - low + 2 * _ROOM_MM) / pixel).astype(int)
        if (counts > voxels.size).any():
            raise UserError(
                f"voxels.size: {voxels.size} pixels of {pixel:g} mm have no room for a heart of "
                f"{counts.max() * pixel:.0f} mm; give {counts.max()} or more"
            )
        first = (voxels.size - counts) // 2
        at = [(np.arange(count) - (count - 1) / 2) * pixel + middle[axis] for axis, count in enumerate(counts)]
        rows, columns = np.meshgrid(*at, indexing="ij")
        return cls(
            (-columns * cos - rows * sin).astype(np.float32),
            (columns * sin - rows * cos).astype(np.float32),
            (int(first[0]), int(first[1])),
            voxels,
        )

    def narrowed(self, by_mm: float) -> "_Window":
        """The same points, without those that are so near to the window's edge."""
        edge = int(by_mm / self.voxels.pixel_mm)
        inner = (slice(edge, len(self.s) - edge), slice(edge, self.s.shape[1] - edge))
        first = self.first[0] + edge, self.first[1] + edge
        return replace(self, s=self.s[inner], t=self.t[inner], first=first, narrow=True)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        return self.voxels.slice_mm, self.voxels.pixel_mm, self.voxels.pixel_mm

    @property
    def voxel_ml(self) -> float:
        return float(np.prod(self.spacing_mm)) / 1000

    def pasted(self, mask: UInt8[np.ndarray, "slice window_row window_column"]) -> VolumeMask:
        """The whole image's mask from the window's."""
        size, (row, column) = self.voxels.size, self.first
        whole = np.zeros((len(mask), size, size), np.uint8)
        whole[:, row : row + mask.shape[1], column : column + mask.shape[2]] = mask
        return whole


@dataclass(frozen=True)
class _Ventricles:
    """Both ventricles' surfaces in the window's voxels.

    radius_squared, endo_squared, ring: about the left ventricle's axis, in mm2; the epicardium's squared radius is that
    of the endocardium and `ring`. away: how many times further from the right ventricle's own centre a voxel lies than
    its outline does. left, right: in which slices each ventricle is outlined.
    """

    window: _Window
    radius_squared: Float32[np.ndarray, "1 row column"]
    endo_squared: Voxels
    ring: Voxels
    away: Voxels
    left: Bool[np.ndarray, "slice 1 1"]
    right: Bool[np.ndarray, "slice 1 1"]

    @classmethod
    def of(cls, window: _Window, ventricles: Ventricles, sections: Sequence[Section]) -> "_Ventricles":
        """sections: as they were outlined, at the window's cuts."""
        turn = turn_of(window.s, window.t)
        endo = np.stack([section.endo for section in sections]) ** 2
        epi = np.stack([section.epi for section in sections]) ** 2
        z = np.array([section.z_mm for section in sections])
        shown = (z >= ventricles.lv_base_mm) & (np.sqrt(epi).mean(1) > _LEAST_EPI_MM)
        return cls(
            window,
            (window.s**2 + window.t**2)[None],
            endo.take(turn, axis=1),
            (epi - endo).take(turn, axis=1),
            np.stack([_away(window, section) for section in sections]),
            shown[:, None, None],
            (z >= ventricles.rv_base_mm)[:, None, None],
        )

    def blood(self, wanted_ml: float) -> float:
        """How many times larger than drawn the left cavity's sections are to be, in area, to hold that much."""
        with np.errstate(divide="ignore", invalid="ignore"):
            entered = np.where(self.left & (self.endo_squared > 0), self.radius_squared / self.endo_squared, np.inf)
        return self._taking_in(entered, wanted_ml, "edv_ml")

    def muscle(self, swelling: float, wanted_ml: float) -> float:
        """How many times as much muscle as drawn the wall is to have, for that much of it."""
        with np.errstate(divide="ignore", invalid="ignore"):
            entered = (self.radius_squared - swelling * self.endo_squared) / self.ring
        entered = np.where(self._thinnest(swelling), 0, np.where(self.left, entered, np.inf))
        return self._taking_in(np.where(self._cavity(swelling), np.inf, entered), wanted_ml, "mass_g")

    def labelled(self, swelling: float, muscle: float, right_ml: float | None) -> VolumeMask:
        """right_ml: what the right ventricle is to hold; None leaves it as it was drawn."""
        cavity = self._cavity(swelling)
        beneath = self.radius_squared < swelling * self.endo_squared + muscle * self.ring
        mask = np.where((beneath & self.left) | self._thinnest(swelling), np.uint8(Label.MYO), np.uint8(0))
        mask[cavity] = Label.LV
        free = self.right & ~beneath & (mask == 0)
        entered = np.where(free, self.away, np.inf)
        mask[self._right_piece(entered, right_ml)] = Label.RV
        return mask

    def _right_piece(self, entered: Voxels, wanted_ml: float | None) -> Inside:
        """The right ventricle; near its tip little is left of it beside the left one, and not in one piece."""
        if wanted_ml is None:
            return self._in_one_piece(entered < 1)
        for _ in range(_PIECE_TRIES):
            inside = entered < self._taking_in(entered, wanted_ml, "rv_edv_ml")
            piece = self._in_one_piece(inside)
            if np.count_nonzero(piece) == np.count_nonzero(inside):
                break
            entered = np.where(inside & ~piece, np.inf, entered)
        return piece

    def _in_one_piece(self, inside: Inside) -> Inside:
        """Of the slice that shows most the largest piece, and of each next one the piece that goes on from there, as
        far as one does that can be outlined."""
        kept = np.zeros_like(inside)
        near = (slice(None), *bounds(inside))
        pieces, found = pieces_by_slice(inside[near], across_corners=False), kept[near]
        widest = int(np.argmax([np.count_nonzero(one) for one in inside]))
        least = _LEAST_RV_MM2 / self.window.voxels.pixel_mm**2
        for way in (range(widest, len(inside)), range(widest, -1, -1)):
            before = pieces[widest] > 0
            for index in way:
                piece = _piece_over(pieces[index], before)
                if np.count_nonzero(piece) < least:
                    break
                found[index] = before = piece
        return kept

    def _cavity(self, swelling: float) -> Inside:
        return self.left & (self.radius_squared < swelling * self.endo_squared)

    def _thinnest(self, swelling: float) -> Inside:
        """The cavity and the thinnest wall that can be outlined."""
        wall = np.float32(_LEAST_WALL_PIXELS * self.window.voxels.pixel_mm)
        reach = np.sqrt(np.float32(swelling) * self.endo_squared) + wall
        return self.left & (self.radius_squared < reach**2)

    def _taking_in(self, entered: Voxels, wanted_ml: float, key: str) -> float:
        """The value above that of as many voxels as hold `wanted_ml`, and not above the next one's."""
        count = round(wanted_ml / self.window.voxel_ml)
        room = np.count_nonzero(np.isfinite(entered))
        if not 0 < count < room:
            raise UserError(f"{key}: slices so far apart have no room for {wanted_ml:.0f} ml of it in this heart")
        near, reach = entered[:0], 1.0
        while len(near) <= count:  # few of them are, and the others need no sorting
            reach *= 2
            near = entered[entered < reach]
        here, beyond = np.partition(near, (count - 1, count))[count - 1 : count + 1]
        return float(here + beyond) / 2


def _away(window: _Window, section: Section) -> Float32[np.ndarray, "row column"]:
    """As `_Ventricles.away`; infinite where there is no right ventricle."""
    if not section.rv_radius.any():
        return np.full(window.s.shape, np.inf, np.float32)
    s, t = window.s - np.float32(section.rv_centre[0]), window.t - np.float32(section.rv_centre[1])
    outline = section.rv_radius[turn_of(s, t)]
    with np.errstate(divide="ignore"):
        return np.where(outline > 0, np.sqrt(s * s + t * t) / outline, np.inf).astype(np.float32)


def _outline(sections: list[Section]) -> tuple[np.ndarray, np.ndarray]:
    """Points (s, t) on the outside of both ventricles."""
    angle = np.linspace(-np.pi, np.pi, ANGLES, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    s = [[section.epi * cos, section.rv_centre[0] + section.rv_radius * cos] for section in sections]
    t = [[section.epi * sin, section.rv_centre[1] + section.rv_radius * sin] for section in sections]
    return np.ravel(s), np.ravel(t)


def _piece_over(pieces: Int[np.ndarray, "row column"], before: Bool[np.ndarray, "row column"]) -> Inside:
    """The piece of a slice that has most in common with its neighbour's; none where that is little of either."""
    shared = np.bincount(pieces[before], minlength=1)
    shared[0] = 0
    piece = np.asarray(pieces == np.argmax(shared)) & (pieces > 0)
    over = min(np.count_nonzero(piece), np.count_nonzero(before))
    return piece if shared.max() >= _LEAST_SHARED * over else np.zeros_like(piece)
