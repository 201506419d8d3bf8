"""The wall's segments are the AHA's, and its thickness in each is that of rings and sectors with a known one."""

import numpy as np
import pytest

from cmrfed.anatomy import aha_segments, thickness_mm
from cmrfed.shapes import Label

SIZE, MIDDLE = 160, 80
ROWS, COLUMNS = np.indices((SIZE, SIZE)) - MIDDLE
RADIUS, ANGLE = np.hypot(ROWS, COLUMNS), np.rad2deg(np.arctan2(-ROWS, COLUMNS)) % 360


def ring(inner=20.0, outer=30.0):
    """A ring with the right ventricle on its left, which inserts at 120 and at 240 degrees."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[(RADIUS < 50) & (ANGLE > 120) & (ANGLE < 240)] = Label.RV
    mask[outer > RADIUS] = Label.MYO
    mask[inner > RADIUS] = Label.LV
    return mask


def at(segments, index, angle_deg, radius=25):
    row = round(MIDDLE - radius * np.sin(np.deg2rad(angle_deg)))
    column = round(MIDDLE + radius * np.cos(np.deg2rad(angle_deg)))
    return int(segments[index, row, column])


def test_they_are_numbered_from_the_anterior_insertion_through_the_septum():
    segments = aha_segments(np.stack([ring()] * 6))
    septum_first = (150, 210, 270, 330, 30, 90)
    assert [at(segments, 0, angle) for angle in septum_first] == [2, 3, 4, 5, 6, 1]
    assert [at(segments, 2, angle) for angle in septum_first] == [8, 9, 10, 11, 12, 7]
    assert [at(segments, 5, angle) for angle in (180, 270, 0, 90)] == [14, 15, 16, 13]


def test_the_apex_beyond_the_cavity_is_the_seventeenth():
    cap = np.where(ring() == Label.LV, np.uint8(Label.MYO), ring())
    segments = aha_segments(np.stack([ring()] * 5 + [cap]))
    assert set(np.unique(segments[-1])) == {0, 17}
    assert set(np.unique(segments)) == set(range(18))


def test_only_the_wall_has_any_and_without_a_right_ventricle_nobody_knows_them():
    mask = np.stack([ring()] * 3)
    np.testing.assert_array_equal(aha_segments(mask) > 0, mask == Label.MYO)
    assert not aha_segments(np.where(mask == Label.RV, np.uint8(0), mask)).any()


@pytest.mark.parametrize("pixel_mm", [0.5, 1.5])
def test_a_rings_thickness_is_that_of_every_segment(pixel_mm):
    found = thickness_mm(np.stack([ring(20, 27)] * 6), (8.0, pixel_mm, pixel_mm))
    assert sorted(found) == list(range(1, 17))
    np.testing.assert_allclose(list(found.values()), 7 * pixel_mm, rtol=0.03)


def test_a_thick_septum_is_found_where_it_is():
    mask = ring(20, 26)
    mask[(RADIUS >= 26) & (RADIUS < 34) & (ANGLE > 120) & (ANGLE < 180)] = Label.MYO
    found = thickness_mm(np.stack([mask] * 6), (8.0, 1.0, 1.0))
    assert found[2] == pytest.approx(14, rel=0.03) and found[8] == pytest.approx(14, rel=0.03)
    assert found[5] == pytest.approx(6, rel=0.04)
