"""What the phantom promises: repeatable patients, hearts that measure what was ordered, and a scanner's physics."""

import csv
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import lone_process
import nibabel as nib
import numpy as np
import pytest
from numpy.random import default_rng
from scipy import fft, ndimage

from cmrfed.config import PhantomConfig, UserError, read_stage
from cmrfed.phantom import layout, phantom_cases, phantom_patient, phantom_patient_twice, write_phantom
from cmrfed.phantom.anatomy import Anatomy, sample_anatomy
from cmrfed.phantom.heart import PATHOLOGIES, Heart, Pathology, Sex, sample_heart, sample_physiology
from cmrfed.phantom.physics import (
    Coils,
    Filter,
    acquire,
    bssfp_profile,
    bssfp_signal,
    emphasis,
    fold_rows,
    geometry_factor,
    line_modulation,
    spoiled_signal,
)
from cmrfed.phantom.receiver import View
from cmrfed.phantom.scan import render
from cmrfed.phantom.styles import RANDOMISED, SETTINGS, STYLES, VendorStyle
from cmrfed.shapes import Label
from cmrfed.volumes import Case

pytestmark = pytest.mark.usefixtures("hearts_anew")


@pytest.fixture(scope="module")
def patients() -> list[tuple[Case, Case]]:
    """ED and ES of some patients by any scanner."""
    return [(ed, es) for ed, es in (phantom_patient(index, seed=5) for index in range(5))]


def sex_of(seed: int) -> Sex:
    return "F" if seed % 2 else "M"


@cache
def heart_of(pathology: Pathology, seed: int) -> Heart:
    rng = default_rng(seed)
    return sample_heart(rng, sample_physiology(rng, pathology, sex_of(seed)))


# --- repeatable -----------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_patients_whatever_the_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = list(phantom_cases(2, seed=3, vendor="GE"))
    monkeypatch.setattr(lone_process, "WORKERS", 2)
    spread = list(phantom_cases(2, seed=3, vendor="GE"))
    for one, other in zip(spread, alone, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.mask, other.mask)
        assert replace(one, image=other.image, mask=other.mask) == other


def test_another_seed_or_index_gives_another_patient(patients: list[tuple[Case, Case]]) -> None:
    shapes_and_sums = {(ed.image.shape, float(ed.image.sum())) for ed, _ in patients}
    other = phantom_patient(0, seed=6)[0]
    assert len(shapes_and_sums | {(other.image.shape, float(other.image.sum()))}) == len(patients) + 1


def test_cases_without_a_vendor_are_unknown_and_every_phase_is_of_the_same_patient(
    patients: list[tuple[Case, Case]],
) -> None:
    for ed, es in patients:
        assert (ed.vendor, ed.phase, es.phase) == ("unknown", "ED", "ES")
        assert ed.patient == es.patient
        assert ed.pathology in PATHOLOGIES
    assert len({ed.patient for ed, _ in patients}) == len(patients)


def test_an_unknown_vendor_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"Acme.*Siemens"):
        phantom_patient(0, seed=0, vendor="Acme")


# --- hearts ---------------------------------------------------------------------------------------------------------


def test_images_and_masks_are_finite_and_canonical(patients: list[tuple[Case, Case]]) -> None:
    for case in (case for pair in patients for case in pair):
        assert case.image.dtype == np.float32 and case.mask.dtype == np.uint8
        assert case.image.shape == case.mask.shape
        assert np.isfinite(case.image).all() and case.image.min() >= 0
        assert set(np.unique(case.mask)) == set(Label)


