"""Measurements of shapes that are known exactly, and distances of distributions recomputed."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy.special import ndtr
from scipy.stats import norm
from toy_hearts import toy_case

from cmrfed.evaluation.fidelity.metrics.structure import (
    blood_contrast,
    distribution_distances,
    edge_width_mm,
    lv_myocardium_ratio,
    patient_volumes,
    rv_lv_ratio,
    wall_thickness_mm,
)
from cmrfed.evaluation.fidelity.structure import volumes_by_visit
from cmrfed.shapes import Label
from cmrfed.slices import collect

SPACING = np.array([1.5, 1.5])


def radius_mm(size=96):
    row, column = (np.mgrid[0:size, 0:size] - (size - 1) / 2) * 1.5
    return np.hypot(row, column)


def ring(inner_mm, outer_mm, size=96):
    """Blood inside, wall around it."""
    radius = radius_mm(size)
    return np.where(radius < inner_mm, Label.LV, np.where(radius < outer_mm, Label.MYO, Label.BACKGROUND)).astype(int)


def test_areas_of_a_ring_are_those_of_circles():
    assert lv_myocardium_ratio(ring(24, 34), SPACING) == pytest.approx(24**2 / (34**2 - 24**2), rel=0.03)
    mask = ring(24, 34)
    mask[:10, :20] = Label.RV
    assert rv_lv_ratio(mask, SPACING) == pytest.approx(200 / np.count_nonzero(mask == Label.LV))


@pytest.mark.parametrize("thickness_mm", [4, 8, 12.5])
def test_the_thickness_of_a_ring_is_the_difference_of_its_radii(thickness_mm):
    assert wall_thickness_mm(ring(24, 24 + thickness_mm), SPACING) == pytest.approx(
        thickness_mm, abs=0.75
    )  # half a pixel


def test_thickness_is_in_mm_where_pixels_are_not_square():
    mask = np.zeros((40, 60), dtype=int)
    mask[10:30, 10:50] = Label.MYO
    mask[20:30, 10:50] = Label.LV
    mask[30:, :] = Label.LV  # a flat wall of 10 rows between blood and what lies above it
    flat = np.where(mask == 0, 0, mask)[:, 20:40]
    assert wall_thickness_mm(flat, np.array([2.0, 0.5])) == pytest.approx(10 * 2 + 2 - 1.25)


def test_contrast_is_michelsons_from_black():
    mask = ring(24, 34)
    image = np.where(mask == Label.LV, 0.6, np.where(mask == Label.MYO, -0.2, -1.0))
    assert blood_contrast(image, mask, SPACING) == pytest.approx((1.6 - 0.8) / (1.6 + 0.8))
    assert blood_contrast(-image, mask, SPACING) < 0


@pytest.mark.parametrize("sigma_mm", [2.0, 3.0])
def test_the_width_of_a_gaussian_edge_is_its_known_one(sigma_mm):
    image = 1.2 * ndtr((24 - radius_mm(128)) / sigma_mm) - 0.6
    found = edge_width_mm(image, ring(24, 40, 128), SPACING)
    # the slope is a mean over pixels within a pixel of the edge, where it is up to a fifth below its peak
    assert found == pytest.approx(sigma_mm * np.sqrt(2 * np.pi), rel=0.25)
    rise = sigma_mm * (norm.ppf(0.9) - norm.ppf(0.1))
    assert found == pytest.approx(rise, rel=0.25)


def test_a_blurred_edge_is_wider_and_a_missing_one_has_no_width():
    mask, edges = ring(24, 40, 128), [ndtr((24 - radius_mm(128)) / sigma) for sigma in (1, 2, 4)]
    widths = [edge_width_mm(edge, mask, SPACING) for edge in edges]
    assert widths == sorted(widths)
    assert np.isnan(edge_width_mm(np.zeros((128, 128)), mask, SPACING))
    assert np.isnan(edge_width_mm(-edges[0], mask, SPACING))


def test_the_width_of_an_edge_does_not_depend_on_the_contrast():
    mask, edge = ring(24, 40, 128), ndtr((24 - radius_mm(128)) / 3)
    assert edge_width_mm(0.3 * edge, mask, SPACING) == pytest.approx(edge_width_mm(1.8 * edge - 1, mask, SPACING))


@pytest.mark.parametrize("measure", [lv_myocardium_ratio, rv_lv_ratio, wall_thickness_mm])
def test_a_slice_without_a_heart_has_no_measurement(measure):
    assert np.isnan(measure(np.zeros((16, 16), dtype=int), SPACING))
    image, mask = np.zeros((16, 16)), np.zeros((16, 16), dtype=int)
    assert np.isnan([blood_contrast(image, mask, SPACING), edge_width_mm(image, mask, SPACING)]).all()


def ellipsoid(radii_mm, spacing_mm, shape=(30, 80, 80)):
    """Share of a solid ellipsoid: true where a voxel's centre is inside."""
    grid = np.indices(shape) - (np.array(shape)[:, None, None, None] - 1) / 2
    return sum((grid[axis] * spacing_mm[axis] / radii_mm[axis]) ** 2 for axis in range(3)) <= 1


