"""The segmenter learns, repeats itself, and gives every arm the same budget."""

import pytest
import torch

from cmrfed.utility import (
    RECIPE,
    TestStacks,
    TrainingSlices,
    arms,
    compare_training_sets,
    predict,
    segmenter,
    train_segmenter,
)
from cmrfed.utility.augmentation import augment

# Small networks on two threads wait for each other, six times as long as they compute when the machine is shared.
torch.set_num_threads(1)


def discs(count, seed, size=24):
    """A bright disc (LV) in a grey ring (MYO) beside a mid-grey block (RV) on black: separable by eye."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    centre = size * (0.4 + 0.2 * torch.rand(2, count, 1, 1, generator=generator))
    radius = ((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2).sqrt()
    masks = torch.zeros(count, size, size, dtype=torch.int64)
    masks[(columns < centre[1] - 6) & (abs(rows - centre[0]) < 4)] = 3
    masks[radius < 6] = 2
    masks[radius < 4] = 1
    levels = torch.tensor([-1.0, 1.0, -0.4, 0.4])
    noise = 0.05 * torch.randn(masks.shape, generator=generator)
    return (levels[masks] + noise).clamp(-1, 1)[:, None], masks


def stacks(count, seed):
    images, masks = discs(count, seed)
    numbers = torch.arange(count)
    return TestStacks(images, masks, numbers, numbers, ["GE"] * count, torch.ones(count, 3))


@pytest.fixture(scope="module")
def learnt():
    sets = {"real": TrainingSlices(*discs(40, 0)), "synthetic": TrainingSlices(*discs(40, 1))}
    return compare_training_sets(sets, stacks(12, 2), steps=40, replicates=100)


def test_every_set_learns_a_separable_task(learnt):
    assert list(learnt) == ["real", "synthetic"]
    assert all(scores["dice"]["mean"] > 0.9 for scores in learnt.values())


def test_every_set_has_the_same_steps_batches_and_starts(monkeypatch):
    seen, progress = [], []

    def train(images, masks, steps, seed, device, report):
        seen.append((len(images), steps, seed))
        report(steps, steps)
        return torch.nn.Identity()

    monkeypatch.setattr(arms, "train_segmenter", train)
    monkeypatch.setattr(arms, "predict", lambda network, images: images[:, 0].long())
    sets = {str(count): TrainingSlices(*discs(count, 0)) for count in (5, 7, 12)}
    compare_training_sets(sets, stacks(2, 2), 10, seeds=2, seed=4, progress=lambda *step: progress.append(step))
    assert seen == [(count, 10, seed) for count in (5, 7, 12) for seed in (4, 5)]
    assert progress == [(10 * done, 60) for done in range(1, 7)]


def test_seeds_are_averaged_within_a_patient_before_patients_are(monkeypatch):
    """One seed perfect and one blank: every patient's Dice is one half, so the interval over patients has no width."""
    test = stacks(4, 0)
    answers = iter([test.masks, torch.zeros_like(test.masks)])
    monkeypatch.setattr(arms, "train_segmenter", lambda *_: torch.nn.Identity())
    monkeypatch.setattr(arms, "predict", lambda *_: next(answers))
    slices = TrainingSlices(*discs(2, 0))
    found = compare_training_sets({"real": slices}, test, steps=1, seeds=2, replicates=100)["real"]
    assert found["dice"]["mean"] == pytest.approx(0.5)
    assert found["dice_ci95"]["lv"] == pytest.approx([0.5, 0.5])
    assert found["patients"] == 4


def test_the_batch_is_the_same_however_few_slices_there_are(monkeypatch):
    sizes = []

    def record(images, masks, generator):
        sizes.append(len(images))
        return augment(images, masks, generator)

    monkeypatch.setattr(segmenter, "augment", record)
    for count in (1, 50):
        train_segmenter(*discs(count, 0), steps=2, seed=0)
    assert sizes == [RECIPE.batch_size] * 4


def test_the_same_seed_gives_the_same_network_and_leaves_global_generators_alone():
    state = torch.get_rng_state()
    images, masks = discs(8, 0)
    first, second, other = (train_segmenter(images, masks, steps=3, seed=seed)(images) for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())


def test_an_images_prediction_does_not_depend_on_its_batch():
    images, masks = discs(6, 0)
    network = train_segmenter(images, masks, steps=10, seed=0)
    assert torch.equal(predict(network, images), torch.cat([predict(network, images[i : i + 1]) for i in range(6)]))


def test_augmentation_moves_images_and_masks_together_and_stays_in_range():
    images, masks = discs(64, 0)
    moved, labels = augment(images, masks, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    assert moved.abs().max() <= 1
    assert set(labels.unique().tolist()) == {0, 1, 2, 3}
    assert not torch.equal(labels, masks)
    # The disc is still the brightest thing, where its moved mask says.
    assert (moved[:, 0][labels == 1]).mean() > 0.6
    assert (moved[:, 0][labels == 0]).mean() < -0.6


def test_slices_without_masks_are_refused():
    images, masks = discs(3, 0)
    with pytest.raises(ValueError, match="as many masks as images"):
        train_segmenter(images[:0], masks[:0], steps=1, seed=0)
