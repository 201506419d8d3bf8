"""What the phantom's hearts promise: they are as ill as ordered, and their masks are what a reader would draw."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng

from cmrfed.phantom.anatomy import SIZE, Anatomy, Annotator, image_points, sample_anatomy
from cmrfed.phantom.fields import band_noise
from cmrfed.phantom.heart import PATHOLOGIES, Heart, Pathology, Ventricles, sample_heart, sample_physiology
from cmrfed.phantom.physics import Tissue
from cmrfed.phantom.receiver import View
from cmrfed.phantom.scan import heart_box
from cmrfed.shapes import Label


def heart_of(pathology: Pathology, severity: float, seed: int = 0) -> Heart:
    rng = default_rng(seed)
    return sample_heart(rng, sample_physiology(rng, pathology, "M", severity))


def walls_mm(ventricles: Ventricles) -> np.ndarray:
    """Thickness by level, from near the base to the apical third, and angle."""
    levels = np.linspace(0.1, 0.7, 13) * ventricles.lv_length_mm + ventricles.lv_base_mm
    sections = [ventricles.section(float(z)) for z in levels]
    return np.stack([section.epi - section.endo for section in sections])


@pytest.mark.parametrize(
    ("pathology", "measure", "rises"),
    [
        ("DCM", lambda heart: heart.physiology.ejection_fraction, False),
        ("DCM", lambda heart: heart.physiology.lv_edv_ml, True),
        ("HCM", lambda heart: walls_mm(heart.phases["ED"]).max(), True),
        ("MINF", lambda heart: heart.physiology.ejection_fraction, False),
        ("MINF", lambda heart: walls_mm(heart.phases["ED"]).min() / np.median(walls_mm(heart.phases["ED"])), False),
        ("RV", lambda heart: heart.physiology.rv_edv_ml / heart.physiology.lv_edv_ml, True),
    ],
)
def test_a_disease_gets_worse_with_its_severity(pathology, measure, rises) -> None:
    for seed in range(4):
        mild, middling, extreme = (measure(heart_of(pathology, severity, seed)) for severity in (0.0, 0.5, 1.0))
        assert (mild < middling < extreme) if rises else (mild > middling > extreme)


def test_severity_is_drawn_unless_given_and_refused_outside_its_range() -> None:
    drawn = {sample_physiology(default_rng(seed), "DCM", "F").severity for seed in range(20)}
    assert len(drawn) == 20 and min(drawn) >= 0 and max(drawn) <= 1
    with pytest.raises(ValueError, match=r"severity must be between 0 and 1, found 1\.5"):
        sample_physiology(default_rng(0), "DCM", "F", 1.5)


@settings(max_examples=25, deadline=None)
@given(pathology=st.sampled_from(PATHOLOGIES), severity=st.floats(0, 1), seed=st.integers(0, 10**6))
def test_whatever_the_disease_ventricles_hold_what_was_ordered_and_muscle_is_kept(pathology, severity, seed) -> None:
    heart = heart_of(pathology, severity, seed)
    wanted = heart.physiology
    (lv_ed, muscle_ed, rv_ed), (lv_es, muscle_es, rv_es) = (heart.phases[phase].volumes_ml() for phase in ("ED", "ES"))
    assert lv_ed == pytest.approx(wanted.lv_edv_ml, rel=0.03)
    assert 1 - lv_es / lv_ed == pytest.approx(wanted.ejection_fraction, abs=0.04)
    assert muscle_es == pytest.approx(muscle_ed, rel=0.05)
    assert rv_ed == pytest.approx(wanted.rv_edv_ml, rel=0.08)
    assert rv_es < rv_ed


@pytest.mark.parametrize(("sex", "published_g", "sd_g"), [("M", 103, 21), ("F", 70, 13)])
def test_healthy_hearts_weigh_what_is_published(sex, published_g, sd_g) -> None:
    """Petersen et al., JCMR 2017; 1.05 g/mL."""
    hearts = (sample_heart(rng := default_rng(seed), sample_physiology(rng, "NOR", sex)) for seed in range(40))
    mass_g = np.array([1.05 * heart.phases["ED"].volumes_ml()[1] for heart in hearts])
    assert mass_g.mean() == pytest.approx(published_g, rel=0.06)
    assert mass_g.std() == pytest.approx(sd_g, rel=0.35)


def test_the_apex_empties_more_than_the_base() -> None:
    for seed in range(4):
        phases = heart_of("NOR", 0.0, seed).phases
        left = []
        for share in (0.3, 0.8):
            endo = [phases[p].section(phases[p].lv_base_mm + share * phases[p].lv_length_mm).endo for p in ("ED", "ES")]
            left.append(np.square(endo[1]).sum() / np.square(endo[0]).sum())
        assert left[1] < left[0]


EXACT = Annotator(inset_mm=(0.0, 0.0), least_lv_mm=0.0, least_rv_mm2=0.0)


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    rng = default_rng(3)
    physiology = sample_physiology(rng, "NOR", "M")
    drawn = sample_anatomy(rng, physiology, adiposity=0.4, slice_spacing_mm=10.0)
    return replace(drawn, reader=EXACT)


def masks(anatomy: Anatomy, phase="ED", size: int = 160) -> np.ndarray:
    warped = anatomy.warp(*image_points(size))
    slices = range(len(anatomy.slices_z_mm))
    return np.stack([anatomy.mask(phase, index, anatomy.heart_points(index, warped)) for index in slices])


def test_a_reader_who_draws_across_trabeculae_finds_less_blood_and_as_much_heart(anatomy: Anatomy) -> None:
    exact, inset = masks(anatomy), masks(replace(anatomy, reader=replace(EXACT, inset_mm=(1.5, 1.5))))
    assert np.count_nonzero(inset == Label.LV) < 0.97 * np.count_nonzero(exact == Label.LV)
    np.testing.assert_array_equal(np.isin(inset, (Label.LV, Label.MYO)), np.isin(exact, (Label.LV, Label.MYO)))


def test_a_reader_who_stops_early_leaves_out_whole_small_sections(anatomy: Anatomy) -> None:
    exact, early = masks(anatomy), masks(replace(anatomy, reader=replace(EXACT, least_lv_mm=15.0, least_rv_mm2=800.0)))
    for full, some in zip(exact, early, strict=True):
        for labels in ((Label.LV, Label.MYO), (Label.RV,)):
            drawn = np.isin(some, labels)
            assert not drawn.any() or (drawn == np.isin(full, labels)).all()
    assert (early == Label.RV).any() and np.count_nonzero(early) < np.count_nonzero(exact)


@pytest.mark.parametrize("phase", ["ED", "ES"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_nothing_of_the_heart_lies_outside_the_box_that_is_painted(phase, seed) -> None:
    rng = default_rng(seed)
    anatomy = sample_anatomy(rng, sample_physiology(rng, "RV", "M"), adiposity=1.0, slice_spacing_mm=9.0)
    view = View(turn_rad=0.6, encode_columns=False, kept=SIZE)
    warped = anatomy.warp(*view.rendered_points((0.0, 0.0)))
    around = np.full((SIZE, SIZE), Tissue.LUNG, dtype=np.uint8)
    for index, z in enumerate(anatomy.slices_z_mm):
        points = anatomy.heart_points(index, warped)
        painted = anatomy.tissue(phase, index, points, z, around, anatomy.noise[index]) != around
        painted[heart_box(anatomy, anatomy.outline(index), view)] = False
        assert not painted.any()


@pytest.mark.parametrize("sigma_px", [0.8, 2.0, 6.0])
def test_noise_has_unit_variance_and_the_correlation_of_its_gaussian_gain(sigma_px) -> None:
    noise = band_noise(default_rng(0), planes=30, size=160, sigma_px=sigma_px)
    assert noise.mean() == pytest.approx(0, abs=1e-3)
    assert noise.var() == pytest.approx(1, abs=0.05)
    for axis in (1, 2):
        for lag in (1, 2, 4):
            # the transform of the squared gain
            expected = np.exp(-((lag / (2 * sigma_px)) ** 2))
            assert (noise * np.roll(noise, lag, axis=axis)).mean() == pytest.approx(expected, abs=0.05)


def test_trabeculae_stand_in_the_blood_pool_and_belong_to_it(anatomy: Anatomy) -> None:
    warped = anatomy.warp(*image_points(160))
    index = len(anatomy.slices_z_mm) // 2
    points = anatomy.heart_points(index, warped)
    around = np.full((160, 160), Tissue.LUNG, dtype=np.uint8)
    tissue = anatomy.tissue("ES", index, points, anatomy.slices_z_mm[index], around, anatomy.noise[index])
    mask = anatomy.mask("ES", index, points)
    share = {label: (tissue[mask == label] == Tissue.MYOCARDIUM).mean() for label in (Label.LV, Label.RV, Label.MYO)}
    assert 0.02 < share[Label.LV] < 0.7 and share[Label.RV] > 0.01
    assert share[Label.MYO] > 0.97
    smooth = replace(anatomy, ridges_mm=np.zeros_like(anatomy.ridges_mm))
    np.testing.assert_array_equal(smooth.mask("ES", index, points), mask)


def muscle_in_the_cavity(anatomy: Anatomy, phase: str) -> tuple[float, float]:
    """(Its share of all the left ventricle's muscle, its area over all slices in mm2)."""
    within = around = 0
    nothing = np.zeros((160, 160), dtype=np.uint8)
    for index, z in enumerate(anatomy.slices_z_mm):
        points = anatomy.heart_points(index, image_points(160))
        section = anatomy.heart.phases[phase].section(z)
        if z >= anatomy.heart.phases[phase].lv_base_mm:
            muscle = anatomy.tissue(phase, index, points, z, nothing, anatomy.noise[index]) == Tissue.MYOCARDIUM
            to_endo, to_epi = section.to_left(points)
            within += np.count_nonzero(muscle & (to_endo < 0))
            around += np.count_nonzero(muscle & (to_endo >= 0) & (to_epi < 0))
    return within / (within + around), within * (200 / 160) ** 2


def test_muscle_within_the_cavity_is_as_much_as_published_and_kept_when_the_heart_empties() -> None:
    """Papillary muscles are 9 % of the left ventricle's mass (Vogel-Claussen 2006), trabeculae 12 % (Jacquier 2010)."""
    found = []
    for seed in range(10):
        rng = default_rng(seed)
        anatomy = sample_anatomy(rng, sample_physiology(rng, "NOR", "M"), 0.5, 10.0)
        found.append([muscle_in_the_cavity(anatomy, phase) for phase in ("ED", "ES")])
    (share, area), (_, area_es) = np.mean(found, axis=0)
    assert 0.14 < share < 0.28
    assert area_es == pytest.approx(area, rel=0.15)
