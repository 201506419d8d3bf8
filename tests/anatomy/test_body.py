"""Age and body size move the healthy heart that everything is drawn from, as published ranges have it."""

import numpy as np
import pytest
from numpy.random import default_rng

from cmrfed.anatomy import draw_heart, measure
from cmrfed.anatomy.course import physiology_of
from cmrfed.config import HeartConfig, HeartsConfig, UserError, VoxelsConfig


def wanted(seed=0, **asked):
    return physiology_of(HeartConfig(**asked), default_rng(seed))


def mean_of(name, **asked):
    return np.mean([getattr(wanted(seed, **asked), name) for seed in range(300)])


@pytest.mark.parametrize(
    ("sex", "surface_m2", "lv_ml_m2", "stroke_ml_m2"),
    [("M", 1.7, 85, 49), ("M", 2.3, 85, 49), ("F", 1.5, 74, 45), ("F", 2.0, 74, 45)],
)
def test_in_a_body_of_any_size_indexed_volumes_are_the_published_ones(sex, surface_m2, lv_ml_m2, stroke_ml_m2):
    """Petersen et al., JCMR 2017: LV EDV 85 and 74 ml/m2, stroke volume 49 and 45 ml/m2."""
    asked = {"sex": sex, "body_surface_m2": surface_m2}
    assert mean_of("lv_edv_ml", **asked) / surface_m2 == pytest.approx(lv_ml_m2, rel=0.03)
    assert mean_of("stroke_volume_ml", **asked) / surface_m2 == pytest.approx(stroke_ml_m2, rel=0.04)


@pytest.mark.parametrize(("sex", "lost_ml"), [("M", 21), ("F", 21)])
def test_from_the_third_to_the_eighth_decade_as_much_volume_goes_as_published(sex, lost_ml):
    """Maceira et al., JCMR 2006: of 156 and 128 ml, which the phantom's health has 166 and 124 for."""
    published = {"M": 156, "F": 128}[sex]
    young, old = (mean_of("lv_edv_ml", sex=sex, age=age) for age in (25.0, 75.0))
    assert (young - old) / mean_of("lv_edv_ml", sex=sex) == pytest.approx(lost_ml / published, rel=0.01)


def test_the_muscle_stays_with_age_and_grows_with_the_body():
    def mass(seed, **asked):
        heart = draw_heart(HeartConfig(sex="M", severity=0.0, **asked), VoxelsConfig(), default_rng(seed))
        return measure(heart.masks, heart.spacing_mm)["mass_g"]

    for seed in range(2):
        young, old = (mass(seed, age=age) for age in (25.0, 85.0))
        assert young == pytest.approx(old, rel=0.06)
        small, large = (mass(seed, body_surface_m2=size) for size in (1.6, 2.4))
        assert large / small == pytest.approx(1.5, rel=0.06)


def test_null_is_the_person_as_drawn_and_a_disease_is_drawn_from_the_body_asked_for():
    plain = wanted(sex="F", pathology="DCM", severity=1.0)
    large = wanted(sex="F", pathology="DCM", severity=1.0, height_cm=180.0, weight_kg=90.0)
    assert HeartConfig(height_cm=180.0, weight_kg=90.0).surface_m2 == pytest.approx((180 * 90 / 3600) ** 0.5)
    assert large.lv_edv_ml / plain.lv_edv_ml == pytest.approx((180 * 90 / 3600) ** 0.5 / (70 / 42))
    assert large.ejection_fraction == plain.ejection_fraction


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"age": 12.0}, "greater than or equal to 18"),
        ({"height_cm": 180.0}, "height_cm: tells the body's surface only with weight_kg"),
        ({"weight_kg": 80.0}, "weight_kg: tells the body's surface only with height_cm"),
        ({"height_cm": 200.0, "weight_kg": 35.0}, "body mass index of 9 kg/m2; adults have 12 to 70"),
        ({"height_cm": 215.0, "weight_kg": 220.0}, "body surface of 3.6 m2; adults have 1 to 3"),
        ({"height_cm": 180.0, "weight_kg": 80.0, "body_surface_m2": 2.0}, "leave it out"),
    ],
)
def test_what_no_adult_is_like_is_refused_with_its_range(asked, said):
    with pytest.raises(ValueError, match=said):
        HeartConfig(**asked)


def test_of_ranges_that_no_body_has_together_another_one_is_drawn():
    asked = HeartsConfig(height_cm=[150, 200], weight_kg=[40, 110])
    draw = default_rng(0).uniform
    drawn = [asked.heart(0, draw) for _ in range(50)]
    assert all(12 <= one.bmi <= 70 and 1 <= one.surface_m2 <= 3 for one in drawn)
    with pytest.raises(UserError, match="give narrower ranges"):
        HeartsConfig(edv_ml=[100, 300], esv_ml=[50, 150]).heart(0, lambda low, high: high if low == 50 else low)