def test_myocardium_encloses_the_left_ventricle_and_the_right_one_lies_against_it_on_the_image_s_left(
    patients: list[tuple[Case, Case]],
) -> None:
    for case in (case for pair in patients for case in pair):
        area = (case.mask == Label.LV).sum((1, 2))
        middle = case.mask[np.flatnonzero(area)[len(np.flatnonzero(area)) // 3]]
        lv, rv, myocardium = (middle == label for label in (Label.LV, Label.RV, Label.MYO))
        around = ndimage.binary_dilation(lv) & ~lv
        assert myocardium[around].all()
        assert (ndimage.binary_dilation(rv) & myocardium).any()
        assert ndimage.center_of_mass(rv)[1] < ndimage.center_of_mass(lv)[1]


def test_the_right_ventricle_ends_before_the_apex(patients: list[tuple[Case, Case]]) -> None:
    for ed, _ in patients:
        last = {label: np.flatnonzero((ed.mask == label).any((1, 2))).max() for label in (Label.MYO, Label.RV)}
        assert last[Label.RV] <= last[Label.MYO]


def test_the_heart_lies_near_the_middle_of_the_image(patients: list[tuple[Case, Case]]) -> None:
    for ed, _ in patients:
        _, row, column = ndimage.center_of_mass(ed.mask > 0)
        away_mm = ed.spacing_mm[1] * np.hypot(row - ed.mask.shape[1] / 2, column - ed.mask.shape[2] / 2)
        assert away_mm < 25


def test_masks_shrink_at_systole_by_about_the_ordered_fraction(patients: list[tuple[Case, Case]]) -> None:
    for ed, es in patients:
        assert 0 < (es.mask == Label.LV).sum() < (ed.mask == Label.LV).sum()


@pytest.mark.parametrize("pathology", PATHOLOGIES)
def test_ventricles_hold_the_volumes_that_were_ordered(pathology: Pathology) -> None:
    for seed in range(4):
        heart = heart_of(pathology, seed)
        wanted = heart.physiology
        (lv_ed, _, rv_ed), (lv_es, _, rv_es) = (heart.phases[phase].volumes_ml() for phase in ("ED", "ES"))
        assert lv_ed == pytest.approx(wanted.lv_edv_ml, rel=0.03)
        assert 1 - lv_es / lv_ed == pytest.approx(wanted.ejection_fraction, abs=0.04)
        assert rv_ed == pytest.approx(wanted.rv_edv_ml, rel=0.06)
        assert rv_es < rv_ed


@pytest.mark.parametrize("pathology", PATHOLOGIES)
def test_myocardium_keeps_its_volume_through_the_beat(pathology: Pathology) -> None:
    for seed in range(4):
        heart = heart_of(pathology, seed)
        (_, diastole, _), (_, systole, _) = (heart.phases[phase].volumes_ml() for phase in ("ED", "ES"))
        assert systole == pytest.approx(diastole, rel=0.05)


def test_diseases_differ_as_their_definitions_say() -> None:
    fraction = {
        pathology: [
            sample_physiology(default_rng(seed), pathology, sex_of(seed)).ejection_fraction for seed in range(50)
        ]
        for pathology in PATHOLOGIES
    }
    assert min(fraction["NOR"]) >= 0.48 and max(fraction["NOR"]) <= 0.72
    assert max(fraction["DCM"]) < 0.40 and max(fraction["MINF"]) <= 0.45
    hypertrophic = heart_of("HCM", 2).phases["ED"].section(25.0)
    healthy = heart_of("NOR", 2).phases["ED"].section(25.0)
    assert (hypertrophic.epi - hypertrophic.endo).max() > 13 > (healthy.epi - healthy.endo).max()


# --- physics --------------------------------------------------------------------------------------------------------


def bloch_steady_state(t1: float, t2: float, frequency_hz: float, tr: float, te: float, flip_deg: float) -> complex:
    """Transverse magnetisation at the echo after 3000 alternating pulses, by rotating and relaxing step by step."""
    alpha = np.deg2rad(flip_deg)

    def pulse(sign: int) -> np.ndarray:
        c, s = np.cos(sign * alpha), np.sin(sign * alpha)
        return np.array([[1, 0, 0], [0, c, s], [0, -s, c]])

    def evolve(m: np.ndarray, time: float) -> np.ndarray:
        turn = 2 * np.pi * frequency_hz * time * 1e-3
        c, s, e1, e2 = np.cos(turn), np.sin(turn), np.exp(-time / t1), np.exp(-time / t2)
        x, y, z = m
        return np.array([e2 * (c * x + s * y), e2 * (c * y - s * x), e1 * z + 1 - e1])

    m = np.array([0.0, 0.0, 1.0])
    for repetition in range(3000):
        m = evolve(pulse((-1) ** repetition) @ m, te)
        echo = complex(m[0], m[1])
        m = evolve(m, tr - te)
    return echo


@pytest.mark.parametrize(("t1", "t2"), [(1480.0, 260.0), (1000.0, 48.0), (310.0, 72.0)])
def test_the_bssfp_formula_is_the_steady_state_of_the_bloch_equations(t1: float, t2: float) -> None:
    simulated = abs(bloch_steady_state(t1, t2, 0.0, 3.2, 1.6, 55.0))
    formula = bssfp_signal(np.array([t1]), np.array([t2]), 3.2, 1.6, 55.0)[0]
    assert formula == pytest.approx(simulated, rel=1e-3)


@pytest.mark.parametrize("frequency_hz", [0.0, 60.0, 120.0, 217.0, 300.0])
def test_the_bssfp_profile_is_the_steady_state_off_resonance(frequency_hz: float) -> None:
    simulated = abs(bloch_steady_state(310.0, 72.0, frequency_hz, 3.2, 1.6, 55.0))
    one = np.ones(1)
    formula = bssfp_profile(310.0 * one, 72.0 * one, frequency_hz * one, 3.2, 1.6, 55.0)[0]
    assert abs(formula) == pytest.approx(simulated, rel=1e-3)
    assert (formula < 0) == (frequency_hz > 1e3 / (2 * 3.2))


def test_noise_in_air_is_rayleigh_as_a_magnitude_of_complex_noise_must_be() -> None:
    air = np.zeros((4, 128, 128), np.complex64)
    image = acquire(air, (128, 128), (128, 128), noise_sd=2.0, rng=default_rng(0))
    assert image.mean() / image.std() == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), rel=0.02)
    assert image.mean() == pytest.approx(2.0 * np.sqrt(np.pi / 2), rel=0.02)


