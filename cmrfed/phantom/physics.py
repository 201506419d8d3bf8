"""What a scanner does to tissue: balanced SSFP contrast, coil shading, and an image taken through k-space.

Sources: the on-resonance steady state of bSSFP and its profile over off-resonance (Freeman & Hill 1971; Scheffler &
Lehnhardt, Eur Radiol 2003); Rician magnitude noise (Gudbjartsson & Patz, MRM 1995); arrays of receive loops (Roemer et
al., MRM 1990) and the geometry factor of parallel imaging (Pruessmann et al., MRM 1999); ghosts of periodic motion
(Wood & Henkelman, Med Phys 1985); relaxation times from Stanisz et al. (MRM 2005), de Bazelaire et al. (Radiology 2004)
and, for myocardium, Bojorquez et al. (MRI 2017) and von Knobelsdorff-Brenkenhoff et al. (JCMR 2013); venous blood, T2
falling with its oxygen, after Wright et al. (JMRI 1991); density of expired lung, Hopkins et al. (J Appl Physiol 2007).
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
from jaxtyping import Complex64, Float, Float32
from numpy.random import Generator
from scipy import fft

from cmrfed.phantom.fields import Plane

Filter = Literal["none", "hamming", "fermi"]
Sequence = Literal["bSSFP", "GRE"]
"""Balanced steady-state free precession, as cine has it; or a spoiled gradient echo, weighted by T1."""
ComplexPlanes = Complex64[np.ndarray, "slice row column"]

FAT_SHIFT_PPM = -3.4
GYROMAGNETIC_RATIO_HZ_PER_T = 42.577e6


class Tissue(IntEnum):
    """What a point of the phantom is made of."""

    AIR = 0
    LUNG = 1
    BLOOD = 2
    MYOCARDIUM = 3
    FAT = 4
    MUSCLE = 5
    CORTICAL_BONE = 6
    MARROW = 7
    LIVER = 8
    SPLEEN = 9
    FLUID = 10
    BOWEL = 11
    SKIN = 12
    FIBROUS = 13
    VENOUS_BLOOD = 14
    SMALL_VESSEL = 15
    CARTILAGE = 16


# Relaxation times in ms at 1.5 T and 3 T, proton density relative to water, and whether the protons are those of fat.
_PROPERTIES: dict[Tissue, tuple[float, float, float, float, float, bool]] = {
    # tissue: T1 1.5 T, T2 1.5 T, T1 3 T, T2 3 T, proton density, fat
    Tissue.AIR: (1000, 10, 1000, 10, 0.0, False),
    Tissue.LUNG: (1200, 40, 1300, 35, 0.26, False),
    Tissue.BLOOD: (1480, 260, 1880, 245, 0.95, False),
    Tissue.MYOCARDIUM: (1000, 48, 1180, 44, 0.82, False),
    Tissue.FAT: (310, 72, 382, 68, 0.92, True),
    Tissue.MUSCLE: (960, 38, 1150, 33, 0.80, False),
    Tissue.CORTICAL_BONE: (1000, 5, 1000, 5, 0.08, False),
    Tissue.MARROW: (520, 52, 586, 49, 0.60, True),
    Tissue.LIVER: (586, 46, 809, 36, 0.80, False),
    Tissue.SPLEEN: (1057, 79, 1328, 61, 0.84, False),
    Tissue.FLUID: (2600, 600, 3000, 500, 0.90, False),
    Tissue.BOWEL: (800, 50, 950, 45, 0.70, False),
    Tissue.SKIN: (900, 32, 1000, 30, 0.60, False),
    Tissue.FIBROUS: (900, 18, 1000, 16, 0.45, False),
    Tissue.VENOUS_BLOOD: (1480, 180, 1880, 120, 0.95, False),
    # vessels thinner than the slice: blood that fills part of it
    Tissue.SMALL_VESSEL: (1480, 220, 1880, 170, 0.55, False),
    Tissue.CARTILAGE: (1060, 42, 1160, 37, 0.70, False),
}


def bssfp_signal(
    t1_ms: Float[np.ndarray, "*shape"],
    t2_ms: Float[np.ndarray, "*shape"],
    tr_ms: float,
    te_ms: float,
    flip_deg: float,
) -> Float[np.ndarray, "*shape"]:
    """Steady-state bSSFP magnitude on resonance, per unit of proton density.

    S = sin(a) (1 - E1) / (1 - (E1 - E2) cos(a) - E1 E2) exp(-TE / T2), E1 = exp(-TR/T1), E2 = exp(-TR/T2).
    """
    alpha = np.deg2rad(flip_deg)
    e1, e2 = np.exp(-tr_ms / t1_ms), np.exp(-tr_ms / t2_ms)
    steady = np.sin(alpha) * (1 - e1) / (1 - (e1 - e2) * np.cos(alpha) - e1 * e2)
    return steady * np.exp(-te_ms / t2_ms)


def bssfp_profile(
    t1_ms: Float[np.ndarray, "*shape"],
    t2_ms: Float[np.ndarray, "*shape"],
    off_resonance_hz: Float[np.ndarray, "*shape"],
    tr_ms: float,
    te_ms: float,
    flip_deg: float,
) -> Float[np.ndarray, "*shape"]:
    """Signed steady-state bSSFP signal at an off-resonance, per unit of proton density, RF phase alternating by pi.

    With th = 2 pi f TR + pi and d = (1 - E1 cos a)(1 - E2 cos th) - E2 (E1 - cos a)(E2 - cos th),
    M = (1 - E1) sin(a) (1 - E2 exp(-i th)) / d. At TE = TR/2 the spins refocus to a phase of 0 or pi that flips from
    one pass band to the next, as bSSFP's "India ink" line between water and fat shows; so the magnitude is given the
    sign of cos(pi f TR). At f = 0 it equals `bssfp_signal`; at |f| = 1 / (2 TR) it has its dark band.
    """
    alpha = np.deg2rad(flip_deg)
    theta = 2 * np.pi * off_resonance_hz * tr_ms * 1e-3 + np.pi
    e1, e2 = np.exp(-tr_ms / t1_ms), np.exp(-tr_ms / t2_ms)
    denominator = (1 - e1 * np.cos(alpha)) * (1 - e2 * np.cos(theta)) - e2 * (e1 - np.cos(alpha)) * (e2 - np.cos(theta))
    transverse = (1 - e1) * np.sin(alpha) * np.abs(1 - e2 * np.exp(-1j * theta)) / denominator
    return np.sign(np.sin(theta / 2)) * transverse * np.exp(-te_ms / t2_ms)


def spoiled_signal(
    t1_ms: Float[np.ndarray, "*shape"],
    t2_ms: Float[np.ndarray, "*shape"],
    tr_ms: float,
    te_ms: float,
    flip_deg: float,
) -> Float[np.ndarray, "*shape"]:
    """Steady-state magnitude of a spoiled gradient echo, per unit of proton density (Ernst and Anderson 1966).

    S = sin(a) (1 - E1) / (1 - E1 cos(a)) exp(-TE / T2), E1 = exp(-TR/T1); the field's part of T2* is left out.
    """
    alpha, e1 = np.deg2rad(flip_deg), np.exp(-tr_ms / t1_ms)
    return np.sin(alpha) * (1 - e1) / (1 - e1 * np.cos(alpha)) * np.exp(-te_ms / t2_ms)


GRE_TR_MS, GRE_TE_MS, GRE_FLIP_DEG = 6.0, 2.5, 20.0
"""Of the T1-weighted image, whatever the cine's are."""


