import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refuses
from scipy.ndimage import binary_erosion, center_of_mass
from toy_hearts import SPACING_MM, toy_case, toy_image, toy_mask

from cmrfed.conditions import UNLABELLED
from cmrfed.config import PreprocessingConfig
from cmrfed.preprocessing import centre_of_mask, centre_of_motion, prepare, prepare_mask
from cmrfed.shapes import FIRST_TISSUE, Label

CONFIG = PreprocessingConfig(size=32, field_of_view_mm=64)
PIXEL_MM = 2.0


def test_the_result_is_on_the_configured_grid():
    case = prepare(toy_case(), CONFIG)
    assert case.image.shape == case.mask.shape == (3, 32, 32)
    assert case.spacing_mm == (SPACING_MM[0], PIXEL_MM, PIXEL_MM)
    assert (case.image.dtype, case.mask.dtype) == (np.float32, np.uint8)


def test_intensities_fill_minus_one_to_one():
    image = prepare(toy_case(), CONFIG).image
    assert -1 <= image.min() < -0.8
    assert 0.8 < image.max() <= 1


@settings(max_examples=30, deadline=None)
@given(gain=st.floats(0.01, 1000), offset=st.floats(-500, 500))
def test_the_scanner_s_gain_and_offset_do_not_matter(gain, offset):
    case = toy_case()
    other = toy_case(image=(case.image * gain + offset).astype(np.float32))
    np.testing.assert_allclose(prepare(other, CONFIG).image, prepare(case, CONFIG).image, atol=2e-3)


def test_what_lies_outside_the_field_of_view_has_no_say():
    mask = np.zeros((2, 120, 120), np.uint8)
    mask[:, 40:80, 36:84] = toy_mask(slices=2)
    image = toy_image(mask)
    bright_arm = image.copy()
    bright_arm[:, :, :8] = 1e4
    plain, disturbed = (prepare(toy_case(image=pixels, mask=mask), CONFIG).image for pixels in (image, bright_arm))
    np.testing.assert_array_equal(plain, disturbed)


def test_outside_the_scan_is_the_darkest_value_and_background():
    case = prepare(toy_case(), PreprocessingConfig(size=32, field_of_view_mm=200))
    assert (case.image[:, :4] == -1).all()
    assert (case.mask[:, :4] == Label.BACKGROUND).all()


def test_the_centre_is_the_middle_of_the_box_around_all_structures():
    mask = np.zeros((2, 20, 30), np.uint8)
    mask[0, 4, 5] = mask[1, 10, 20] = Label.MYO
    assert centre_of_mask(mask) == (7.0, 12.5)


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(0, 25), columns=st.integers(0, 25))
def test_where_the_heart_lies_in_the_scan_does_not_matter(rows, columns):
    mask = np.zeros((3, 140, 140), np.uint8)
    mask[:, 40:80, 40:88] = toy_mask()
    image = toy_image(mask)
    case = prepare(toy_case(image=image, mask=mask), CONFIG)
    shifted = [np.roll(array, (rows, columns), axis=(1, 2)) for array in (image, mask)]
    moved = prepare(toy_case(image=shifted[0], mask=shifted[1]), CONFIG)
    np.testing.assert_allclose(moved.image, case.image, atol=1e-5)
    np.testing.assert_array_equal(moved.mask, case.mask)


def test_slices_of_a_stack_stay_aligned():
    mask = toy_mask()
    mask[2] = np.roll(mask[2], 6, axis=1)  # a slice whose heart lies 7.5 mm to the side keeps lying there
    case = prepare(toy_case(image=toy_image(mask), mask=mask), CONFIG)
    columns = [center_of_mass(one > 0)[1] for one in case.mask]
    assert (columns[2] - columns[0]) * PIXEL_MM == pytest.approx(6 * SPACING_MM[2], abs=0.3)


@settings(max_examples=20, deadline=None)
@given(row_mm=st.floats(0.8, 2.5), column_mm=st.floats(0.8, 2.5))
def test_sizes_in_mm_are_kept_whatever_the_pixel_spacing(row_mm, column_mm):
    row, column = np.mgrid[:161, :161] - 80.0
    disc = (np.hypot(row * row_mm, column * column_mm) < 25).astype(np.uint8)[None]
    case = prepare(toy_case(image=toy_image(disc), mask=disc, spacing_mm=(8.0, row_mm, column_mm)), CONFIG)
    assert np.count_nonzero(case.mask) * PIXEL_MM**2 == pytest.approx(disc.sum() * row_mm * column_mm, rel=0.1)
    assert np.ptp(np.nonzero(case.mask)[1]) == pytest.approx(np.ptp(np.nonzero(case.mask)[2]), abs=2)


