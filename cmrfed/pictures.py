"""Arrays -> PNGs inside a page, so that a page stays one file that opens offline."""

import base64
import io

import numpy as np
from jaxtyping import Float, Float32
from matplotlib.image import imsave


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
