"""Copies are found among samples, however large the archive and whoever the masks are of; free images are no copies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from cmrfed.arrays import Rows
from cmrfed.evaluation.leakage.attacks import NOBODY, CopyTest, Points, Samples, copying
from cmrfed.evaluation.leakage.attacks.areas import auc
from cmrfed.evaluation.leakage.attacks.authenticity import authentic
from cmrfed.evaluation.leakage.attacks.collapse import share_of_one_patient
from cmrfed.evaluation.leakage.attacks.data_copying import data_copying
from cmrfed.evaluation.leakage.attacks.extraction import extraction_ratios, extraction_scores
from cmrfed.evaluation.leakage.attacks.nearest_sample import nearest_sample_scores
from cmrfed.evaluation.leakage.attacks.neighbours import nearest


def images(count, seed, owners=None, size=8):
    values = np.random.default_rng(seed).normal(size=(count, size, size)).astype(np.float32)
    return Points((values,), np.full(count, NOBODY) if owners is None else np.asarray(owners))


@settings(max_examples=15, deadline=None)
@given(count=st.integers(1, 4), at_once=st.sampled_from([1, 3, 7, 100]), cut=st.integers(0, 20))
def test_neighbours_are_scikit_learns_however_the_archive_is_read(count, at_once, cut):
    queries, archive = images(9, 0), images(20, 1)
    values = archive.parts[0]
    in_parts = Points(tuple(part for part in (values[:cut], values[cut:]) if len(part)), archive.owners)
    found = nearest(queries, in_parts, count, rows_at_once=at_once)
    flat = values.reshape(20, -1)
    distances, indices = NearestNeighbors(n_neighbors=count).fit(flat).kneighbors(queries.parts[0].reshape(9, -1))
    np.testing.assert_allclose(found.distances, distances / 8, rtol=1e-5)
    np.testing.assert_array_equal(found.indices, indices)


def test_an_archive_may_stay_on_disk(tmp_path):
    archive = images(20, 1)
    stored = np.memmap(tmp_path / "a", np.float32, "w+", shape=(20, 8, 8))
    stored[:] = archive.parts[0]
    on_disk = Points((Rows(stored, np.arange(20)),), archive.owners)
    for one, other in zip(
        vars(nearest(images(4, 0), archive)).values(), vars(nearest(images(4, 0), on_disk)).values(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_an_owners_own_images_are_left_out_and_nobodys_are_not():
    archive = images(4, 0, [0, 0, 1, NOBODY])
    queries = Points(archive.parts, np.array([0, 1, 1, NOBODY]))
    found = nearest(queries, archive)
    assert found.indices[0, 0] in (2, 3) and found.indices[1, 0] == 1
    assert found.indices[2, 0] != 2 and found.indices[3, 0] == 3
    alone = nearest(images(1, 0, [0]), images(2, 1, [0, 0]))
    assert np.isinf(alone.distances).all()


def planted(copies, noise=0.05):
    """20 members and 20 strangers with 2 slices each; the first `copies` members' slices are among the samples, drawn
    for other patients' masks."""
    scored = images(80, 0, np.repeat(np.arange(40), 2))
    random = np.random.default_rng(2)
    made = random.normal(size=(60, 8, 8)).astype(np.float32)
    rows = np.arange(0, 2 * copies, 2)
    made[: len(rows)] = scored.parts[0][rows] + noise * random.normal(size=(len(rows), 8, 8))
    synthetic = Points((made,), 39 - np.arange(60) % 20)
    archive = Points.joined([scored, images(100, 3, np.repeat(np.arange(100, 150), 2))])
    return Samples(scored, synthetic, archive)


@pytest.mark.parametrize("attack", [nearest_sample_scores, extraction_scores])
def test_patients_who_were_copied_are_told_from_the_others(attack):
    scores = attack(planted(copies=20))
    assert auc(scores[:20], scores[20:]) > 0.95
    few = attack(planted(copies=3))
    assert set(np.argsort(-few)[:3]) == {0, 1, 2}
    none = attack(planted(copies=0))
    assert 0.25 < auc(none[:20], none[20:]) < 0.75


