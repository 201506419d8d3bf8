"""Volumes, ejection fraction and mass, against hearts whose volume is known in closed form."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_stacks import LV, MYO, RV, blocks, record, slices_of

from cmrfed.evaluation.utility.metrics import cardiac_function

SPACING_MM = (8.0, 1.5, 1.25)


def ellipsoidal_heart(cavity_mm, wall_mm, length_mm, size=112):
    """Half ellipsoids cut at the base: a cavity of radius `cavity_mm` in a wall of `wall_mm`, an RV half as wide.

    A slice is drawn at the middle of its thickness, as a scanner images it.
    """
    depth = math.ceil((length_mm + wall_mm) / SPACING_MM[0])
    down, row, column = np.mgrid[:depth, :size, :size].astype(float)
    z, y, x = (
        (down + 0.5) * SPACING_MM[0],
        (row - size / 2) * SPACING_MM[1],
        (column - size / 2) * SPACING_MM[2],
    )
    masks = np.zeros(z.shape, np.uint8)
    outer, outer_length = cavity_mm + wall_mm, length_mm + wall_mm
    masks[(np.hypot(x + 1.5 * outer, y) / (outer / 2)) ** 2 + (z / length_mm) ** 2 < 1] = RV
    masks[(np.hypot(x, y) / outer) ** 2 + (z / outer_length) ** 2 < 1] = MYO
    masks[(np.hypot(x, y) / cavity_mm) ** 2 + (z / length_mm) ** 2 < 1] = LV
    return masks


def half_ellipsoid_ml(radius_mm, length_mm):
    return 2 / 3 * math.pi * radius_mm**2 * length_mm / 1000


@pytest.mark.parametrize(("systole_mm", "length_mm"), [(17.0, 80.0), (22.0, 84.0), (12.0, 72.0)])
def test_ejection_fraction_of_a_heart_of_known_volume_is_right_to_2_percent(systole_mm, length_mm):
    heart = slices_of(
        [
            (record(), "ED", ellipsoidal_heart(25.0, 9.0, 90.0)),
            (record(), "ES", ellipsoidal_heart(systole_mm, 12.0, length_mm)),
        ],
        SPACING_MM,
    )
    found = {name: float(values[0]) for name, values in cardiac_function(heart).values.items()}
    edv, esv = half_ellipsoid_ml(25, 90), half_ellipsoid_ml(systole_mm, length_mm)
    assert found["lv_ef_percent"] == pytest.approx(100 * (edv - esv) / edv, rel=0.02)
    assert found["lv_edv_ml"] == pytest.approx(edv, rel=0.02)
    assert found["lv_esv_ml"] == pytest.approx(esv, rel=0.02)
    assert found["lv_mass_g"] == pytest.approx(1.05 * (half_ellipsoid_ml(34, 99) - edv), rel=0.02)
    right_edv = half_ellipsoid_ml(34 / 2, 90)
    right_esv = half_ellipsoid_ml((systole_mm + 12) / 2, length_mm)
    assert found["rv_edv_ml"] == pytest.approx(right_edv, rel=0.02)
    assert found["rv_ef_percent"] == pytest.approx(100 * (right_edv - right_esv) / right_edv, abs=2)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), spacing=st.tuples(*[st.floats(0.5, 12)] * 3))
def test_a_volume_is_voxels_times_their_size_whatever_the_masks(seed, spacing):
    random = np.random.default_rng(seed)
    full, emptied = random.integers(0, 4, (2, 3, 16, 16)).astype(np.uint8)
    found = cardiac_function(slices_of([(record(), "ED", full), (record(), "ES", emptied)], spacing)).values
    voxel_ml = math.prod(spacing) / 1000
    assert found["lv_edv_ml"][0] == pytest.approx((full == LV).sum() * voxel_ml)
    assert found["rv_esv_ml"][0] == pytest.approx((emptied == RV).sum() * voxel_ml)
    assert found["lv_mass_g"][0] == pytest.approx(1.05 * (full == MYO).sum() * voxel_ml)


def test_only_patients_with_both_phases_have_a_function():
    complete, without_es, of_unknown_phase = (record(number) for number in range(3))
    stacks = [(complete, "ED", blocks()), (complete, "ES", blocks()), (without_es, "ED", blocks())]
    found = cardiac_function(slices_of([*stacks, (of_unknown_phase, "unknown", blocks())]))
    assert found.patients == (complete,)
    assert all(values.shape == (1,) for values in found.values.values())


def test_a_heart_without_a_cavity_has_no_ejection_fraction():
    found = cardiac_function(slices_of([(record(), "ED", 0 * blocks()), (record(), "ES", blocks())])).values
    assert math.isnan(found["lv_ef_percent"][0])
    assert found["lv_edv_ml"][0] == 0


def test_visits_are_measured_one_by_one_and_averaged_over_the_patient():
    """A heart of 1 and 3 times 48 voxels of cavity at ED that ejects nothing, then half: never 4 times 48 voxels."""
    small, large, halved = blocks(1), blocks(3), blocks(3)
    halved[:, 2:4, 2:6] = 0
    owner, other = record(), record(1)
    stacks = [(owner, "ED", small), (owner, "ES", small), (owner, "ED", large), (owner, "ES", halved)]
    slices = slices_of([*stacks, (other, "ED", small), (other, "ES", small)], visits=[0, 0, 1, 1, 0, 0])
    found = cardiac_function(slices)
    one_ml = 16 * 20 / 1000
    assert found.patients == (owner, other)
    assert found.values["lv_edv_ml"] == pytest.approx([2 * one_ml, one_ml])
    assert found.values["lv_esv_ml"] == pytest.approx([(1 + 1.5) / 2 * one_ml, one_ml])
    assert found.values["lv_ef_percent"] == pytest.approx([25, 0])


def test_ed_and_es_of_two_visits_are_no_heart():
    owner = record()
    slices = slices_of([(owner, "ED", blocks()), (owner, "ES", blocks())], visits=[0, 1])
    assert cardiac_function(slices).patients == ()


def test_a_visit_whose_fraction_is_not_defined_does_not_hide_the_others():
    owner, empty = record(), 0 * blocks()
    stacks = [(owner, "ED", blocks()), (owner, "ES", blocks()), (owner, "ED", empty), (owner, "ES", empty)]
    found = cardiac_function(slices_of(stacks, visits=[0, 0, 1, 1])).values
    assert found["lv_ef_percent"] == pytest.approx([0])