def tissue_signals(
    field_strength_t: float,
    tr_ms: float,
    te_ms: float,
    flip_deg: float,
    inflow: float,
    off_resonance_hz: Float[np.ndarray, " bins"],
    spread: Float[np.ndarray, "tissue 3"],
    sequence: Sequence = "bSSFP",
) -> Float32[np.ndarray, "tissue bins"]:
    """The signed signal of every `Tissue` at each off-resonance, in units of fully recovered water.

    `inflow`: 0..1, the part of arterial blood that has just entered the slice and not yet lost its magnetisation; it
    gives up to the single-pulse signal sin(a). `spread` multiplies T1, T2 and proton density, tissue by tissue.
    Relaxation times are interpolated between 1.5 T and 3 T. A spoiled gradient echo has its own angle and times, and
    excites a slab, so that no blood comes in fresh.
    """
    if sequence == "GRE":
        tr_ms, te_ms, flip_deg, inflow = GRE_TR_MS, GRE_TE_MS, GRE_FLIP_DEG, 0.0
    rows = np.array([_PROPERTIES[tissue] for tissue in Tissue], dtype=float)
    weight = (field_strength_t - 1.5) / 1.5
    t1 = (rows[:, 0] * (1 - weight) + rows[:, 2] * weight) * spread[:, 0]
    t2 = (rows[:, 1] * (1 - weight) + rows[:, 3] * weight) * spread[:, 1]
    shift = rows[:, 5] * FAT_SHIFT_PPM * 1e-6 * GYROMAGNETIC_RATIO_HZ_PER_T * field_strength_t
    frequency = off_resonance_hz[None, :] + shift[:, None]
    t1, t2 = np.broadcast_to(t1[:, None], frequency.shape), np.broadcast_to(t2[:, None], frequency.shape)
    if sequence == "GRE":
        signal = spoiled_signal(t1, t2, tr_ms, te_ms, flip_deg)
    else:
        signal = bssfp_profile(t1, t2, frequency, tr_ms, te_ms, flip_deg)
    fresh = np.sin(np.deg2rad(flip_deg))
    for tissue, share in ((Tissue.BLOOD, 1.0), (Tissue.VENOUS_BLOOD, 0.6)):
        signal[tissue] += inflow * share * (np.sign(signal[tissue]) * fresh - signal[tissue])
    return np.asarray(signal * rows[:, 4:5] * spread[:, 2:3], dtype=np.float32)


