"""The mask that looks at no image, and what it takes to beat it."""

import numpy as np
import pytest
from toy_stacks import cohort, record

from cmrfed.evaluation.utility.metrics import Outcome, blind_masks, over_blind, stack_scores


def patients(count, first):
    return [record(number, "GE", "NOR", "a") for number in range(first, first + count)]


@pytest.fixture(scope="module")
def sides():
    return cohort(patients(6, 0), 0, size=32), cohort(patients(6, 100), 500, size=32)


def test_it_is_one_mask_for_every_slice_and_no_pixel_of_an_image_changes_it(sides):
    train, held_out = sides
    masks = blind_masks(train, held_out)
    assert masks.shape == held_out.masks.shape
    assert (masks == masks[0]).all()
    train.images[:] = 0
    assert np.array_equal(blind_masks(train, held_out), masks)


def test_of_slices_that_are_all_alike_it_is_their_mask(sides):
    train, held_out = sides
    alike = train.take(np.zeros(5, np.int64))
    assert np.array_equal(blind_masks(alike, held_out)[0], alike.masks[0])


def test_no_other_share_of_slices_gives_a_better_single_mask(sides):
    train, _ = sides
    best = blind_masks(train, train)[0]
    shares = np.stack([(train.masks == label).mean(axis=0) for label in (1, 2, 3)])
    for share in (0.1, 0.3, 0.5, 0.7):
        other = np.where(shares.max(axis=0) >= share, 1 + shares.argmax(axis=0), 0)
        assert dice(best, train.masks) >= dice(other, train.masks) - 1e-9


def dice(mask, masks):
    both = [2 * ((masks == label) & (mask == label)).sum() for label in (1, 2, 3)]
    either = [(masks == label).sum() + len(masks) * (mask == label).sum() for label in (1, 2, 3)]
    return np.mean(np.array(both) / either)


def test_a_perfect_segmenter_beats_it_and_it_does_not_beat_itself(sides):
    train, held_out = sides
    blind = Outcome.of(held_out, (blind_masks(train, held_out),)).scores
    perfect = stack_scores(held_out.masks, held_out)
    gain = over_blind(perfect, blind, 100, 0)
    assert gain["value"] == pytest.approx((perfect.by_patient("dice") - blind.by_patient("dice"))[:, -1].mean())
    assert gain["ci95"][0] > 0
    assert gain["beats_blind"]
    assert over_blind(blind, blind, 100, 0) == {"value": 0, "ci95": [0, 0], "beats_blind": False}
