"""Random fields that make an analytic shape look grown: band-limited noise and smooth displacements."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from numpy.random import Generator
from scipy import fft

Plane = Float32[np.ndarray, "row column"]
Planes = Float32[np.ndarray, "slice row column"]


def band_noise(rng: Generator, planes: int, size: int, sigma_px: float) -> Planes:
    """Independent periodic Gaussian fields, zero mean and unit variance, correlated over about `sigma_px` pixels."""
    white = rng.standard_normal((planes, size, size), dtype=np.float32)
    row = fft.fftfreq(size)[:, None].astype(np.float32)
    column = fft.rfftfreq(size)[None, :].astype(np.float32)
    gain = np.exp(-2 * (np.pi * sigma_px) ** 2 * (row**2 + column**2))
    gain[0, 0] = 0
    noise = fft.irfft2(fft.rfft2(white) * gain, s=(size, size))
    return np.asarray(noise / noise.std(), dtype=np.float32)


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

    def __call__(self, x: Plane, y: Plane) -> tuple[Plane, Plane]:
        """The displaced coordinates of the points (x, y), in mm."""
        x_moved, y_moved = x.copy(), y.copy()
        for (wx, wy), phase, (ax, ay) in zip(self.wave, self.phase, self.amplitude, strict=True):
            sine = np.sin(wx * x + wy * y + phase)
            x_moved += ax * sine
            y_moved += ay * sine
        return x_moved, y_moved