def test_a_stripe_pattern_too_fine_for_the_new_grid_turns_grey_instead_of_aliasing():
    mask = np.roll(toy_mask(slices=1, rows=120, columns=120), (40, 40), axis=(1, 2))
    stripes = np.where(np.arange(120) % 2, 200, 0).astype(np.float32)
    image = np.broadcast_to(stripes, mask.shape).copy()
    coarse = PreprocessingConfig(size=16, field_of_view_mm=80)
    inside = prepare(toy_case(image=image, mask=mask, spacing_mm=(8.0, 1.0, 1.0)), coarse).image
    assert np.abs(inside).max() < 0.25


def test_on_its_own_grid_an_image_is_only_rescaled():
    mask = np.zeros((2, 40, 40), np.uint8)
    mask[:, 10:30, 10:30] = Label.LV  # the centre lies between two voxels, as it does on a grid of even size
    image = np.random.default_rng(0).uniform(10, 20, mask.shape).astype(np.float32)
    image[:, 15, 15], image[:, 15, 16] = 0, 30
    case = toy_case(image=image, mask=mask, spacing_mm=(8.0, 1.25, 1.25))
    found = prepare(case, PreprocessingConfig(size=32, field_of_view_mm=32 * 1.25, percentiles=(0, 100)))
    np.testing.assert_allclose(found.image, image[:, 4:36, 4:36] / 15 - 1, atol=1e-6)
    np.testing.assert_array_equal(found.mask, mask[:, 4:36, 4:36])


def test_labels_never_blend():
    """Between LV (1) and RV (3) an interpolated label would be 2, myocardium; there is none here."""
    mask = np.zeros((1, 60, 60), np.uint8)
    mask[:, 15:45, 15:30], mask[:, 15:45, 30:45] = Label.LV, Label.RV
    case = prepare(toy_case(image=toy_image(mask), mask=mask), CONFIG)
    assert set(np.unique(case.mask)) == {Label.BACKGROUND, Label.LV, Label.RV}


def test_each_pixel_has_the_label_that_covers_most_of_it():
    fine = np.kron(np.random.default_rng(0).integers(0, 4, (1, 16, 16)), np.ones((1, 4, 4))).astype(np.uint8)
    fine[:, [0, -1]] = fine[:, :, [0, -1]] = Label.MYO  # so that the box around the structures is the whole grid
    case = toy_case(image=toy_image(fine), mask=fine, spacing_mm=(8.0, 0.5, 0.5))
    found = prepare(case, PreprocessingConfig(size=16, field_of_view_mm=32)).mask
    np.testing.assert_array_equal(found[0, 1:-1, 1:-1], fine[0, 2::4, 2::4][1:-1, 1:-1])


def test_only_labelled_slices_are_kept_in_their_order():
    mask = toy_mask(slices=5)
    mask[[0, 4]] = 0
    image = toy_image(mask)
    case = prepare(toy_case(image=image, mask=mask), CONFIG)
    assert len(case.image) == 3
    assert [one.any() for one in case.mask] == [True] * 3
    alone = prepare(toy_case(image=image[[0, 2, 4]], mask=mask[[0, 2, 4]]), CONFIG)
    np.testing.assert_allclose(case.image[1], alone.image[0], atol=0.1)


def test_who_the_patient_is_stays_untouched():
    case = toy_case("mnms-B", "ES", vendor="Philips", centre="2", pathology="HCM")
    found = prepare(case, CONFIG)
    for field in ("patient", "dataset", "vendor", "centre", "phase", "pathology"):
        assert getattr(found, field) == getattr(case, field)


def test_a_mask_alone_is_prepared_as_it_is_in_a_case():
    case = toy_case()
    found = prepare_mask(case.mask, case.spacing_mm, CONFIG, "mask.nii.gz")
    np.testing.assert_array_equal(found.masks, prepare(case, CONFIG).mask)
    assert found.spacing_mm == prepare(case, CONFIG).spacing_mm
    assert found.kept.all()


