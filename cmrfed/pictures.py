"""Arrays -> pictures: PNGs inside a page, so that a page stays one file that opens offline, and rows of slices."""

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Float32, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imsave

from cmrfed.shapes import COLOURS

_PANEL_INCH, _LINE_INCH = 1.2, 0.18


def image_uri(image: Float32[np.ndarray, "row column"]) -> str:
    """An image in [-1, 1] as grey levels, a data URI."""
    grey = np.clip((image + 1) / 2, 0, 1)
    return colour_uri(np.repeat(grey[..., None], 3, axis=2))


def colour_uri(pixels: Float[np.ndarray, "row column 3"]) -> str:
    """Colours in [0, 1], a data URI."""
    buffer = io.BytesIO()
    imsave(buffer, pixels, pil_kwargs={"optimize": True})
    return png_uri(buffer.getvalue())


def png_uri(png: bytes) -> str:
    """PNG bytes as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def panels(rows: Mapping[str, np.ndarray], titles: Sequence[str] = ()) -> Figure:
    """Slices side by side, a named row below the other, `titles` above them. Label maps (unsigned integers) are drawn
    in colours, images in [-1, 1] in grey."""
    columns = len(next(iter(rows.values())))
    left, top = 0.1 + _LINE_INCH * max(name.count("\n") + 1 for name in rows), _LINE_INCH if titles else 0.02
    width, height = left + columns * _PANEL_INCH, top + len(rows) * _PANEL_INCH
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for row, (name, pictures) in zip(axes, rows.items(), strict=True):
        row[0].set_ylabel(name, fontsize=9)
        labels = np.issubdtype(pictures.dtype, np.unsignedinteger)
        for panel, picture in zip(row, coloured(np.asarray(pictures)) if labels else pictures, strict=True):
            _draw(panel, picture)
    for panel, title in zip(axes[0], titles, strict=False):
        panel.set_title(title, fontsize=8)
    figure.subplots_adjust(left / width, 0.01 / height, 1 - 0.01 / width, 1 - top / height, 0.02, 0.02)
    return figure


def coloured(masks: UInt8[np.ndarray, "slice row column"]) -> Float[np.ndarray, "slice row column 3"]:
    """Labels in the colours of every picture, all else black."""
    palette = np.zeros((256, 3))
    for label, colour in COLOURS.items():
        palette[label] = to_rgb(colour)
    return palette[masks]


def _draw(panel: Axes, picture: np.ndarray) -> None:
    # a mask's pixels are shown as they are; images are smoothed as a viewer does
    smoothing = "nearest" if picture.ndim == 3 else "bicubic"
    panel.imshow(picture, cmap="gray", vmin=-1, vmax=1, interpolation=smoothing)
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