def edge_overshoot(filter_strength: float) -> float:
    step = np.zeros((1, 160, 160), np.complex64)
    step[:, :, 40:120] = 1
    kind: Filter = "hamming" if filter_strength else "none"
    image = acquire(step, (100, 100), (160, 160), 0.0, default_rng(0), kind, filter_strength)
    return float(image.max() - 1)


def test_a_truncated_edge_rings_by_gibbs_nine_percent_and_less_when_filtered() -> None:
    assert edge_overshoot(0.0) == pytest.approx(0.09, abs=0.03)
    assert edge_overshoot(1.0) < 0.01 < edge_overshoot(0.4) < edge_overshoot(0.0)


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    rng = default_rng(11)
    return sample_anatomy(rng, sample_physiology(rng, "NOR", "M"), adiposity=0.4, slice_spacing_mm=10.0)


def middle(ranges_of: str) -> VendorStyle:
    """A vendor's settings in the middle of its ranges, near enough: drawn with a fixed seed."""
    return STYLES[ranges_of].sample(default_rng(0))


def rendered(anatomy, style):
    random = default_rng(1)
    return render(anatomy, style, View.sample(random, style), random)


def test_vendors_differ_in_what_is_seen_of_one_heart(anatomy: Anatomy) -> None:
    contrast, noise, detail = {}, {}, {}
    for vendor in STYLES:
        style = replace(middle(vendor), contrast_spread=0.0)
        images, masks, spacing_mm = rendered(anatomy, style)
        image, mask = images["ED"], masks["ED"]
        silent = rendered(anatomy, replace(style, snr=1e6))[0]["ED"]
        blood = np.median(image[mask == Label.LV])
        contrast[vendor] = blood / np.median(image[ndimage.binary_erosion(mask == Label.MYO, np.ones((1, 3, 3)))])
        noise[vendor] = (image - silent)[mask == Label.LV].std() / blood
        # beyond what Canon's matrix can hold, so that it is no matter of the heart that was drawn
        detail[vendor] = energy_beyond(0.5 / middle("Canon").acquired_mm, silent, spacing_mm)
    assert contrast["Siemens"] > 1.05 * contrast["GE"]
    assert noise["Canon"] > 1.3 * noise["GE"]
    assert detail["Siemens"] > 3.5 * detail["Canon"]
    full_scale = {vendor: ranges.full_scale for vendor, ranges in STYLES.items()}
    assert full_scale["Siemens"][1] < full_scale["Philips"][0] < full_scale["GE"][1] <= full_scale["Canon"][0]


