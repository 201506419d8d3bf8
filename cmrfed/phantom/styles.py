"""How each vendor's scanner is set up: public, typical cine protocols, as ranges from which a patient's scan is drawn.

The values follow published bSSFP cine protocols (Kramer et al., JCMR 2020, standardised CMR protocols; Campello et
al., IEEE TMI 2021, Table 1, for the scanners of M&Ms). They set vendors apart as sites really differ, in contrast,
sharpness, shading, filtering and noise; they are no vendor's specification.
"""

from dataclasses import dataclass, fields
from typing import get_args

import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from cmrfed.config import UserError
from cmrfed.phantom.physics import Filter

Range = tuple[float, float]


@dataclass(frozen=True)
class VendorStyle:
    """One scan's settings: one choice, the k-space filter, and numbers, which `vector` gives as one vector.

    acquired_mm: resolution along columns; along rows, the phase-encoding direction, it is `anisotropy` times coarser.
    filter_strength, partial_fourier: see `physics.acquire`.
    phase_fov: extent in the phase-encoding direction over what is imaged; below 1 the body wraps around.
    coil_radius_mm: radius of the receive loops, about the depth to which they see. spine_share: weight of the loops at
    the back. bias: relative spread of smooth shading that no receive field explains, as by uneven transmission.
    shading_correction: 0..1, the part of the receive shading divided out again after reconstruction, which lifts the
    noise far from the coils. parallel: 0..1, the power of the geometry factor of two-fold acceleration in the noise.
    snr: signal of left-ventricular blood over the noise's standard deviation in an unfiltered image.
    inflow: mean share of ventricular blood that is fresh (see `physics.tissue_signals`). off_resonance_hz: spread of
    the field map at 1.5 T. ghosting, motion_mm: how far k-space lines differ (see `physics.line_modulation`).
    sharpening: strength of unsharp masking. contrast_spread: relative spread of T1, T2 and proton density between
    patients. full_scale: intensity that the brightest thousandth is stored as; gamma bends below it.
    """

    field_strength_t: float
    tr_ms: float
    flip_deg: float
    acquired_mm: float
    anisotropy: float
    pixel_mm: float
    slice_thickness_mm: float
    slice_gap_mm: float
    filter_strength: float
    partial_fourier: float
    phase_fov: float
    coil_radius_mm: float
    spine_share: float
    bias: float
    shading_correction: float
    parallel: float
    snr: float
    inflow: float
    off_resonance_hz: float
    ghosting: float
    motion_mm: float
    sharpening: float
    contrast_spread: float
    full_scale: float
    gamma: float
    filter: Filter

    @property
    def te_ms(self) -> float:
        """The echo of balanced SSFP lies in the middle of the repetition."""
        return self.tr_ms / 2

    def vector(self) -> Float[np.ndarray, " setting"]:
        """The numbers of `SETTINGS`, in that order, as their places in `RANDOMISED`'s ranges: 0 low end, 1 high end.

        Settings of `LOGARITHMIC` are placed by their logarithm. So any scanner is uniform in the unit cube.
        """
        return np.array([_place(getattr(self, name), name) for name in SETTINGS])

    def condition(self) -> tuple[float, ...]:
        """The style as `cmrfed.conditions` has it: `vector` within [0, 1], then 1 for its filter and 0 for others."""
        return (*np.clip(self.vector(), 0, 1).tolist(), *(float(self.filter == one) for one in get_args(Filter)))

    @classmethod
    def from_vector(cls, vector: Float[np.ndarray, " setting"], filter: Filter) -> "VendorStyle":
        """The style of which this is the `vector`; entries beyond 0..1 are moved to the nearer end.

        Raises ValueError when there are more or fewer entries than `SETTINGS`, or one is not finite.
        """
        if vector.shape != (len(SETTINGS),) or not np.isfinite(vector).all():
            raise ValueError(f"a style vector has {len(SETTINGS)} finite entries, one a setting; got {vector}")
        numbers = {name: _value(place, name) for name, place in zip(SETTINGS, np.clip(vector, 0, 1), strict=True)}
        return cls(**numbers, filter=filter)


SETTINGS = tuple(field.name for field in fields(VendorStyle) if field.name != "filter")
"""Names of a style's numbers, in the order of its vector."""

LOGARITHMIC = frozenset({"acquired_mm", "coil_radius_mm", "snr", "full_scale", "gamma"})
"""Settings of which equal ratios, not equal differences, look equally different."""


@dataclass(frozen=True)
class StyleRanges:
    """Ranges of a vendor's settings, or the choices listed: uniform, or log-uniform for those of `LOGARITHMIC`."""

    flip_deg: Range
    acquired_mm: Range
    pixel_mm: Range
    tr_ms: Range
    filter_strength: Range
    coil_radius_mm: Range
    shading_correction: Range
    snr: Range
    full_scale: Range
    gamma: Range
    filters: tuple[Filter, ...]
    fields_t: tuple[float, ...] = (1.5,)
    field_strength_t: Range = (1.5, 3.0)
    anisotropy: Range = (1.0, 1.25)
    slice_thickness_mm: Range = (7.0, 8.0)
    slice_gap_mm: Range = (0.5, 2.0)
    partial_fourier: Range = (1.0, 1.0)
    phase_fov: Range = (1.0, 1.3)
    spine_share: Range = (0.3, 0.8)
    bias: Range = (0.0, 0.12)
    parallel: Range = (0.0, 0.6)
    inflow: Range = (0.0, 0.2)
    off_resonance_hz: Range = (5.0, 30.0)
    ghosting: Range = (0.0, 0.03)
    motion_mm: Range = (0.0, 0.8)
    sharpening: Range = (0.0, 0.2)
    contrast_spread: Range = (0.08, 0.08)

    def sample(self, rng: Generator) -> VendorStyle:
        """Draw one scan's settings."""
        drawn = {name: _draw(rng, getattr(self, name), name in LOGARITHMIC) for name in SETTINGS}
        drawn["field_strength_t"] = float(rng.choice(self.fields_t))
        return VendorStyle(**drawn, filter=self.filters[int(rng.integers(len(self.filters)))])