@dataclass(frozen=True)
class Coils:
    """A receive array: loops whose axes point at what they image, all of one radius in mm.

    On the axis of a loop of radius R the receive field falls as (1 + d^2 / R^2)^(-3/2); here d is the distance to its
    centre in any direction, and the field's phase is the direction's angle, since the field turns about the wire.
    """

    centres_mm: Float32[np.ndarray, "coil 2"]
    weights: Float32[np.ndarray, " coil"]
    radius_mm: float

    def sensitivities(self, x: Plane, y: Plane) -> Complex64[np.ndarray, "coil row column"]:
        """Complex sensitivity of each loop at the points (x, y)."""
        dx, dy = (axis - self.centres_mm[:, i, None, None] for i, axis in enumerate((x, y)))
        near = dx * dx + dy * dy
        magnitude = self.weights[:, None, None] * (1 + near / np.float32(self.radius_mm**2)) ** np.float32(-1.5)
        return np.asarray(magnitude * (dx + 1j * dy) / np.sqrt(near + np.float32(1e-6)), dtype=np.complex64)

    def combined(self, x: Plane, y: Plane) -> Plane:
        """The root of the sum of squares over the loops: the shading of an image put together from all of them."""
        dx, dy = (axis - self.centres_mm[:, i, None, None] for i, axis in enumerate((x, y)))
        near = (dx * dx + dy * dy) / np.float32(self.radius_mm**2)
        squares = (self.weights**2)[:, None, None] * (1 + near) ** np.float32(-3)
        return np.asarray(np.sqrt(squares.sum(axis=0)), dtype=np.float32)