@pytest.mark.parametrize(("period", "away"), [(2, 64), (4, 32), (8, 16)])
def test_lines_modulated_with_a_period_make_ghosts_at_that_share_of_the_field_of_view(period: int, away: int) -> None:
    point = np.zeros((1, 128, 128), np.complex64)
    point[0, 40, 50] = 1
    lines = line_modulation(128, 200.0, float(period), amplitude=0.1, motion_mm=0.0, phase=np.zeros(1))
    column = acquire(point, (128, 128), (128, 128), 0.0, default_rng(0), modulation=lines)[0, :, 50]
    assert set(np.flatnonzero(column > 1e-3)) == {40, (40 + away) % 128, (40 - away) % 128}
    # cos is half of each sideband, and both fall on one pixel when every other line differs
    assert column[(40 + away) % 128] == pytest.approx(0.1 if period == 2 else 0.05, abs=1e-3)


def test_a_body_that_lies_displaced_for_every_line_is_imaged_where_it_lies() -> None:
    point = np.zeros((1, 128, 128), np.complex64)
    point[0, 40, 50] = 1
    lines = line_modulation(128, 200.0, period=1.0, amplitude=0.0, motion_mm=4 * 200 / 128, phase=np.zeros(1))
    image = acquire(point, (128, 128), (128, 128), 0.0, default_rng(0), modulation=lines)[0]
    assert np.unravel_index(image.argmax(), image.shape) == (44, 50)


def test_a_small_field_of_view_is_the_sum_of_shifted_images_as_sampling_every_other_line_gives() -> None:
    rng = default_rng(0)
    plane = (rng.standard_normal((2, 64, 32)) + 1j * rng.standard_normal((2, 64, 32))).astype(np.complex64)
    folded = fold_rows(plane, 32)
    np.testing.assert_allclose(folded, plane[:, 16:48] + np.roll(plane, 32, axis=1)[:, 16:48], rtol=1e-5)
    # lines 1/32 apart instead of 1/64, with the middle of the plane as the origin
    spectrum = np.fft.fft(np.fft.ifftshift(plane, axes=1), axis=1)[:, ::2]
    np.testing.assert_allclose(folded, np.fft.fftshift(np.fft.ifft(spectrum, axis=1), axes=1), atol=1e-5)
    np.testing.assert_array_equal(fold_rows(plane, 64), plane)
    inner = fold_rows(plane, 48)
    np.testing.assert_array_equal(inner[:, 8:40], plane[:, 16:48])
    np.testing.assert_allclose(inner[:, :8], plane[:, 8:16] + plane[:, 56:], rtol=1e-5)


def some_coils() -> Coils:
    centres = np.array([[-90, -60], [-40, -110], [30, -110], [0, 120]], np.float32)
    return Coils(centres, np.array([1, 1, 1, 0.5], np.float32), radius_mm=70.0)


def plane_points(size: int) -> tuple[np.ndarray, np.ndarray]:
    at = np.linspace(-100, 100, size, endpoint=False, dtype=np.float32)
    x, y = np.meshgrid(at, at)
    return x, y


def test_a_loop_s_field_falls_on_its_axis_by_the_law_of_biot_and_savart_and_an_array_s_is_the_sum_of_squares() -> None:
    loop = Coils(np.zeros((1, 2), np.float32), np.ones(1, np.float32), radius_mm=50.0)
    distance = np.array([[0.0, 50.0, 100.0]], np.float32)
    radius, wire = 50.0, np.linspace(0, 2 * np.pi, 1000, endpoint=False)
    for d, field in zip(distance[0], loop.combined(distance, np.zeros_like(distance))[0], strict=True):
        # dl x r / |r|^3, the part along the axis, relative to the loop's middle
        element = radius / np.full_like(wire, np.hypot(radius, d)) ** 3
        assert field == pytest.approx(element.mean() / radius**-2, rel=1e-3)
    x, y = plane_points(32)
    each = some_coils().sensitivities(x, y)
    np.testing.assert_allclose(some_coils().combined(x, y), np.sqrt((np.abs(each) ** 2).sum(0)), rtol=1e-3)