@pytest.mark.parametrize("attack", [nearest_sample_scores, extraction_scores])
def test_an_image_for_a_patients_own_mask_says_nothing_about_the_patient(attack):
    before = planted(copies=0)
    made = before.synthetic.parts[0].copy()
    made[0] = before.scored.parts[0][0]
    owners = before.synthetic.owners.copy()
    owners[0] = 0
    own = attack(Samples(before.scored, Points((made,), owners), before.archive))
    owners[0] = 39
    somebodys = attack(Samples(before.scored, Points((made,), owners), before.archive))
    assert somebodys[0] > own[0]
    assert np.argmax(somebodys) == 0 and np.argmax(own) != 0


def test_the_extraction_ratio_is_carlinis():
    made, train = images(3, 0), images(60, 1)
    gaps = np.linalg.norm(made.parts[0].reshape(3, 1, -1) - train.parts[0].reshape(1, 60, -1), axis=2)
    expected = gaps.min(axis=1) / (0.5 * np.sort(gaps, axis=1)[:, :50].mean(axis=1))
    np.testing.assert_allclose(extraction_ratios(nearest(made, train, 50)), expected, rtol=1e-5)


def test_an_image_is_authentic_unless_it_is_nearer_than_another_patient_is():
    values = np.array([[0.0, 0], [0.1, 0], [10, 0], [10, 6]], dtype=np.float32)
    train = Points((values,), np.array([0, 0, 1, 2]))  # patient 0's second image is no measure of the first
    made = Points((np.array([[1.0, 0], [10, -7], [10, 2]], dtype=np.float32),), np.full(3, NOBODY))
    assert authentic(nearest(made, train), train).tolist() == [False, True, False]


def test_a_generator_that_draws_one_patient_over_and_over_is_seen():
    train = images(40, 0, np.repeat(np.arange(20), 2))
    collapsed = Points((train.parts[0][np.zeros(30, int)] + 0.01,), np.full(30, NOBODY))
    assert share_of_one_patient(nearest(collapsed, train), train) == 1.0
    assert share_of_one_patient(nearest(images(200, 5), train), train) < 0.5


def test_data_copying_has_the_papers_sign():
    random = np.random.default_rng(0)
    natural = random.normal(1, 0.1, 50)
    (copier, p_copier), (free, _), (far, p_far) = (
        data_copying(distances, natural)
        for distances in (random.normal(0.5, 0.1, 50), random.normal(1, 0.1, 50), random.normal(1.5, 0.1, 50))
    )
    assert copier < -3 and p_copier < 0.001
    assert abs(free) < 3
    assert far > 3 and p_far > 0.999


def test_a_copier_stands_out_beside_the_real_floor_and_a_free_generator_does_not():
    train = images(100, 0, np.repeat(np.arange(50), 2))
    held_out = images(40, 1, np.repeat(np.arange(60, 80), 2))
    copies = Points((train.parts[0][:40] + np.float32(0.01),), held_out.owners)
    found = copying(CopyTest(copies, held_out, train), replicates=50)
    assert (found["extracted"], found["authentic"]) == (1.0, 0.0)
    assert (found["extracted_real"], found["images"], found["real_images"]) == (0.0, 40, 40)
    assert found["authentic_real_ci95"][0] > 0
    assert found["data_copying_z"] < -3
    assert found["distance"] < 0.1 * found["distance_real"]
    free = copying(CopyTest(images(40, 7, held_out.owners), held_out, train), replicates=50)
    assert free["extracted"] == 0 and abs(free["data_copying_z"]) < 3
    assert free["authentic_ci95"][0] <= free["authentic"] <= free["authentic_ci95"][1]
