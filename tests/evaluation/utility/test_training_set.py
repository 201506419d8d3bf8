"""Batches from several parts: each row is its own slice with its own mask."""

import numpy as np
import torch
from toy_stacks import blocks, cohort, record, slices_of

from cmrfed.evaluation.utility.metrics import TrainingSet
from cmrfed.shapes import FIRST_TISSUE
from cmrfed.slices import Slices


def numbered(count, first):
    """Slices whose every pixel holds the slice's number, and whose mask says whether that is even."""
    numbers = np.arange(first, first + count)[:, None, None] * np.ones((1, 16, 16))
    stacks = [(record(first), "ED", (numbers % 2).astype(np.uint8))]
    return slices_of(stacks, images=numbers / 100)


def test_rows_count_through_all_parts_and_keep_image_and_mask_together():
    parts = numbered(3, 0), numbered(4, 3), numbered(2, 7)
    examples = TrainingSet(parts)
    assert len(examples) == 9
    rows = np.array([8, 0, 3, 2, 2, 6])
    images, masks = examples.batch(rows)
    numbers = (100 * images[:, 0, 0, 0]).round().long()
    assert sorted(numbers.tolist()) == sorted(rows.tolist())
    assert torch.equal(masks[:, 0, 0], numbers % 2)


def test_a_part_without_a_row_in_the_batch_is_not_read():
    examples = TrainingSet((numbered(3, 0), numbered(2, 3)))
    images, _ = examples.batch(np.array([4, 4]))
    assert images.unique().tolist() == [np.float32(0.04)]


def test_tissue_around_the_heart_is_background():
    masks = blocks()
    masks[masks == 0] = FIRST_TISSUE + 2
    _, found = TrainingSet((slices_of([(record(), "ED", masks)]),)).batch(np.array([0]))
    assert torch.equal(found[0], torch.from_numpy(blocks()[0]).long())


def test_slices_on_disk_stay_there_until_a_batch_asks_for_them(tmp_path):
    slices = cohort([record(0), record(1)], seed=0)
    slices.save(tmp_path / "slices.safetensors")
    stored = Slices.load(tmp_path / "slices.safetensors")
    images, masks = TrainingSet((stored,)).batch(np.array([5, 1]))
    assert isinstance(stored.images, np.memmap)
    assert torch.equal(images[:, 0], torch.from_numpy(slices.images[[5, 1]]))
    assert torch.equal(masks, torch.from_numpy(slices.masks[[5, 1]]).long())