def test_noise_of_unfolded_images_is_the_geometry_factor_s() -> None:
    x, y = plane_points(32)
    coils = some_coils().sensitivities(x, y)
    gain = geometry_factor(coils, limit=100.0)
    # unfold pure coil noise at one pair of points, many times, by least squares
    pair = coils[:, [5, 5 + 16], 12]
    rng = default_rng(0)
    noise = rng.standard_normal((4, 20000)) + 1j * rng.standard_normal((4, 20000))
    unfolded = np.linalg.lstsq(pair, noise, rcond=None)[0]
    unaccelerated = np.sqrt(2) / np.sqrt((np.abs(pair) ** 2).sum(0))
    np.testing.assert_allclose(unfolded.std(axis=1) / unaccelerated, gain[[5, 21], 12], rtol=0.02)
    assert gain.min() >= 1


def test_noise_varies_over_the_image_as_it_was_ordered() -> None:
    gain = np.where(np.arange(64)[:, None] < 32, 1.0, 2.5).astype(np.float32) * np.ones((1, 64), np.float32)
    air = np.zeros((20, 64, 64), np.complex64)
    image = acquire(air, (64, 64), (64, 64), 1.0, default_rng(0), noise_gain=gain)
    power = (image**2).mean((0, 2))
    assert power[:32].mean() == pytest.approx(2.0, rel=0.03)
    assert power[32:].mean() == pytest.approx(2.0 * 2.5**2, rel=0.03)


def test_sharpening_is_unsharp_masking_of_the_image() -> None:
    smooth = ndimage.gaussian_filter(default_rng(0).random((2, 64, 48)), (0, 2.0, 2.0), mode="wrap").astype(np.float32)
    whole = ((64, 48), (64, 48))
    sharp = acquire(smooth.astype(np.complex64), *whole, 0.0, default_rng(0), sharpening=0.5)
    blurred = ndimage.gaussian_filter(smooth, (0, 1.2, 1.2), mode="wrap")
    np.testing.assert_allclose(sharp, smooth + 0.5 * (smooth - blurred), atol=1e-3)
    assert sharp.std() > 1.05 * smooth.std()


def test_sharpening_leaves_what_is_flat_and_lifts_the_finest_detail_by_its_strength() -> None:
    weights = emphasis((64, 64), (64, 64), 0.5)
    assert weights[32, 32] == 1 and weights[0, 0] == pytest.approx(1.5, rel=1e-3)


