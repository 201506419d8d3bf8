"""Tissue as signal: contrast from relaxation and field, grain from point to point, and what the flow of blood adds."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int
from numpy.random import Generator

from cmrfed.phantom.anatomy import FIELD_OF_VIEW_MM, SIZE
from cmrfed.phantom.fields import Plane, Warp
from cmrfed.phantom.heart import HeartPoints
from cmrfed.phantom.physics import Sequence, Tissue, tissue_signals
from cmrfed.phantom.styles import VendorStyle
from cmrfed.phantom.thorax import Noise, PointValues, TissueMap

Box = tuple[slice, slice]
WHOLE: Box = (slice(None), slice(None))

_FREQUENCY_BINS = 64


@dataclass(frozen=True)
class _Jet:
    """A streak of blood that has lost signal: centre (s, t), half-length and half-width in mm, and depth 0..1.

    Fast or turbulent flow dephases within a voxel, and blood that comes from off-resonant places arrives with their
    signal (Markl et al., MRM 2003; Storey et al., MRM 2004).
    """

    centre: tuple[float, float]
    length_mm: float
    width_mm: float
    turn_rad: float
    depth: float

    @classmethod
    def sample(cls, rng: Generator) -> "_Jet":
        return cls(
            centre=(rng.uniform(-25, 65), rng.uniform(-30, 30)),
            length_mm=rng.uniform(6, 25),
            width_mm=rng.uniform(2, 7),
            turn_rad=rng.uniform(0, np.pi),
            depth=rng.uniform(-0.2, 0.7),
        )

    def gain(self, s: PointValues, t: PointValues) -> PointValues:
        """What is left of the signal at the points (s, t) of the heart."""
        ds, dt = s - np.float32(self.centre[0]), t - np.float32(self.centre[1])
        cos, sin = np.float32(np.cos(self.turn_rad)), np.float32(np.sin(self.turn_rad))
        along = (ds * cos + dt * sin) / np.float32(self.length_mm)
        across = (dt * cos - ds * sin) / np.float32(self.width_mm)
        return np.asarray(1 - np.float32(self.depth) * np.exp(-along * along - across * across))


@dataclass(frozen=True)
class Texture:
    """Signal of each tissue by off-resonance, how much it varies from point to point, and what flow adds.

    `tables`: by phase and slice, since fresh blood comes in with each beat, most at the base.
    """

    tables: Float32[np.ndarray, "phase slice entry"]
    bins: Int[np.ndarray, "row column"]
    fine: Float32[np.ndarray, " tissue"]
    medium: Float32[np.ndarray, " tissue"]
    coarse: Float32[np.ndarray, " tissue"]
    jets: tuple[tuple[tuple[_Jet, ...], ...], ...]

    @classmethod
    def sample(cls, rng: Generator, style: VendorStyle, slices: int, sequence: Sequence = "bSSFP") -> "Texture":
        """Fat, lung and bowel vary most; blood by its flow; muscle and liver by their grain. How much has no published
        source: the kernel distance to real patients chose it (`benches.phantom --half development`)."""
        frequencies = np.linspace(-150, 150, _FREQUENCY_BINS)
        fine, medium = np.full(len(Tissue), 0.05), np.full(len(Tissue), 0.05)
        fine[[Tissue.FAT, Tissue.LUNG, Tissue.BOWEL]] = 0.05, 0.15, 0.2
        medium[[Tissue.FAT, Tissue.LUNG, Tissue.BOWEL]] = 0.08, 0.2, 0.3
        medium[[Tissue.LIVER, Tissue.SMALL_VESSEL]] = 0.1, 0.3
        coarse = np.full(len(Tissue), 0.04)
        coarse[[Tissue.BLOOD, Tissue.VENOUS_BLOOD, Tissue.LUNG, Tissue.FAT]] = 0.06, 0.08, 0.3, 0.1
        fine, medium, coarse = (rng.uniform(0.8, 2.4) * np.stack([fine, medium, coarse])).astype(np.float32)
        jets = [tuple(_Jet.sample(rng) for _ in range(rng.poisson(0.7))) for _ in range(2 * slices)]
        return cls(
            tables=_tables(rng, style, frequencies, slices, sequence),
            bins=_field_map(rng, style, frequencies),
            fine=fine,
            medium=medium,
            coarse=coarse,
            jets=(tuple(jets[:slices]), tuple(jets[slices:])),
        )

    def signal(self, tissue: TissueMap, noise: Noise, index: int, phase: int, box: Box = WHOLE) -> Plane:
        """The tissue map of `box`, a part of the rendered plane, as signal; `noise` is that of the box."""
        kinds = tissue.astype(np.intp)
        grain = self.fine.take(kinds) * noise.fine
        grain += self.medium.take(kinds) * noise.medium
        grain += self.coarse.take(kinds) * noise.coarse
        grain += 1
        np.maximum(grain, 0, out=grain)
        kinds *= _FREQUENCY_BINS
        kinds += self.bins[box]
        grain *= self.tables[phase, index].take(kinds)
        return grain

    def flow(self, signal: Plane, phase: int, index: int, points: HeartPoints, tissue: TissueMap) -> None:
        """Take from the signal of blood what the jets of that slice cost it."""
        jets = self.jets[phase][index]
        if not jets:
            return
        blood = np.flatnonzero((tissue == Tissue.BLOOD.value) | (tissue == Tissue.VENOUS_BLOOD.value))
        s, t = points.s.take(blood), points.t.take(blood)
        left = signal.take(blood)
        for jet in jets:
            left *= jet.gain(s, t)
        signal.ravel()[blood] = left


def _tables(
    rng: Generator, style: VendorStyle, frequencies: np.ndarray, slices: int, sequence: Sequence
) -> Float32[np.ndarray, "phase slice entry"]:
    """Signals of every tissue and off-resonance, by phase and slice; a table's entries are raveled."""
    spread = np.exp(style.contrast_spread * rng.standard_normal((len(Tissue), 3)))
    # how much air is left in the lung differs most between people and breath-holds
    spread[Tissue.LUNG, 2] *= np.exp(rng.uniform(-0.7, 0.7))
    # both ventricles hold the same blood, but for its oxygen
    spread[Tissue.VENOUS_BLOOD] = spread[Tissue.BLOOD] * np.exp(0.08 * rng.standard_normal(3))
    still, fresh = (
        tissue_signals(
            style.field_strength_t, style.tr_ms, style.te_ms, style.flip_deg, inflow, frequencies, spread, sequence
        )
        for inflow in (0.0, 1.0)
    )
    # through-plane velocity falls from the valves to the apex, and differs from beat to beat and phase to phase
    level = np.linspace(1.6, 0.4, slices)[None, :]
    uneven = np.exp(0.5 * rng.standard_normal((2, 1)) + 0.3 * rng.standard_normal((2, slices)))
    inflow = np.minimum(style.inflow * level * uneven, 1)[:, :, None, None]
    return np.asarray(still + inflow * (fresh - still), dtype=np.float32).reshape(2, slices, -1)


