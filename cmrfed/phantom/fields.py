"""Random fields that make an analytic shape look grown: band-limited noise and smooth displacements."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from numpy.random import Generator
from scipy import fft

Plane = Float32[np.ndarray, "row column"]
Planes = Float32[np.ndarray, "slice row column"]

_BAND = 0.6
"""Frequency, over 1 / sigma, beyond which the noise's gain is below a thousandth."""


def length(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of the vectors (x, y), in mm and far from any overflow, against which np.hypot guards at a cost."""
    return np.asarray(np.sqrt(x * x + y * y))


def band_noise(rng: Generator, planes: int, size: int, sigma_px: float) -> Planes:
    """Independent periodic Gaussian fields, zero mean and unit variance, correlated over about `sigma_px` pixels.

    White noise of gain exp(-2 (pi sigma |f|)^2), drawn as the half of a spectrum that decides a real field, and only as
    far as the gain matters.
    """
    columns = min(math.ceil(_BAND * size / sigma_px), size // 2) + 1
    row, column = fft.fftfreq(size)[:, None], fft.rfftfreq(size)[None, :columns]
    gain = np.exp(-2 * (np.pi * sigma_px) ** 2 * (row**2 + column**2))
    gain[0, 0] = 0
    # columns 0 and size / 2 are their own mirror images: of them the transform takes the real part alone
    mirrored = (column == 0) | (column == 0.5)
    gain *= np.where(mirrored, np.sqrt(2), 1)
    gain *= size**2 / np.sqrt((np.where(mirrored, 1, 4) * gain**2).sum())
    white = rng.standard_normal((planes, size, columns, 2), dtype=np.float32).view(np.complex64)[..., 0]
    spectrum = fft.ifft(white * gain.astype(np.float32), axis=1, overwrite_x=True)
    return np.asarray(fft.irfft(spectrum, n=size, axis=2), dtype=np.float32)


@dataclass(frozen=True)
class Warp:
    """A smooth displacement of the plane, a sum of a few long plane waves: d(p) = sum_k a_k sin(w_k . p + phi_k).

    Any smooth map is one: field maps and coil phases are read off one of its axes.

    wave: radians per mm, one wave vector a row. phase: radians. amplitude: mm, one displacement a row.
    """

    wave: Float32[np.ndarray, "waves 2"]
    phase: Float32[np.ndarray, " waves"]
    amplitude: Float32[np.ndarray, "waves 2"]

    @classmethod
    def sample(cls, rng: Generator, rms_mm: float, wavelengths_mm: tuple[float, float], waves: int = 6) -> "Warp":
        """Draw a warp whose displacement has `rms_mm` along each axis and wavelengths in the given range."""
        direction = rng.uniform(0, 2 * np.pi, waves)
        number = 2 * np.pi / rng.uniform(*wavelengths_mm, waves)
        wave = np.stack([np.cos(direction), np.sin(direction)], 1) * number[:, None]
        amplitude = rng.standard_normal((waves, 2)) * rms_mm * np.sqrt(2 / waves)
        phase = rng.uniform(0, 2 * np.pi, waves)
        return cls(wave.astype(np.float32), phase.astype(np.float32), amplitude.astype(np.float32))

    @property
    def furthest_mm(self) -> float:
        """No point is displaced further than this along either axis."""
        return float(np.abs(self.amplitude).sum(axis=0).max())

    def __call__(self, x: Plane, y: Plane) -> tuple[Plane, Plane]:
        """The displaced coordinates of the points (x, y), in mm."""
        x_moved, y_moved = x.copy(), y.copy()
        for (wx, wy), phase, (ax, ay) in zip(self.wave, self.phase, self.amplitude, strict=True):
            sine = np.sin(wx * x + wy * y + phase)
            x_moved += ax * sine
            y_moved += ay * sine
        return x_moved, y_moved
