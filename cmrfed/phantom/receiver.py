"""From magnetisation to image: how the operator placed the plane, and what the coils receive of it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex64, Float32
from numpy.random import Generator
from scipy import fft

from cmrfed.phantom.anatomy import FIELD_OF_VIEW_MM, PIXEL_MM, SIZE, Outline
from cmrfed.phantom.fields import Plane, Planes, Warp
from cmrfed.phantom.physics import Coils, ComplexPlanes, acquire, fold_rows, geometry_factor, line_modulation
from cmrfed.phantom.styles import VendorStyle
from cmrfed.phantom.thorax import ChestWall

VIEW_TURN = (0.45, 0.3)
"""Mean and standard deviation in radians of an image's turn about the heart."""


@dataclass(frozen=True)
class View:
    """How the operator places the image: turned by `turn_rad` against the patient, phase encoded along rows or columns.

    Image coordinates are pixels; what is imaged is in mm about the heart. Only the middle `kept` of `SIZE` rendered
    pixels are inside the field of view along the phase-encoding direction.
    """

    turn_rad: float
    encode_columns: bool
    kept: int

    @classmethod
    def sample(cls, rng: Generator, style: VendorStyle) -> "View":
        """Short-axis planes are doubly oblique: by site and operator they come turned by tens of degrees."""
        kept = min(SIZE, _even(SIZE * style.phase_fov))
        return cls(rng.normal(*VIEW_TURN), bool(rng.random() < 0.5), kept)

    @property
    def field_of_view_mm(self) -> tuple[float, float]:
        """Along rows' and columns' axes of the image."""
        folded = self.kept * PIXEL_MM
        return (FIELD_OF_VIEW_MM, folded) if self.encode_columns else (folded, FIELD_OF_VIEW_MM)

    def pixels(self, pixel_mm: float) -> tuple[int, int]:
        """An even number of rows and of columns, of about `pixel_mm`."""
        rows, columns = (_even(extent / pixel_mm) for extent in self.field_of_view_mm)
        return rows, columns

    def points(self, rows: int, columns: int, offset_px: tuple[float, float] = (0.0, 0.0)) -> tuple[Plane, Plane]:
        """Points (x, y) of an image of the field of view; point 0 lies at its edge, as in an FFT.

        `offset_px`: shift along columns and rows, in rendered pixels.
        """
        height, width = self.field_of_view_mm
        return self._turned(rows, columns, height, width, offset_px)

    def rendered_points(self, offset_px: tuple[float, float]) -> tuple[Plane, Plane]:
        """Points of the rendered plane, which has all of `SIZE` pixels along both axes."""
        return self._turned(SIZE, SIZE, FIELD_OF_VIEW_MM, FIELD_OF_VIEW_MM, offset_px)

    def box(
        self, x: Outline, y: Outline, margin_mm: float, field_mm: tuple[float, float], pixels: tuple[int, int]
    ) -> tuple[slice, slice]:
        """Rows and columns that hold the points (x, y) and all within the margin of them.

        `field_mm` and `pixels`: size of the image along rows' and columns' axes.
        """
        cos, sin = np.cos(self.turn_rad), np.sin(self.turn_rad)
        axes = y * cos - x * sin, x * cos + y * sin
        rows, columns = (_span(*one, margin_mm) for one in zip(axes, field_mm, pixels, strict=True))
        return rows, columns

    def _turned(
        self, rows: int, columns: int, height: float, width: float, offset_px: tuple[float, float]
    ) -> tuple[Plane, Plane]:
        across = ((np.arange(columns) / columns - 0.5) * width + offset_px[0] * PIXEL_MM).astype(np.float32)
        down = ((np.arange(rows) / rows - 0.5) * height + offset_px[1] * PIXEL_MM).astype(np.float32)[:, None]
        cos, sin = np.float32(np.cos(self.turn_rad)), np.float32(np.sin(self.turn_rad))
        return across * cos - down * sin, across * sin + down * cos


def _even(wanted: float) -> int:
    """The even size nearest to it that Fourier transforms are fast for, as scanners choose theirs."""
    half = round(wanted / 2)
    return 2 * min(int(fft.prev_fast_len(half)), int(fft.next_fast_len(half)), key=lambda size: abs(size - wanted / 2))


def _span(along_mm: Outline, field_mm: float, pixels: int, margin_mm: float) -> slice:
    """The pixels of one axis from a margin before the first point to one behind the last."""
    ends = np.array([along_mm.min() - margin_mm, along_mm.max() + margin_mm])
    first, last = np.clip((ends / field_mm + 0.5) * pixels, 1, pixels - 2)
    return slice(int(first) - 1, int(last) + 2)


