"""Every way in which a mask can be no heart is found."""

import numpy as np
import pytest
from numpy.random import default_rng

from cmrfed.anatomy import draw_heart, violations
from cmrfed.anatomy.topology import cropped
from cmrfed.config import HeartConfig, VoxelsConfig
from cmrfed.shapes import Label


@pytest.fixture
def masks():
    heart = draw_heart(HeartConfig(severity=0.0), VoxelsConfig(), default_rng(5))
    return {phase: mask.copy() for phase, mask in heart.masks.items()}


def middle_of(mask):
    return int(np.flatnonzero((mask == Label.LV).any(axis=(1, 2)))[3])


def test_a_heart_has_none(masks):
    assert violations(masks) == []


def leak(mask, index):
    row = np.argwhere(mask[index] == Label.LV)[:, 0].mean().astype(int)
    beyond = np.flatnonzero(mask[index, row] == Label.LV)[-1] + 1
    mask[index, row, beyond:] = Label.BACKGROUND


def hole(mask, index):
    places = np.argwhere(mask[index] == Label.RV)
    mask[(index, *places[len(places) // 2])] = Label.BACKGROUND


def stray(mask, index):
    mask[index, 2:4, 2:4] = Label.RV


def second_cavity(mask, index):
    mask[index, 2:4, 2:4] = Label.LV


def gap(mask, index):
    mask[index][mask[index] != Label.RV] = Label.BACKGROUND


def aside(mask, index):
    mask[index] = np.roll(mask[index], 50, axis=1)


def bulge(mask, index):
    mask[-1] = mask[index]


def far_right(mask, index):
    mask[mask == Label.RV] = Label.BACKGROUND
    mask[index, 2:30, 2:30] = Label.RV


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (leak, "the left cavity is not enclosed by muscle"),
        (hole, "the right ventricle has a hole"),
        (stray, "the right ventricle is in several pieces"),
        (second_cavity, "the left cavity is in several pieces"),
        (gap, "the left ventricle is missing from a slice between others"),
        (aside, "of the left ventricle hardly lie over each other"),
        (bulge, "the left ventricle widens towards the apex"),
        (far_right, "the right ventricle lies nowhere on the left one's wall"),
    ],
)
def test_what_is_none_is_named(masks, spoil, said):
    spoil(masks["ED"], middle_of(masks["ED"]))
    found = violations(masks)
    assert any(one.startswith("ED: ") and said in one for one in found), found


def test_a_hole_is_told_from_a_piece_more_where_both_are(masks):
    mask, index = masks["ED"], middle_of(masks["ED"])
    hole(mask, index)
    stray(mask, index)
    found = violations(masks)
    for said in ("the right ventricle has a hole", "the right ventricle is in several pieces"):
        assert f"ED: slice {index}: {said}" in found


def test_a_heart_that_fills_in_systole_is_none(masks):
    assert "no smaller than at ED" in violations({"ED": masks["ES"], "ES": masks["ED"]})[-1]


def test_cropping_keeps_the_heart_with_a_pixel_around_it(masks):
    found = cropped(masks["ED"])
    assert np.count_nonzero(found) == np.count_nonzero(masks["ED"])
    assert not found[:, [0, -1]].any() and not found[:, :, [0, -1]].any()
    assert cropped(np.zeros((3, 8, 8), np.uint8)).shape == (3, 1, 1)