STYLES: dict[str, StyleRanges] = {
    "Siemens": StyleRanges(
        flip_deg=(60.0, 75.0),
        acquired_mm=(1.6, 1.9),
        pixel_mm=(1.25, 1.45),
        tr_ms=(3.0, 3.4),
        filters=("none",),
        filter_strength=(0.0, 0.0),
        coil_radius_mm=(50.0, 90.0),
        shading_correction=(0.2, 0.7),
        snr=(40.0, 70.0),
        full_scale=(350.0, 700.0),
        gamma=(0.95, 1.05),
        parallel=(0.2, 0.8),
    ),
    "Philips": StyleRanges(
        flip_deg=(50.0, 60.0),
        acquired_mm=(1.8, 2.2),
        pixel_mm=(1.1, 1.3),
        tr_ms=(2.9, 3.4),
        filters=("hamming",),
        filter_strength=(0.3, 0.6),
        coil_radius_mm=(80.0, 160.0),
        shading_correction=(0.8, 1.0),
        snr=(30.0, 50.0),
        full_scale=(900.0, 1600.0),
        gamma=(0.85, 0.98),
        slice_thickness_mm=(8.0, 10.0),
        slice_gap_mm=(0.0, 1.0),
        sharpening=(0.1, 0.25),
        parallel=(0.4, 1.0),
    ),
    "GE": StyleRanges(
        flip_deg=(42.0, 52.0),
        acquired_mm=(1.6, 2.0),
        pixel_mm=(1.0, 1.2),
        tr_ms=(3.3, 3.9),
        filters=("fermi",),
        filter_strength=(0.3, 0.8),
        coil_radius_mm=(50.0, 75.0),
        shading_correction=(0.0, 0.35),
        snr=(50.0, 90.0),
        full_scale=(2000.0, 4000.0),
        gamma=(1.0, 1.15),
        partial_fourier=(0.75, 0.9),
    ),
    "Canon": StyleRanges(
        flip_deg=(52.0, 68.0),
        acquired_mm=(2.1, 2.6),
        pixel_mm=(1.3, 1.5),
        tr_ms=(3.3, 4.0),
        filters=("hamming", "fermi"),
        filter_strength=(0.7, 1.0),
        coil_radius_mm=(60.0, 120.0),
        shading_correction=(0.5, 0.9),
        snr=(20.0, 32.0),
        full_scale=(4000.0, 9000.0),
        gamma=(0.8, 0.95),
        parallel=(0.0, 0.5),
    ),
}
"""The four named vendors. Flip angle, sharpness, filter, shading and noise differ more between than within them."""

RANDOMISED = StyleRanges(
    flip_deg=(35.0, 85.0),
    acquired_mm=(1.6, 3.4),
    pixel_mm=(1.0, 1.6),
    tr_ms=(2.7, 4.2),
    filters=("none", "hamming", "hamming", "hamming", "fermi"),
    filter_strength=(0.0, 1.0),
    coil_radius_mm=(50.0, 220.0),
    shading_correction=(0.0, 1.0),
    snr=(20.0, 350.0),
    full_scale=(200.0, 10000.0),
    gamma=(0.65, 1.3),
    fields_t=(1.5, 1.5, 3.0),
    anisotropy=(1.0, 1.4),
    slice_thickness_mm=(6.0, 10.0),
    slice_gap_mm=(0.0, 2.0),
    partial_fourier=(0.7, 1.0),
    phase_fov=(0.82, 1.5),
    spine_share=(0.2, 1.2),
    bias=(0.0, 0.35),
    parallel=(0.0, 1.0),
    inflow=(0.0, 0.35),
    off_resonance_hz=(0.0, 45.0),
    ghosting=(0.0, 0.06),
    motion_mm=(0.0, 1.5),
    sharpening=(0.0, 0.25),
    contrast_spread=(0.02, 0.2),
)
"""Any scanner: the wide ranges of public pretraining, which cover every named vendor and more, and scale `vector`."""


def sample_style(vendor: str | None, rng: Generator) -> VendorStyle:
    """Draw the settings of one scan by a named vendor, or by any scanner when `vendor` is None.

    Raises UserError when the vendor is not one of `STYLES`.
    """
    if vendor is None:
        return RANDOMISED.sample(rng)
    if vendor not in STYLES:
        raise UserError(f"phantom vendor {vendor!r} is unknown; choose from {', '.join(STYLES)}")
    return STYLES[vendor].sample(rng)


def _draw(rng: Generator, limits: Range, logarithmic: bool) -> float:
    low, high = limits
    return float(np.exp(rng.uniform(np.log(low), np.log(high)))) if logarithmic else rng.uniform(low, high)


def _place(value: float, name: str) -> float:
    """Of a setting's value in its range, 0..1."""
    low, high = getattr(RANDOMISED, name)
    if name in LOGARITHMIC:
        low, high, value = np.log(low), np.log(high), np.log(value)
    return float((value - low) / (high - low))


def _value(place: float, name: str) -> float:
    """The reverse of `_place`."""
    low, high = getattr(RANDOMISED, name)
    return float(low * (high / low) ** place) if name in LOGARITHMIC else float(low + (high - low) * place)