def geometry_factor(sensitivities: Complex64[np.ndarray, "coil row column"], limit: float = 3.0) -> Plane:
    """How much unfolding two-fold undersampled rows (SENSE, uncorrelated coil noise) amplifies noise, `limit` at most.

    g_i^2 = [(S^H S)^-1]_ii [S^H S]_ii; for the two points half a field of view apart that fold together this is
    1 / (1 - |s_1^H s_2|^2 / (|s_1|^2 |s_2|^2)). The number of rows must be even.
    """
    other = np.roll(sensitivities, sensitivities.shape[1] // 2, axis=1)
    power = (np.abs(sensitivities) ** 2).sum(axis=0)
    alike = np.abs((sensitivities.conj() * other).sum(axis=0)) ** 2
    shared = alike / (power * np.roll(power, power.shape[0] // 2, axis=0))
    return np.asarray(1 / np.sqrt(np.maximum(1 - shared, limit**-2)), dtype=np.float32)


def fold_rows(planes: ComplexPlanes, kept: int) -> Complex64[np.ndarray, "slice kept column"]:
    """Wrap-around: a field of view of only the middle `kept` rows shows what lies outside at the opposite edge.

    It is what sampling k-space lines too far apart does. `kept` is even, and at least half the rows.
    """
    rows = planes.shape[1]
    first = (rows - kept) // 2
    folded = planes[:, first : first + kept].copy()
    if first:
        folded[:, :first] += planes[:, first + kept :]
        folded[:, kept - first :] += planes[:, :first]
    return folded


def line_modulation(
    rows: int,
    field_of_view_mm: float,
    period: float,
    amplitude: float,
    motion_mm: float,
    phase: Float[np.ndarray, " slice"],
) -> Complex64[np.ndarray, "slice rows"]:
    """What periodic change from line to line does to k-space rows: c = cos(2 pi k / period + phase) scales row k by
    1 + amplitude c, and a body displaced by motion_mm c turns its phase. Ghosts appear at field_of_view_mm / period.
    """
    line = np.arange(rows) - rows // 2
    swing = np.cos(2 * np.pi * line / period + phase[:, None])
    turn = -2 * np.pi * line * motion_mm / field_of_view_mm * swing
    return ((1 + amplitude * swing) * np.exp(1j * turn)).astype(np.complex64)


def apodisation(matrix: int, kind: Filter, strength: float) -> Float32[np.ndarray, " matrix"]:
    """Weights of a k-space filter along one axis, centre first as `fftshift` leaves it.

    Hamming: 1 - 0.92 s sin^2(pi k) with k in -1/2..1/2, so that strength s = 1 is the Hamming window. Fermi:
    1 / (1 + exp((|k| - k_c) / w)) with k_c from 0.5 down to 0.4 and w up to 0.04 of the sampled width. "none": 1.
    """
    k = np.abs(np.arange(matrix) - matrix // 2) / matrix
    if kind == "hamming":
        weights = 1 - 0.92 * strength * np.sin(np.pi * k) ** 2
    elif kind == "fermi":
        weights = 1 / (1 + np.exp((k - (0.5 - 0.1 * strength)) / (0.005 + 0.035 * strength)))
    else:
        weights = np.ones(matrix)
    return weights.astype(np.float32)


def acquire(
    image: ComplexPlanes,
    acquired: tuple[int, int],
    reconstructed: tuple[int, int],
    noise_sd: float,
    rng: Generator,
    kind: Filter = "none",
    strength: float = 1.0,
    partial_fourier: float = 1.0,
    noise_gain: Float32[np.ndarray, "rows columns"] | None = None,
    modulation: Complex64[np.ndarray, "slice rows"] | None = None,
    sharpening: float = 0.0,
) -> Float32[np.ndarray, "slice reconstructed_rows reconstructed_columns"]:
    """Take the magnitude image of `image` through k-space; rows are the phase-encoding direction.

    The spectrum is truncated to the `acquired` (row, column) matrix, so that edges ring, and its rows multiplied by
    `modulation`. Complex Gaussian noise is added, of standard deviation `noise_sd` in each of the real and imaginary
    parts of an unfiltered image, so that the magnitude is Rician (Rayleigh in air); `noise_gain` multiplies it, as
    parallel imaging does, from point to point of the acquired matrix. Rows beyond the `partial_fourier` share (0.5..1]
    stay empty; the filter is applied, and `emphasis` of strength `sharpening`; the rest is filled with zeros up to
    `reconstructed` pixels over the same field of view. `acquired` and `reconstructed` are even.
    """
    rows, columns = (min(n) for n in zip(acquired, reconstructed, image.shape[1:], strict=True))
    spectrum = _low_frequencies(fft.fft(image, axis=2, norm="forward"), columns, axis=2)
    spectrum = _low_frequencies(fft.fft(spectrum, axis=1, norm="forward", overwrite_x=True), rows, axis=1)
    if modulation is not None:
        spectrum *= fft.ifftshift(modulation, axes=1)[:, :, None]
    spectrum += _noise_spectrum(spectrum.shape, noise_sd, noise_gain, rng)
    window = apodisation(rows, kind, strength)[:, None] * apodisation(columns, kind, strength)
    window[: round((1 - partial_fourier) * rows)] = 0
    window *= emphasis((rows, columns), reconstructed, sharpening)
    spectrum *= fft.ifftshift(window)
    # axis by axis, so that most lines of zeros are never transformed
    filled = fft.ifft(_zero_filled(spectrum, reconstructed[0], axis=1), axis=1, norm="forward", overwrite_x=True)
    filled = _zero_filled(filled, reconstructed[1], axis=2)
    return np.abs(fft.ifft(filled, axis=2, norm="forward", overwrite_x=True))


def _noise_spectrum(
    shape: tuple[int, int, int],
    noise_sd: float,
    noise_gain: Float32[np.ndarray, "rows columns"] | None,
    rng: Generator,
) -> ComplexPlanes:
    noise = rng.standard_normal((*shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    if noise_gain is None:  # white noise has the same spectrum, whatever the basis
        return np.asarray(noise * np.float32(noise_sd / np.sqrt(shape[1] * shape[2])))
    return np.asarray(fft.fft2(noise * (np.float32(noise_sd) * noise_gain), norm="forward", overwrite_x=True))


def emphasis(
    matrix: tuple[int, int], pixels: tuple[int, int], strength: float, sigma_px: float = 1.2
) -> Float32[np.ndarray, "rows columns"]:
    """Weights of unsharp masking, image + strength (image - image blurred by a Gaussian of `sigma_px` pixels of the
    image), as a k-space filter, centre first: 1 + strength (1 - exp(-2 (pi sigma |f|)^2)).
    """
    row, column = ((np.arange(n) - n // 2) / size for n, size in zip(matrix, pixels, strict=True))
    blurred = np.exp(-2 * (np.pi * sigma_px) ** 2 * (row[:, None] ** 2 + column**2))
    return (1 + strength * (1 - blurred)).astype(np.float32)


def _low_frequencies(spectrum: ComplexPlanes, size: int, axis: int) -> Complex64[np.ndarray, "slice rows columns"]:
    """The `size` lines nearest to frequency 0, which comes first, along an axis; both numbers are even."""
    last = spectrum.shape[axis]
    lines = np.r_[: size // 2, last - size // 2 : last]
    return np.ascontiguousarray(spectrum.take(lines, axis=axis))


def _zero_filled(spectrum: ComplexPlanes, size: int, axis: int) -> Complex64[np.ndarray, "slice rows columns"]:
    """The reverse: zeros at higher frequencies, up to `size` lines."""
    first, second = np.split(spectrum, 2, axis=axis)
    shape = list(spectrum.shape)
    shape[axis] = size - spectrum.shape[axis]
    return np.concatenate([first, np.zeros(shape, np.complex64), second], axis=axis)