def _place_coils(rng: Generator, wall: ChestWall, style: VendorStyle) -> Coils:
    """Four loops along the chest, a little off the skin, and two at the back."""
    aside = np.array([-110, -40, 40, 110]) + rng.normal(0, 15, 4)
    depth = wall.skin_mm + rng.uniform(5, 35) - aside**2 / (2 * wall.curvature_mm + 100)
    back = -rng.uniform(110, 170) * np.ones(2)
    depth, aside = np.concatenate([depth, back]), np.concatenate([aside, rng.normal((-50, 50), 20)])
    cos, sin = np.cos(wall.direction), np.sin(wall.direction)
    centres = np.stack([depth * cos - aside * sin, depth * sin + aside * cos], axis=1)
    weights = np.array([1, 1, 1, 1, style.spine_share, style.spine_share]) * np.exp(rng.normal(0, 0.15, 6))
    return Coils(centres.astype(np.float32), weights.astype(np.float32), style.coil_radius_mm)


def receive(
    planes: Planes, wall: ChestWall, view: View, style: VendorStyle, rng: Generator
) -> Float32[np.ndarray, "slice rows columns"]:
    """Shade by the coils, take through k-space, correct the shading in part."""
    coils = _place_coils(rng, wall, style)
    x, y = view.rendered_points((0.0, 0.0))
    shade = coils.combined(x, y)
    level = np.float32(1 / shade.mean())
    bias = Warp.sample(rng, style.bias, (100.0, 400.0))(x, y)[0] - x
    phase = Warp.sample(rng, rng.uniform(0.1, 0.6), (100.0, 400.0))(x, y)[0] - x
    received = planes * (level * shade * np.exp(bias + 1j * phase)).astype(np.complex64)
    image = _through_k_space(received, coils, view, style, rng)
    rows, columns = view.pixels(style.pixel_mm)
    seen = level * coils.combined(*view.points(rows, columns))
    return np.asarray(image / seen ** np.float32(style.shading_correction))


def _through_k_space(
    received: ComplexPlanes, coils: Coils, view: View, style: VendorStyle, rng: Generator
) -> Float32[np.ndarray, "slice rows columns"]:
    """`physics.acquire` with the phase-encoding direction along rows, whichever it is in the image."""
    fields_mm, pixels = view.field_of_view_mm, view.pixels(style.pixel_mm)
    if view.encode_columns:
        received, fields_mm, pixels = received.transpose(0, 2, 1), fields_mm[::-1], pixels[::-1]
    along_mm = (style.acquired_mm * style.anisotropy, style.acquired_mm)
    rows, columns = (2 * round(extent / mm / 2) for extent, mm in zip(fields_mm, along_mm, strict=True))
    matrix = (min(rows, pixels[0], view.kept), min(columns, pixels[1], SIZE))
    image = acquire(
        fold_rows(received, view.kept),
        matrix,
        pixels,
        noise_sd=_blood_signal(received) / style.snr,
        rng=rng,
        kind=style.filter,
        strength=style.filter_strength,
        partial_fourier=style.partial_fourier,
        noise_gain=_noise_gain(coils, view, style, matrix),
        modulation=_line_errors(len(received), matrix[0], fields_mm[0], style, rng),
        sharpening=style.sharpening,
    )
    return image.transpose(0, 2, 1) if view.encode_columns else image


def _noise_gain(coils: Coils, view: View, style: VendorStyle, matrix: tuple[int, int]) -> Plane:
    """The geometry factor over the acquired matrix, phase-encoding along rows."""
    rows, columns = matrix[::-1] if view.encode_columns else matrix
    sensitivities = coils.sensitivities(*view.points(rows, columns))
    if view.encode_columns:
        sensitivities = sensitivities.transpose(0, 2, 1)
    return geometry_factor(sensitivities) ** np.float32(style.parallel)


def _line_errors(
    slices: int, rows: int, field_of_view_mm: float, style: VendorStyle, rng: Generator
) -> Complex64[np.ndarray, "slice rows"]:
    """Lines of one image come from 4 to 16 heartbeats in turn, so breath and beat differ with such a period."""
    uneven = rng.uniform(0, 1, 2)
    return line_modulation(
        rows,
        field_of_view_mm,
        period=rng.uniform(2, 16),
        amplitude=style.ghosting * uneven[0],
        motion_mm=style.motion_mm * uneven[1],
        phase=rng.uniform(0, 2 * np.pi, slices),
    )


def _blood_signal(planes: ComplexPlanes) -> float:
    """The brightest tenth of the image's centre is blood; every third pixel will do."""
    quarter = planes.shape[1] // 4
    return float(np.percentile(np.abs(planes[:, quarter:-quarter:3, quarter:-quarter:3]), 90))
