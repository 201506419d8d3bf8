"""Every backbone learns, repeats itself, and gives every training set the same budget."""

import numpy as np
import pytest
import torch
from toy_stacks import cohort, record

from cmrfed.evaluation.utility.metrics import AUGMENTATIONS, BACKBONES, TrainingSet, predict, segmenter, train_segmenter
from cmrfed.shapes import STRUCTURES

# Small networks on two threads wait for each other, six times as long as they compute when the machine is shared.
torch.set_num_threads(1)

TRAINED_ON = TrainingSet((cohort([record(number) for number in range(8)], seed=0, size=32, shrink=0.9),))
TESTED = cohort([record(100 + number) for number in range(3)], seed=50, size=32, shrink=0.9)


def overlap(predicted, reference):
    both = [2 * ((predicted == s) & (reference == s)).sum() for s in STRUCTURES]
    return np.mean(
        [pair / ((predicted == s).sum() + (reference == s).sum()) for pair, s in zip(both, STRUCTURES, strict=True)]
    )


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_learns_a_separable_task(backbone):
    network = train_segmenter(TRAINED_ON, steps=90, seed=0, backbone=backbone)
    assert overlap(predict(network, TESTED), TESTED.masks) > 0.9


@pytest.mark.parametrize("backbone", BACKBONES)
def test_an_images_prediction_does_not_depend_on_its_batch(backbone):
    network = train_segmenter(TRAINED_ON, steps=5, seed=0, backbone=backbone)
    assert np.array_equal(predict(network, TESTED), predict(network, TESTED, batch_size=1))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_same_seed_gives_the_same_network_and_leaves_global_generators_alone(backbone):
    state = torch.get_rng_state()
    networks = [train_segmenter(TRAINED_ON, 2, seed, backbone) for seed in (0, 0, 1)]
    first, again, other = (torch.cat([weight.flatten() for weight in one.parameters()]) for one in networks)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())


def test_the_batch_is_the_same_however_few_slices_there_are(monkeypatch):
    sizes = []

    def record_size(images, masks, generator):
        sizes.append(len(images))
        return images, masks

    monkeypatch.setitem(segmenter.AUGMENTATIONS, "light", record_size)
    part = TRAINED_ON.parts[0]
    for count in (1, 20):
        train_segmenter(TrainingSet((part.take(np.arange(count)),)), steps=2, seed=0)
    assert sizes == [BACKBONES["unet"].batch_size] * 4


def test_a_training_set_is_augmented_as_it_says(monkeypatch):
    seen = []
    for name, augment in list(AUGMENTATIONS.items()):
        monkeypatch.setitem(
            segmenter.AUGMENTATIONS,
            name,
            lambda *args, name=name, augment=augment: (seen.append(name), augment(*args))[1],
        )
    for augmentation in ("strong", "light"):
        train_segmenter(TrainingSet(TRAINED_ON.parts, augmentation), steps=1, seed=0)
    assert seen == ["strong", "light"]


def test_every_depth_of_a_deep_network_is_supervised():
    network = BACKBONES["dynunet"].build().train()
    outputs = network(torch.zeros(2, 1, 32, 32))
    assert outputs.shape == (2, 3, 4, 32, 32), "the finest and two coarser, side by side"
    assert [part.shape for part in segmenter._by_depth(outputs)] == [(2, 4, 32, 32)] * 3
    assert network.eval()(torch.zeros(2, 1, 32, 32)).shape == (2, 4, 32, 32)


def test_the_learning_rate_rises_then_falls_to_nothing_and_never_is_zero_at_the_start():
    factors = [segmenter._learning_rate_factor(step / 100, warm_up=0.1) for step in range(100)]
    peak = int(np.argmax(factors))
    assert factors[0] > 0
    assert 5 <= peak <= 12
    assert np.all(np.diff(factors[:peak]) > 0)
    assert np.all(np.diff(factors[peak:]) < 0)
    assert factors[-1] < 0.001


def test_a_set_without_slices_is_refused():
    with pytest.raises(ValueError, match="at least one labelled slice"):
        train_segmenter(TrainingSet((TRAINED_ON.parts[0].take(np.empty(0, np.int64)),)), steps=1, seed=0)


def test_slices_that_a_network_cannot_halve_are_refused():
    with pytest.raises(ValueError, match="multiples of 16"):
        train_segmenter(TrainingSet((cohort([record()], seed=0, size=24),)), steps=1, seed=0, backbone="dynunet")