def test_what_comes_back_from_the_common_grid_lies_where_it_was():
    """A smooth picture, prepared by area means and put back by splines, is itself inside the field of view."""
    mask = np.zeros((2, 160, 120), np.uint8)
    mask[0, 70:90, 40:70] = Label.LV  # off the middle; the other slice is not drawn
    rows, columns = np.indices(mask.shape[1:])
    picture = np.sin(rows / 9) * np.cos(columns / 7) + 0.01 * rows
    grid = prepare_mask(mask, (8.0, 1.5, 1.25), CONFIG.model_copy(update={"size": 64}), "mask").grid
    back = grid.back(grid.mean(grid.crop(picture[None].astype(np.float32))))
    assert back.shape == (1, 160, 120)
    inside = binary_erosion(grid.seen, iterations=4)
    assert inside.any() and not grid.seen.all()
    assert np.abs(back[0] - picture)[inside].max() < 0.05
    assert (back[0][~grid.seen] == 0).all()
    seen_mm = grid.seen.any(axis=1).sum() * 1.5, grid.seen.any(axis=0).sum() * 1.25
    assert seen_mm == pytest.approx((CONFIG.field_of_view_mm,) * 2, abs=1.5)


def test_an_empty_mask_is_refused():
    empty = np.zeros((3, 40, 48), np.uint8)
    with refuses("mnms-A ED", "mask is empty"):
        prepare(toy_case(mask=empty), CONFIG)
    with refuses("mask.nii.gz", "mask is empty"):
        prepare_mask(empty, SPACING_MM, CONFIG, "mask.nii.gz")


def test_a_constant_image_is_refused():
    with refuses("mnms-A ED", "constant (7)"):
        prepare(toy_case(image=np.full((3, 40, 48), 7, np.float32)), CONFIG)


def test_a_structure_smaller_than_a_pixel_is_refused():
    mask = np.zeros((3, 40, 48), np.uint8)
    mask[1, 20, 20] = Label.LV
    with refuses("mnms-A ED", "no structure fills a pixel"):
        prepare(toy_case(mask=mask), PreprocessingConfig(size=16, field_of_view_mm=200))


# --- options --------------------------------------------------------------------------------------------------------


def known_volume() -> np.ndarray:
    """On the grid itself: one voxel a pixel, so that only intensities change."""
    return np.random.default_rng(0).normal(100, 20, (2, 32, 32)).astype(np.float32)


def prepared_intensities(image, **options):
    mask = np.full(image.shape, Label.BACKGROUND, np.uint8)
    mask[:, [0, -1]] = mask[:, :, [0, -1]] = Label.MYO
    config = PreprocessingConfig(size=32, field_of_view_mm=40, **options)
    return prepare(toy_case(image=image, mask=mask, spacing_mm=(8.0, 1.25, 1.25)), config).image


@pytest.mark.parametrize("limits", [(1.0, 99.0), (2.0, 98.0), (0.0, 100.0)])
def test_percentiles_become_the_ends_of_the_range(limits):
    image = known_volume()
    low, high = np.percentile(image, limits)
    expected = 2 * (image.clip(low, high) - low) / (high - low) - 1
    np.testing.assert_allclose(prepared_intensities(image, percentiles=limits), expected, atol=1e-5)


def test_minmax_maps_the_least_and_the_largest_value_to_the_ends():
    image = known_volume()
    expected = 2 * (image - image.min()) / np.ptp(image) - 1
    np.testing.assert_allclose(prepared_intensities(image, intensity="minmax"), expected, atol=1e-5)


def test_zscore_counts_standard_deviations_of_the_foreground():
    image = 50 + known_volume() / 2
    image[:, :, :12] = 0  # air, far below the foreground
    foreground = image[:, :, 12:]
    expected = ((image - foreground.mean()) / (2.5 * foreground.std())).clip(-1, 1)
    found = prepared_intensities(image, intensity="zscore", zscore_limit=2.5)
    np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.parametrize("intensity", ["percentiles", "minmax", "zscore"])
def test_a_constant_image_is_refused_however_it_is_scaled(intensity):
    with refuses("mnms-A ED", "constant (7)"):
        prepare(
            toy_case(image=np.full((3, 40, 48), 7, np.float32)),
            PreprocessingConfig(size=32, field_of_view_mm=64, intensity=intensity),
        )


@pytest.mark.parametrize("slices", [1, 3, 9])
def test_bias_correction_takes_a_coil_s_shading_out(slices):
    mask = np.zeros((slices, 96, 96), np.uint8)
    mask[:, 12:84, 12:84] = Label.LV
    column = np.arange(96, dtype=np.float32)
    texture = np.random.default_rng(0).normal(0, 2, mask.shape)
    image = (np.where(mask, 100, 0) * np.exp(-column / 90) + np.abs(texture)).astype(np.float32)
    flat = PreprocessingConfig(size=64, field_of_view_mm=80, bias_correction=True)

    def unevenness(config):
        inside = prepare(toy_case(image=image, mask=mask, spacing_mm=(8.0, 1.0, 1.0)), config).image[:, 8:-8, 8:-8] + 1
        return float(inside[:, :, :8].mean() / inside[:, :, -8:].mean())

    assert unevenness(flat.model_copy(update={"bias_correction": False})) > 1.5
    assert unevenness(flat) == pytest.approx(1, abs=0.12)