def test_volumes_fraction_and_mass_of_ellipsoids_are_known_to_two_per_cent():
    spacing_mm, stacks = np.array([4.0, 1.2, 1.2]), {}
    blood = {"ED": (45, 26, 26), "ES": (38, 18, 18)}
    for phase, radii in blood.items():
        mask = np.zeros((30, 80, 80), dtype=int)
        mask[ellipsoid([r + 9 for r in radii], spacing_mm)] = Label.MYO
        mask[ellipsoid(radii, spacing_mm)] = Label.LV
        stacks[phase] = mask
    ml = {phase: 4 / 3 * np.pi * np.prod(radii) / 1000 for phase, radii in blood.items()}
    wall_ml = 4 / 3 * np.pi * np.prod([r + 9 for r in blood["ED"]]) / 1000 - ml["ED"]
    found = patient_volumes(stacks, spacing_mm)
    assert found["edv_ml"] == pytest.approx(ml["ED"], rel=0.02)
    assert found["esv_ml"] == pytest.approx(ml["ES"], rel=0.02)
    assert found["ejection_fraction"] == pytest.approx(1 - ml["ES"] / ml["ED"], rel=0.02)
    assert found["lv_mass_g"] == pytest.approx(1.05 * wall_ml, rel=0.02)


def test_what_lacks_its_phase_is_not_known():
    mask = np.full((2, 4, 4), int(Label.LV))
    found = patient_volumes({"ES": mask}, np.array([10.0, 1, 1]))
    assert found["esv_ml"] == pytest.approx(0.32)
    assert np.isnan([found[name] for name in ("edv_ml", "ejection_fraction", "lv_mass_g")]).all()
    empty = patient_volumes({"ED": 0 * mask, "ES": 0 * mask}, np.array([10.0, 1, 1]))
    assert empty["edv_ml"] == 0
    assert np.isnan(empty["ejection_fraction"])


def test_volumes_are_measured_visit_by_visit():
    stacks = [
        toy_case(phase=phase, seed=seed, visit=visit) for seed, (visit, phase) in enumerate(product("ab", ("ED", "ES")))
    ]
    together = collect([*stacks, toy_case("mnms-B", seed=9)])
    alone = collect([toy_case(), toy_case(phase="ES")])
    found, expected = volumes_by_visit(None, together), volumes_by_visit(None, alone)
    assert found.patients.tolist() == [0, 0, 1]
    torch.testing.assert_close(found.features[:2], expected.features.repeat(2, 1))


def test_distances_of_distributions_are_those_of_sorted_values():
    random = np.random.default_rng(0)
    made, real = random.normal(1, 2, (50, 1)), random.normal(0, 1, (50, 1))
    found = distribution_distances(torch.from_numpy(made), torch.from_numpy(real), ("x",))
    apart = np.abs(np.sort(made[:, 0]) - np.sort(real[:, 0])).mean() / real.std()
    steps = [abs((made <= x).mean() - (real <= x).mean()) for x in np.concatenate([made, real])]
    assert found == {"x": pytest.approx(apart), "x_ks": pytest.approx(max(steps))}


def test_what_is_missing_is_left_out_of_a_distribution():
    made = torch.tensor([[1.0, torch.nan], [torch.nan, torch.nan]])
    real = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    found = distribution_distances(made, real, ("known", "unknown"))
    assert found["known"] == pytest.approx(1.0)
    assert np.isnan([found["unknown"], found["unknown_ks"]]).all()


@pytest.mark.filterwarnings("error")
def test_one_heart_against_one_is_a_distance_without_a_warning():
    found = distribution_distances(torch.tensor([[1.0]]), torch.tensor([[2.0]]), ("x",))
    assert found["x_ks"] == 1.0
