import json
from itertools import combinations, permutations

import numpy as np
import pytest
from refusals import refuses
from reviews import answers_of, key_of
from scipy.stats import mannwhitneyu

from cmrfed.reader_study import read_plausibility_answers, score_review
from cmrfed.reader_study.ratings import _mean, cliffs_delta, tau_b
from cmrfed.statistics import bootstrap_mean_interval

SEVERITIES = {"a": 0.0, "b": 0.25, "c": 0.75, "d": 1.0}
REAL, MADE = (False, "DCM", None), (True, "DCM", 0.5)


def test_tau_is_the_share_of_pairs_in_order_less_that_of_pairs_in_reverse():
    for order in permutations(SEVERITIES):
        pairs = [np.sign(SEVERITIES[later] - SEVERITIES[earlier]) for earlier, later in combinations(order, 2)]
        assert tau_b(order, SEVERITIES) == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize(("order", "tau"), [("abcd", 1), ("dcba", -1), ("bacd", 4 / 6), ("badc", 2 / 6), ("cadb", 0)])
def test_tau_of_orders_counted_by_hand(order, tau):
    assert tau_b(tuple(order), SEVERITIES) == pytest.approx(tau)


def test_taus_are_averaged_over_readers_and_people_and_by_disease():
    key = key_of({}, {"DCM-1": SEVERITIES, "DCM-2": SEVERITIES, "HCM-1": SEVERITIES})
    one = answers_of({}, {"DCM-1": "abcd", "DCM-2": "bacd", "HCM-1": "dcba"})
    other = answers_of({}, {"DCM-1": "badc", "HCM-1": "abcd"}, "B")
    found = score_review(key, [one, other])
    assert [reader["tau_b"]["mean"] for reader in found["readers"]] == pytest.approx(
        [(1 + 2 / 3 - 1) / 3, (1 / 3 + 1) / 2]
    )
    assert found["pooled"]["tau_b"]["mean"] == pytest.approx((1 + 2 / 3 - 1 + 1 / 3 + 1) / 5)
    assert found["tau_by_pathology"]["DCM"]["mean"] == pytest.approx((1 + 2 / 3 + 1 / 3) / 3)
    assert found["tau_by_pathology"]["HCM"]["mean"] == pytest.approx(0)
    assert found["pooled"]["ordered"] == 5 and found["pooled"]["rated"] == 0


def test_one_readers_interval_draws_the_cases_alone():
    values = np.random.default_rng(1).uniform(-1, 1, 12)
    found = _mean(values[None])
    assert found is not None
    assert found["ci95"] == pytest.approx(bootstrap_mean_interval(values, 20_000, 5), abs=0.02)


def test_several_readers_interval_draws_readers_and_cases_each_case_for_all_at_once():
    random = np.random.default_rng(2)
    table = random.normal(0, 0.3, (4, 1)) + random.normal(0, 0.5, (1, 9)) + random.normal(0, 0.2, (4, 9))
    table[2, 4:] = np.nan
    means = []
    for _ in range(4000):
        rows, columns = random.integers(4, size=4), random.integers(9, size=9)
        means.append(np.nanmean(table[np.ix_(rows, columns)]))
    found = _mean(table)
    assert found is not None and found["mean"] == pytest.approx(np.nanmean(table))
    assert found["ci95"] == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=0.04)


def test_an_interval_holds_the_truth_about_as_often_as_it_says_where_cases_are_hard_for_all():
    """With cases drawn for each reader alone, nearly a quarter of the intervals would miss it."""
    random, held = np.random.default_rng(3), []
    for _ in range(150):
        table = random.normal(0, 0.1, (6, 1)) + random.normal(0, 0.5, (1, 15)) + random.normal(0, 0.3, (6, 15))
        low, high = _mean(table)["ci95"]
        held.append(low <= 0 <= high)
    assert 0.87 < np.mean(held) <= 1


def review():
    hearts = {f"r{n}": REAL for n in range(5)} | {f"s{n}": MADE for n in range(6)}
    hearts["s5"] = (True, "HCM", 1.0)
    key = key_of(hearts, {})
    random = np.random.default_rng(0)
    ratings = {name: (int(random.integers(2, 6)), int(random.integers(1, 6))) for name in hearts}
    return key, ratings


def test_real_and_synthetic_are_compared_as_by_mann_and_whitney_and_by_cliff():
    key, ratings = review()
    found = score_review(key, [answers_of(ratings, {})])["readers"][0]
    for place, question in enumerate(("anatomy", "motion")):
        real, made = ([pair[place] for name, pair in ratings.items() if name[0] == kind] for kind in "rs")
        test = mannwhitneyu(made, real)
        assert found[question]["p"] == pytest.approx(test.pvalue)
        assert found[question]["cliffs_delta"]["mean"] == pytest.approx(
            2 * test.statistic / (len(made) * len(real)) - 1
        )
        assert found[question]["real"]["mean"] == pytest.approx(np.mean(real))
        assert found[question]["difference"]["mean"] == pytest.approx(np.mean(made) - np.mean(real))
        for score in ("real", "synthetic", "difference", "cliffs_delta"):
            low, high = found[question][score]["ci95"]
            assert low < found[question][score]["mean"] < high


