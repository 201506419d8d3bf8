"""Slices as people see them."""

import numpy as np
from matplotlib.colors import to_rgb

from cmrfed.pictures import coloured
from cmrfed.shapes import COLOURS


def test_masks_have_the_colours_of_every_picture_and_what_is_not_labelled_is_black() -> None:
    labels = np.array([[[0, *COLOURS, 255]]], np.uint8)
    np.testing.assert_allclose(coloured(labels)[0, 0], [(0, 0, 0), *map(to_rgb, COLOURS.values()), (0, 0, 0)])
