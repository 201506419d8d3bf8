"""How each vendor's scanner is set up: public, typical cine protocols, as ranges from which a patient's scan is drawn.

The values follow published bSSFP cine protocols (Kramer et al., JCMR 2020, standardised CMR protocols; Campello et
al., IEEE TMI 2021, Table 1, for the scanners of M&Ms). They set vendors apart as sites really differ, in contrast,
sharpness, shading, filtering and noise; they are no vendor's specification.
"""

from dataclasses import dataclass

from numpy.random import Generator

from cmrfed.config import UserError
from cmrfed.datasets.phantom.physics import Filter

Range = tuple[float, float]


@dataclass(frozen=True)
class VendorStyle:
    """One scan's settings.

    snr: signal of left-ventricular blood over the noise's standard deviation in an unfiltered image.
    coil_depth_mm: 1/e depth of the receive coils. shading_correction: 0..1, the part of the shading divided out
    again after reconstruction, which lifts the noise far from the coil. off_resonance_hz: spread of the field map.
    filter_strength, partial_fourier: see `physics.acquire`. contrast_spread: relative spread of T1, T2 and proton
    density between patients. full_scale: intensity that the brightest thousandth is stored as; gamma bends below it.
    """

    field_strength_t: float
    tr_ms: float
    flip_deg: float
    acquired_mm: tuple[float, float]
    pixel_mm: float
    slice_thickness_mm: float
    slice_gap_mm: float
    filter: Filter
    filter_strength: float
    partial_fourier: float
    coil_depth_mm: float
    spine_share: float
    shading_correction: float
    snr: float
    inflow: float
    off_resonance_hz: float
    contrast_spread: float
    full_scale: float
    gamma: float

    @property
    def te_ms(self) -> float:
        """The echo of balanced SSFP lies in the middle of the repetition."""
        return self.tr_ms / 2


@dataclass(frozen=True)
class StyleRanges:
    """Ranges of a vendor's settings: uniform between the two numbers, or one of the choices listed."""

    flip_deg: Range
    acquired_mm: Range
    pixel_mm: Range
    tr_ms: Range
    filter_strength: Range
    coil_depth_mm: Range
    shading_correction: Range
    snr: Range
    full_scale: Range
    gamma: Range
    filters: tuple[Filter, ...]
    fields_t: tuple[float, ...] = (1.5,)
    anisotropy: Range = (1.0, 1.25)
    slice_thickness_mm: Range = (7.0, 8.0)
    slice_gap_mm: Range = (0.5, 2.0)
    partial_fourier: Range = (1.0, 1.0)
    spine_share: Range = (0.2, 0.5)
    inflow: Range = (0.0, 0.06)
    off_resonance_hz: Range = (5.0, 30.0)
    contrast_spread: float = 0.08

    def sample(self, rng: Generator) -> VendorStyle:
        """Draw one scan's settings."""
        resolution = rng.uniform(*self.acquired_mm)
        return VendorStyle(
            field_strength_t=float(rng.choice(self.fields_t)),
            tr_ms=rng.uniform(*self.tr_ms),
            flip_deg=rng.uniform(*self.flip_deg),
            acquired_mm=(resolution * rng.uniform(*self.anisotropy), resolution),
            pixel_mm=rng.uniform(*self.pixel_mm),
            slice_thickness_mm=rng.uniform(*self.slice_thickness_mm),
            slice_gap_mm=rng.uniform(*self.slice_gap_mm),
            filter=self.filters[int(rng.integers(len(self.filters)))],
            filter_strength=rng.uniform(*self.filter_strength),
            partial_fourier=rng.uniform(*self.partial_fourier),
            coil_depth_mm=rng.uniform(*self.coil_depth_mm),
            spine_share=rng.uniform(*self.spine_share),
            shading_correction=rng.uniform(*self.shading_correction),
            snr=rng.uniform(*self.snr),
            inflow=rng.uniform(*self.inflow),
            off_resonance_hz=rng.uniform(*self.off_resonance_hz),
            contrast_spread=self.contrast_spread,
            full_scale=rng.uniform(*self.full_scale),
            gamma=rng.uniform(*self.gamma),
        )


STYLES: dict[str, StyleRanges] = {
    "Siemens": StyleRanges(
        flip_deg=(60.0, 75.0),
        acquired_mm=(1.6, 1.9),
        pixel_mm=(1.25, 1.45),
        tr_ms=(3.0, 3.4),
        filters=("none",),
        filter_strength=(0.0, 0.0),
        coil_depth_mm=(90.0, 150.0),
        shading_correction=(0.4, 0.8),
        snr=(30.0, 50.0),
        full_scale=(350.0, 700.0),
        gamma=(0.95, 1.05),
        inflow=(0.0, 0.05),
    ),
    "Philips": StyleRanges(
        flip_deg=(50.0, 60.0),
        acquired_mm=(1.8, 2.2),
        pixel_mm=(1.1, 1.3),
        tr_ms=(2.9, 3.4),
        filters=("hamming",),
        filter_strength=(0.3, 0.6),
        coil_depth_mm=(120.0, 220.0),
        shading_correction=(0.8, 1.0),
        snr=(24.0, 40.0),
        full_scale=(900.0, 1600.0),
        gamma=(0.85, 0.98),
        slice_thickness_mm=(8.0, 10.0),
        slice_gap_mm=(0.0, 1.0),
    ),
    "GE": StyleRanges(
        flip_deg=(42.0, 52.0),
        acquired_mm=(1.6, 2.0),
        pixel_mm=(1.0, 1.2),
        tr_ms=(3.3, 3.9),
        filters=("fermi",),
        filter_strength=(0.3, 0.8),
        coil_depth_mm=(70.0, 115.0),
        shading_correction=(0.0, 0.35),
        snr=(40.0, 70.0),
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
        coil_depth_mm=(80.0, 160.0),
        shading_correction=(0.5, 0.9),
        snr=(16.0, 26.0),
        full_scale=(4000.0, 9000.0),
        gamma=(0.8, 0.95),
    ),
}
"""The four named vendors. Flip angle, sharpness, filter, shading and noise differ more between than within them."""

RANDOMISED = StyleRanges(
    flip_deg=(38.0, 80.0),
    acquired_mm=(1.4, 2.8),
    pixel_mm=(1.0, 1.6),
    tr_ms=(2.9, 4.2),
    filters=("none", "hamming", "fermi"),
    filter_strength=(0.0, 1.0),
    coil_depth_mm=(60.0, 300.0),
    shading_correction=(0.0, 1.0),
    snr=(14.0, 70.0),
    full_scale=(200.0, 4000.0),
    gamma=(0.7, 1.3),
    fields_t=(1.5, 1.5, 3.0),
    anisotropy=(1.0, 1.4),
    slice_thickness_mm=(6.0, 10.0),
    slice_gap_mm=(0.0, 2.0),
    partial_fourier=(0.7, 1.0),
    spine_share=(0.0, 0.8),
    inflow=(0.0, 0.12),
    off_resonance_hz=(0.0, 45.0),
    contrast_spread=0.16,
)
"""Any scanner: the wide ranges of public pretraining, meant to cover every named vendor and more."""


def sample_style(vendor: str | None, rng: Generator) -> VendorStyle:
    """Draw the settings of one scan by a named vendor, or by any scanner when `vendor` is None.

    Raises UserError when the vendor is not one of `STYLES`.
    """
    if vendor is None:
        return RANDOMISED.sample(rng)
    if vendor not in STYLES:
        raise UserError(f"phantom vendor {vendor!r} is unknown; choose from {', '.join(STYLES)}")
    return STYLES[vendor].sample(rng)
