import json

import numpy as np
import pytest
from refusals import refuses
from scipy.stats import beta, binom

from cmrfed.config import read_stage
from cmrfed.reader_study import ReaderAnswers, StudyKey, read_answers, score_readers


def key(truth: list[bool]) -> StudyKey:
    items = {f"i{n}": {"synthetic": one, "vendor": "GE", "phase": "ED"} for n, one in enumerate(truth)}
    return read_stage(StudyKey, {"study": "s", "run": "r", "arm": "private", "items": items})


def answers(said: list[bool], confidence: int | list[int] = 2, study: str = "s") -> ReaderAnswers:
    sure = [confidence] * len(said) if isinstance(confidence, int) else confidence
    given = {
        f"i{n}": {"synthetic": one, "confidence": c, "seconds": 1.0 + n}
        for n, (one, c) in enumerate(zip(said, sure, strict=True))
    }
    return read_stage(ReaderAnswers, {"study": study, "reader": "A", "answers": given})


def test_the_interval_is_clopper_and_pearsons_and_the_p_value_that_of_coin_tosses():
    truth = [True] * 10 + [False] * 10
    said = [True] * 9 + [False] + [False] * 6 + [True] * 4
    found = score_readers(key(truth), [answers(said)])["readers"][0]
    assert found["accuracy"] == 15 / 20
    assert found["accuracy_ci95"] == pytest.approx([beta.ppf(0.025, 15, 6), beta.ppf(0.975, 16, 5)])
    assert found["p"] == pytest.approx(2 * binom.sf(14, 20, 0.5))
    assert (found["sensitivity"], found["specificity"]) == (0.9, 0.6)
    assert found["median_seconds"] == 10.5


def test_auc_counts_pairs_in_which_the_synthetic_one_was_called_synthetic_more_surely():
    truth, said, sure = [True, True, False, False], [True, False, True, False], [3, 1, 1, 3]
    found = score_readers(key(truth), [answers(said, sure)])["readers"][0]
    ranks = np.array([3, -1, 1, -3])
    assert found["auc"] == np.mean([a > b for a in ranks[:2] for b in ranks[2:]])


def test_readers_are_scored_alone_and_together_with_their_agreement():
    truth = [True, False, True, False]
    found = score_readers(key(truth), [answers(truth), answers([True, False, False, True])])
    assert [reader["accuracy"] for reader in found["readers"]] == [1.0, 0.5]
    assert found["pooled"]["accuracy"] == 0.75
    assert found["kappa"] == 0.0  # they agree on two of four, as two coins would


def test_items_of_one_kind_leave_out_what_needs_both():
    found = score_readers(key([True, True]), [answers([True, False])])["pooled"]
    assert (found["specificity"], found["auc"]) == (None, None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"study": "other"}, "of study other"),
        ({"answers": {}}, "no answers"),
        ({"answers": {"x": {"synthetic": True, "confidence": 1, "seconds": 1}}}, "'x'"),
        ({"answers": {"i0": {"synthetic": True, "confidence": 9, "seconds": 1}}}, "confidence"),
    ],
)
def test_answers_that_do_not_belong_are_refused_with_the_file(tmp_path, change, said):
    path = tmp_path / "answers-A.json"
    path.write_text(json.dumps(answers([True, False]).model_dump() | change))
    with refuses(path, said):
        read_answers(path, key([True, False]))