def test_central_slices_are_those_in_the_middle_of_the_labelled_ones():
    mask = toy_mask(slices=7)
    mask[0] = 0
    case = toy_case(image=toy_image(mask), mask=mask)
    every = prepare(case, CONFIG)
    central = prepare(case, CONFIG.model_copy(update={"central_slices": 2}))
    assert len(every.image) == 6
    np.testing.assert_array_equal(central.mask, every.mask[2:4])
    np.testing.assert_allclose(central.image, every.image[2:4])


def test_tissue_classes_label_the_background_by_brightness_and_leave_the_heart_alone():
    mask = toy_mask()
    image = toy_image(mask)
    steps = np.broadcast_to(np.repeat([10.0, 60.0, 110.0, 160.0], 12), mask.shape)
    image = np.where(mask, image, steps).astype(np.float32)
    found = prepare(toy_case(image=image, mask=mask), CONFIG.model_copy(update={"tissue_classes": 4}))
    plain = prepare(toy_case(image=image, mask=mask), CONFIG)
    heart = plain.mask > 0
    np.testing.assert_array_equal(found.mask[heart], plain.mask[heart])
    classes = [found.image[found.mask == FIRST_TISSUE + number] for number in range(4)]
    assert all(len(values) for values in classes)
    means = [values.mean() for values in classes]
    assert means == sorted(means) and np.ptp(means) > 0.3


def test_a_mask_alone_has_no_tissue_classes():
    with refuses("mask.nii.gz", "tissue_classes=3"):
        prepare_mask(toy_mask(), SPACING_MM, CONFIG.model_copy(update={"tissue_classes": 3}), "mask.nii.gz")


def beating(rows=120, columns=140, heart=(70, 50)):
    """What changes over the beat: a ring where the wall moves, a small bright vessel, and noise."""
    row, column = np.indices((rows, columns))
    away = np.hypot(row - heart[0], column - heart[1])
    ring = np.exp(-(((away - 20) / 4) ** 2))
    vessel = 6.0 * (np.hypot(row - 20, column - 115) < 4)
    noise = np.abs(np.random.default_rng(0).normal(0, 0.1, (5, rows, columns)))
    return (ring + vessel + noise).astype(np.float32)


@settings(max_examples=15, deadline=None)
@given(row=st.integers(45, 75), column=st.integers(45, 80))
def test_the_heart_is_found_by_its_motion_though_a_vessel_changes_more(row, column):
    found = centre_of_motion(beating(heart=(row, column)), (8.0, 1.4, 1.4))
    assert np.hypot(found[0] - row, found[1] - column) * 1.4 < 6


def unlabelled_case(**fields):
    mask = np.full((5, 120, 140), UNLABELLED, np.uint8)
    image = np.random.default_rng(1).uniform(0, 1, mask.shape).astype(np.float32)
    return toy_case(image=image, mask=mask, **fields)


def test_an_unlabelled_stack_keeps_all_its_slices_around_the_motion():
    case = prepare(unlabelled_case(motion=beating(), spacing_mm=(8.0, 1.4, 1.4)), CONFIG)
    assert case.image.shape == (5, 32, 32) and case.motion is None
    assert (case.mask == UNLABELLED).all()


def test_an_unlabelled_stack_without_motion_is_refused_unless_its_middle_is_the_heart():
    with refuses("mnms-A ED", "unlabelled_centre=image"):
        prepare(unlabelled_case(), CONFIG)
    middle = CONFIG.model_copy(update={"unlabelled_centre": "image"})
    assert prepare(unlabelled_case(), middle).image.shape == (5, 32, 32)


def test_what_nobody_labelled_stays_unlabelled_beside_what_somebody_did():
    mask = toy_mask()
    mask[mask == Label.BACKGROUND] = UNLABELLED
    found = prepare(toy_case(image=toy_case().image, mask=mask), CONFIG).mask
    assert set(np.unique(found)) >= {Label.LV, UNLABELLED}
    plain = prepare(toy_case(), CONFIG).mask
    inside = np.s_[:, 4:-4, 4:-4]
    np.testing.assert_array_equal(found[inside] == UNLABELLED, plain[inside] == Label.BACKGROUND)