def _field_map(rng: Generator, style: VendorStyle, frequencies: np.ndarray) -> Int[np.ndarray, "row column"]:
    """A smooth map of off-resonance, as the index of the nearest of `frequencies`; it grows with the field.

    Shimming leaves a wide residue; where heart, lung and diaphragm meet, below the lateral wall, a patch of 70 Hz
    peak to peak at 1.5 T stays (Reeder et al., MRM 1998).
    """
    at = np.linspace(-FIELD_OF_VIEW_MM / 2, FIELD_OF_VIEW_MM / 2, SIZE, endpoint=False, dtype=np.float32)
    x, y = np.meshgrid(at, at)
    field = Warp.sample(rng, style.off_resonance_hz, (120.0, 400.0))(x, y)[0] - x
    centre, width = rng.normal((30, 20), 20), rng.uniform(12, 30)
    away = (x - np.float32(centre[0])) ** 2 + (y - np.float32(centre[1])) ** 2
    field += np.float32(rng.normal(0, 1.5 * style.off_resonance_hz)) * np.exp(-away / np.float32(2 * width**2))
    field *= np.float32(style.field_strength_t / 1.5)
    step = frequencies[1] - frequencies[0]
    return np.clip(np.rint((field - frequencies[0]) / step), 0, len(frequencies) - 1).astype(np.intp)