def test_cliffs_interval_is_that_of_hearts_drawn_within_their_kind():
    key, ratings = review()
    found = score_review(key, [answers_of(ratings, {})])["pooled"]["anatomy"]["cliffs_delta"]
    real, made = (np.array([pair[0] for name, pair in ratings.items() if name[0] == kind]) for kind in "rs")
    random, deltas = np.random.default_rng(9), []
    for _ in range(4000):
        drawn = random.choice(made, len(made))[:, None] - random.choice(real, len(real))[None]
        deltas.append(np.sign(drawn).mean())
    assert found["ci95"] == pytest.approx(np.percentile(deltas, [2.5, 97.5]), abs=0.07)


def test_how_kind_a_reader_is_does_not_count():
    """Each says synthetic hearts are worse; the kind one's are still rated above the strict one's real ones."""
    synthetic = np.array([False, False, True, True])
    table = np.array([[5.0, 5, 4, 4], [2, 2, 1, 1]])
    assert cliffs_delta(table, synthetic) == -1
    assert cliffs_delta(table[:, 2:], synthetic[2:]) is None


def test_ratings_are_told_by_disease_and_by_severity():
    key, ratings = review()
    groups = score_review(key, [answers_of(ratings, {})])["ratings_by_group"]
    shown = {(one["synthetic"], one["group"]): (one["hearts"], one["anatomy"]["mean"]) for one in groups}
    made = [ratings[f"s{n}"][0] for n in range(5)]
    assert shown == {
        (False, "DCM"): (5, pytest.approx(np.mean([ratings[f"r{n}"][0] for n in range(5)]))),
        (True, "DCM"): (5, pytest.approx(np.mean(made))),
        (True, "severity 0.5"): (5, pytest.approx(np.mean(made))),
        (True, "HCM"): (1, ratings["s5"][0]),
        (True, "severity 1"): (1, ratings["s5"][0]),
    }


def test_without_real_hearts_nothing_is_compared():
    key = key_of({"s0": MADE, "s1": MADE}, {})
    found = score_review(key, [answers_of({"s0": (4, 5), "s1": (2, 5)}, {})])["pooled"]
    assert found["anatomy"]["synthetic"]["mean"] == 3 and found["anatomy"]["real"] is None
    assert found["anatomy"]["difference"] is None and found["anatomy"]["p"] is None and found["tau_b"] is None


KEY = key_of({"h0": REAL, "h1": MADE}, {"DCM-1": SEVERITIES})
GIVEN = answers_of({"h0": (3, 4)}, {"DCM-1": "abcd"}).model_dump(mode="json")
RATING, ORDER = GIVEN["ratings"]["h0"], GIVEN["orderings"]["DCM-1"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"study": "other"}, "of study other"),
        ({"ratings": {}, "orderings": {}}, "no answers"),
        ({"ratings": {"x": RATING}}, "ratings.x"),
        ({"ratings": {"h1": RATING | {"anatomy": 6}}}, "ratings.h1.anatomy"),
        ({"ratings": {"h1": RATING | {"motion": None}}}, "ratings.h1.motion"),
        ({"ratings": {"h1": RATING | {"artefact": "ghost"}}}, "ratings.h1.artefact"),
        ({"ratings": {"h1": {"anatomy": 5}}}, "ratings.h1.motion"),
        ({"orderings": {"x": ORDER}}, "orderings.x"),
        ({"orderings": {"DCM-1": ORDER | {"order": ["a", "b", "c"]}}}, "orderings.DCM-1: order must name"),
        ({"orderings": {"DCM-1": ORDER | {"order": ["a", "b", "c", "c"]}}}, "orderings.DCM-1: order must name"),
        ({"orderings": {"DCM-1": ORDER | {"seconds": -1}}}, "orderings.DCM-1.seconds"),
    ],
)
def test_malformed_answers_are_refused_with_file_and_entry(tmp_path, change, said):
    path = tmp_path / "answers-A.json"
    path.write_text(json.dumps(GIVEN | change))
    with refuses(path, said):
        read_plausibility_answers([path], KEY)


def test_two_files_of_one_reader_are_refused(tmp_path):
    paths = [tmp_path / "answers-A.json", tmp_path / "answers-B.json"]
    for path in paths:
        path.write_text(json.dumps(GIVEN))
    with refuses(*paths, "'A'"):
        read_plausibility_answers(paths, KEY)


def test_notes_and_artefacts_are_told_beside_what_the_heart_is():
    given = answers_of({"h0": (3, 4), "h1": (1, 1)}, {})
    odd = given.ratings["h1"].model_copy(update={"artefact": "wall", "note": "broken septum"})
    found = score_review(KEY, [given.model_copy(update={"ratings": given.ratings | {"h1": odd}})])
    assert found["artefacts"]["wall"] == {"real": 0, "synthetic": 1}
    assert found["artefacts"]["none"] == {"real": 1, "synthetic": 0}
    (note,) = found["notes"]
    assert (note["heart"], note["synthetic"], note["severity"], note["note"]) == ("h1", True, 0.5, "broken septum")
