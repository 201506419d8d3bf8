from dataclasses import replace

import numpy as np
import pytest
from refusals import refuses
from reviews import Sketch, sketched
from scipy.stats import kendalltau
from toy_hearts import toy_case

from cmrfed.config import PlausibilityConfig, UserError, read_stage
from cmrfed.reader_study import choose_review
from cmrfed.reader_study.hearts import Heart
from cmrfed.reader_study.plausibility import CourseOrigin, HeartOrigin, Ordering, _ordering, _shuffled
from cmrfed.slices import Slices, collect


def hearts(*people: tuple[str, str, float]) -> Slices:
    """Patients of a vendor, with a diagnosis and a distance of slices; their pixels are all 0."""
    slices = collect(
        toy_case(f"P{n}", phase, n, vendor=vendor, pathology=disease, spacing_mm=(mm, 1.5, 1.25))
        for n, (vendor, disease, mm) in enumerate(people)
        for phase in ("ED", "ES")
    )
    return replace(
        slices, images=np.zeros((len(slices), 8, 8), np.float32), masks=np.asarray(slices.masks)[:, 16:24, 24:32]
    )


REAL = hearts(("Siemens", "DCM", 10.0), ("Philips", "NOR", 8.0), ("Siemens", "CIA", 7.0), ("GE", "LVNC", 9.0))
CONFIG = PlausibilityConfig(hearts=8, orderings=5, severities=(0.25, 0.5, 1.0))


def chosen(real, config=CONFIG, seed=0):
    painter = Sketch()
    return choose_review(real, painter, config, "run, private", seed, lambda done, total: None), painter.asked


def test_half_of_the_hearts_are_real_and_the_others_have_their_scanners_diseases_and_slices():
    review, asked = chosen(REAL)
    real = [one for one in review.key.hearts.values() if not one.synthetic]
    made = [one for one in review.key.hearts.values() if one.synthetic]
    assert len(real) == len(made) == 4 and review.patients
    assert sorted(one.vendor for one in made) == sorted(one.vendor for one in real)
    # an atrial septal defect has a course by another name; a diagnosis without a course is another's
    assert {"DCM", "NOR", "ASD"} <= {one.pathology for one in made}
    assert sorted(mm for requests, _, _, mm in asked if len(requests) == 1) == [7, 8, 9, 10]
    assert all(one.severity is None for one in real)
    assert all((one.severity == 0) == (one.pathology == "NOR") for one in made)
    for heart in review.hearts:
        synthetic = review.key.hearts[heart.name].synthetic
        assert synthetic or not np.nan_to_num(heart.images).any()


def test_no_more_are_shown_than_asked_for_and_nobody_twice():
    review, asked = chosen(REAL, CONFIG.model_copy(update={"hearts": 5}))
    assert sum(not one.synthetic for one in review.key.hearts.values()) == 2 == len(review.hearts) // 2
    assert len({person for _, person, _, _ in asked}) == len(asked)


def test_without_real_ones_all_are_synthetic_of_every_disease_and_health():
    review, _ = chosen(None)
    assert not review.patients and all(one.synthetic for one in review.key.hearts.values())
    assert {one.pathology for one in review.key.hearts.values()} == {"NOR", *CONFIG.pathology}


def test_one_person_is_asked_for_at_every_severity_of_one_disease_and_the_key_knows_them_apart():
    review, asked = chosen(REAL)
    courses = [requests for requests, _, _, _ in asked if len(requests) > 1]
    assert [{one.pathology for one in requests} for requests in courses] == [{d} for d in (*CONFIG.pathology, "DCM")]
    for ordering in review.orderings:
        truth = review.key.orderings[ordering.name]
        assert truth.pathology == ordering.pathology
        drawn = {heart.name: float(heart.images[0, 0, 0, 0]) for heart in ordering.hearts}
        assert truth.severities == drawn and sorted(drawn.values()) == list(CONFIG.severities)


def test_the_seed_decides_what_is_shown_and_not_the_names_or_the_order():
    (first, asked), (second, again) = chosen(REAL, seed=3), chosen(REAL, seed=3)
    assert asked == again and asked != chosen(REAL, seed=4)[1]
    assert not first.key.hearts.keys() & second.key.hearts.keys()
    assert first.key.study != second.key.study


def test_the_order_tells_nothing_of_the_truth():
    """A fair coin misses the first range in 1 of 10,000 tries; the second is 4 standard errors of a random order's."""
    pairs = [
        (
            Heart(f"h{n}", sketched(2, 0.0)),
            HeartOrigin(synthetic=n % 2 == 1, vendor="GE", pathology="NOR", severity=None),
        )
        for n in range(6)
    ]
    firsts = []
    for _ in range(300):
        review = _shuffled(list(pairs), [], "r", True)
        firsts.append(review.key.hearts[review.hearts[0].name].synthetic)
        assert list(review.key.hearts) == [heart.name for heart in review.hearts]
    assert 0.38 < np.mean(firsts) < 0.62
    random, painter, taus = np.random.default_rng(0), Sketch(), []
    for _ in range(300):
        ordering, origin = _ordering(painter, "DCM", (0.0, 0.5, 1.0), "GE", random)
        shown = [origin.severities[heart.name] for heart in ordering.hearts]
        assert list(origin.severities) == sorted(origin.severities)
        taus.append(kendalltau(range(3), shown).statistic)
    assert abs(np.mean(taus)) < 4 * np.sqrt(2 * (2 * 3 + 5) / (9 * 3 * 2) / 300)


def test_nobody_with_both_phases_is_refused_with_what_to_do():
    ed_alone = collect([toy_case("P", "ED")])
    with refuses("both phases", "plausibility.real=false"):
        chosen(ed_alone)


def test_a_person_that_cannot_be_drawn_at_every_severity_gives_way_to_the_next():
    class Reluctant(Sketch):
        def course(self, requests, person, vendor):
            drawn = super().course(requests, person, vendor)
            return None if len(self.asked) < 3 else drawn

    painter = Reluctant()
    ordering, _ = _ordering(painter, "HCM", (0.0, 1.0), "GE", np.random.default_rng(0))
    assert isinstance(ordering, Ordering) and len({person for _, person, _, _ in painter.asked}) == 3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"severities": [0.5, 0.5]}, "do not ascend"),
        ({"severities": [0.5]}, "severities"),
        ({"pathology": ["NOR"]}, "NOR has no severity"),
        ({"hearts": 0, "orderings": 0}, "nothing is shown"),
        ({"hearts": 1}, "half real"),
    ],
)
def test_a_review_that_cannot_be_is_refused(values, said):
    with pytest.raises(UserError, match=said):
        read_stage(PlausibilityConfig, values)


def test_a_course_of_one_heart_is_no_course():
    with pytest.raises(UserError, match="severities"):
        read_stage(CourseOrigin, {"pathology": "DCM", "severities": {"a": 0.5}})