def test_a_view_with_a_small_field_in_one_direction_keeps_its_pixels_square_and_its_middle_in_place() -> None:
    for along_columns in (False, True):
        view = View(turn_rad=0.0, encode_columns=along_columns, kept=136)
        height, width = view.field_of_view_mm
        assert (width, height) == (pytest.approx(170), pytest.approx(200))[:: 1 if along_columns else -1]
        rows, columns = view.pixels(1.25)
        x, y = view.points(rows, columns)
        assert x.shape == (rows, columns) == y.shape
        assert x[0, columns // 2] == y[rows // 2, 0] == 0
    turned, _ = View(np.pi / 2, False, 160).points(160, 160)
    np.testing.assert_allclose(turned, -View(0.0, False, 160).points(160, 160)[1], atol=1e-4)


@pytest.mark.parametrize("pixel_mm", [1.0, 1.13, 1.29, 1.47, 1.6])
def test_images_have_even_sizes_that_fourier_transforms_are_fast_for_and_pixels_of_about_the_size_that_was_ordered(
    pixel_mm: float,
) -> None:
    rows, columns = View(turn_rad=0.0, encode_columns=True, kept=140).pixels(pixel_mm)
    assert (rows, columns) == (pytest.approx(200 / pixel_mm, rel=0.03), pytest.approx(175 / pixel_mm, rel=0.03))
    for size in (rows, columns):
        assert size % 2 == 0 and size == fft.next_fast_len(size)


def energy_beyond(per_mm: float, image: np.ndarray, spacing_mm: tuple[float, float]) -> float:
    """Share of the image's spectral energy beyond a spatial frequency in cycles per mm."""
    down, across = (np.fft.fftfreq(size, mm) for size, mm in zip(image.shape[1:], spacing_mm, strict=True))
    energy = np.abs(np.fft.fft2(image)) ** 2
    return float(energy[:, np.hypot(down[:, None], across[None, :]) > per_mm].sum() / energy.sum())


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_randomised_style_covers_every_vendor(setting: str) -> None:
    low, high = getattr(RANDOMISED, setting)
    for ranges in STYLES.values():
        assert low <= getattr(ranges, setting)[0] and getattr(ranges, setting)[1] <= high


@pytest.mark.parametrize("vendor", STYLES)
def test_a_style_is_a_point_of_the_unit_cube_and_comes_back_from_it(vendor: str) -> None:
    style = middle(vendor)
    place = style.vector()
    assert place.shape == (len(SETTINGS),) and (place >= 0).all() and (place <= 1).all()
    back = VendorStyle.from_vector(place, style.filter)
    for name in SETTINGS:
        assert getattr(back, name) == pytest.approx(getattr(style, name))


def test_a_style_s_vector_is_scaled_by_the_randomised_ranges_and_clipped_to_them() -> None:
    ends = [VendorStyle.from_vector(np.full(len(SETTINGS), place), "fermi") for place in (-3.0, 0.5, 7.0)]
    for name in SETTINGS:
        low, high = getattr(RANDOMISED, name)
        assert (getattr(ends[0], name), getattr(ends[2], name)) == (pytest.approx(low), pytest.approx(high))
    assert ends[1].snr == pytest.approx(np.sqrt(RANDOMISED.snr[0] * RANDOMISED.snr[1]))
    assert ends[1].flip_deg == pytest.approx(np.mean(RANDOMISED.flip_deg))
    with pytest.raises(ValueError, match="finite entries"):
        VendorStyle.from_vector(np.full(len(SETTINGS), np.nan), "none")
    with pytest.raises(ValueError, match="finite entries"):
        VendorStyle.from_vector(np.zeros(3), "none")


# --- on disk --------------------------------------------------------------------------------------------------------

SMALL = PhantomConfig(patients_per_vendor=1, vendors=("Philips",), seed=4)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "phantom"
    write_phantom(root, SMALL)
    return root


def test_the_table_is_as_excel_writes_it(written: Path) -> None:
    (path,) = (written / "OpenDataset").glob("*.csv")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf,External code,VendorName,Vendor,Centre,ED,ES,Age,Pathology,")
    (row,) = csv.DictReader(path.open(encoding="utf-8-sig"))
    assert (row[""], row["VendorName"], row["Vendor"], row["ED"], row["ES"]) == ("0", "Philips", "B", "0", "1")


def test_volumes_on_disk_are_the_cases_in_memory(written: Path) -> None:
    (folder,) = (written / "OpenDataset" / "Training" / "Labeled").iterdir()
    image, mask = (nib.load(folder / f"{folder.name}_sa{kind}.nii.gz") for kind in ("", "_gt"))
    assert image.shape == mask.shape and image.shape[3] == 2
    assert [np.sign(image.affine[axis, axis]) for axis in range(3)] == [-1, -1, 1]
    for frame, case in enumerate(phantom_patient(0, SMALL.seed, "Philips")):
        np.testing.assert_array_equal(np.asarray(image.dataobj)[..., frame].transpose(2, 1, 0), case.image)
        np.testing.assert_array_equal(np.asarray(mask.dataobj)[..., frame].transpose(2, 1, 0), case.mask)
        assert image.header.get_zooms()[:3] == pytest.approx(case.spacing_mm[::-1])


def test_codes_look_like_those_of_mnms_and_never_collide() -> None:
    many = PhantomConfig(patients_per_vendor=3000, seed=1)
    codes = [order.code for order in layout._orders(Path("unused"), many)]
    assert len(set(codes)) == len(codes) == 12000
    assert all(code[0::2].isalpha() and code[1::2].isdigit() and len(code) == 6 for code in codes)


def test_what_is_there_is_kept_when_the_configuration_is_the_same(written: Path) -> None:
    calls: list[tuple[int, int]] = []
    write_phantom(written, SMALL, lambda done, total: calls.append((done, total)))
    assert calls == []


def test_progress_counts_patients_and_another_configuration_replaces_the_data(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    root = tmp_path / "phantom"
    write_phantom(root, SMALL)
    write_phantom(root, SMALL.model_copy(update={"seed": 9}), lambda done, total: calls.append((done, total)))
    assert calls == [(1, 1)]
    assert json.loads((root / "phantom.json").read_text())["seed"] == 9


def test_another_phantom_is_not_replaced_where_anything_of_somebody_elses_lies_in_it(tmp_path: Path) -> None:
    root = tmp_path / "phantom"
    write_phantom(root, SMALL)
    notes = root / "OpenDataset" / "notes.txt"
    notes.write_text("theirs")
    with pytest.raises(UserError, match=r"notes\.txt, which is not of it"):
        write_phantom(root, SMALL.model_copy(update={"seed": 9}))
    assert notes.read_text() == "theirs"


def test_a_run_that_breaks_off_leaves_nothing_that_could_be_reused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(layout, "_row", fail)
    with pytest.raises(KeyboardInterrupt):
        write_phantom(tmp_path / "phantom", SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_contents_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "OpenDataset").mkdir()
    with pytest.raises(UserError, match="holds no phantom data"):
        write_phantom(tmp_path, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["OpenDataset"]


def test_the_vendors_of_a_configuration_are_those_with_a_style() -> None:
    assert read_stage(PhantomConfig, {"vendors": list(STYLES)}).vendors == tuple(STYLES)
    with pytest.raises(UserError, match=r"vendors\.1: Input should be 'Siemens'.*Acme"):
        read_stage(PhantomConfig, {"vendors": ["Siemens", "Acme"]})


@pytest.mark.parametrize("second", ["bSSFP", "GRE"])
def test_a_heart_that_is_scanned_twice_is_one_anatomy_in_two_looks(second) -> None:
    once, twice = phantom_patient(3, 5), phantom_patient_twice(3, 5, second)
    for one, case in zip(once, twice, strict=True):
        assert np.array_equal(one.image, case.image) and np.array_equal(one.mask, case.mask)
        assert case.source is not None and case.source.shape == case.image.shape
        labels = [case.mask == label for label in (Label.LV, Label.MYO)]
        bright, dark = (np.median(case.source[inside]) for inside in labels)
        cine_bright, cine_dark = (np.median(case.image[inside]) for inside in labels)
        assert not np.allclose(case.source / case.source.max(), case.image / case.image.max(), atol=0.05)
        # blood is far brighter than muscle in balanced SSFP; weighted by T1 it is not
        assert cine_bright > 1.4 * cine_dark
        assert (bright > 1.4 * dark) == (second == "bSSFP")


def test_a_spoiled_echo_is_ernsts_equation_and_brightest_at_his_angle() -> None:
    t1, t2, tr = 1000.0, 50.0, 6.0
    angles = np.linspace(0.5, 40, 400)
    one = np.array([t1]), np.array([t2])
    signal = np.array([spoiled_signal(*one, tr, 0.0, float(angle))[0] for angle in angles])
    ernst = np.rad2deg(np.arccos(np.exp(-tr / t1)))
    assert angles[signal.argmax()] == pytest.approx(ernst, abs=0.15)
    e1, angle = np.exp(-tr / t1), np.deg2rad(20.0)
    magnetisation = 1.0
    for _ in range(5000):  # pulse after pulse, the transverse part spoiled before the next
        transverse, magnetisation = magnetisation * np.sin(angle), magnetisation * np.cos(angle)
        magnetisation = 1 + (magnetisation - 1) * e1
    expected = transverse * np.exp(-2.5 / t2)
    found = spoiled_signal(*one, tr, 2.5, 20.0)
    assert found[0] == pytest.approx(expected, rel=1e-6)
