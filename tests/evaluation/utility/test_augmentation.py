"""Both augmentations move images and masks together, stay in range and repeat with the seed."""

import numpy as np
import pytest
import torch
from toy_stacks import discs, imaged

from cmrfed.evaluation.utility.metrics import AUGMENTATIONS
from cmrfed.evaluation.utility.metrics import strong_augmentation as strong


def hearts(count=64):
    masks = discs(count, seed=0, size=32)
    images = torch.from_numpy(imaged(masks, seed=0).astype(np.float32))[:, None]
    return images, torch.from_numpy(masks).long()


def random(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_images_and_masks_move_together_and_stay_in_range(name):
    images, masks = hearts()
    moved, labels = AUGMENTATIONS[name](images, masks, random())
    assert moved.shape == images.shape
    assert moved.abs().max() <= 1
    assert set(labels.unique().tolist()) == {0, 1, 2, 3}
    assert not torch.equal(labels, masks)
    bright, dark = moved[:, 0][labels == 1].mean(), moved[:, 0][labels == 0].mean()
    assert bright > 0.4 > -0.5 > dark, "the cavity is still the brightest thing, where its moved mask says"


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_is_decided_by_its_generator(name):
    first, again, other = (AUGMENTATIONS[name](*hearts(), random(seed)) for seed in (0, 0, 1))
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_strong_augmentation_bends_what_light_only_turns_shifts_and_scales():
    """A straight edge stays straight under an affine map; its largest deviation from its own line tells a bend."""
    rows = torch.arange(64)
    masks = (rows < 32).long()[None, None, :].expand(40, 64, 64).contiguous()
    images = masks[:, None].float()

    def bend(name):
        edges = AUGMENTATIONS[name](images, masks, random())[1].sum(dim=2).float()[:, 16:48]
        down = torch.arange(16.0, 48.0)
        design = torch.stack([torch.ones_like(down), down], dim=1)
        fit = design @ torch.linalg.lstsq(design, edges.T).solution
        return (edges.T - fit).abs().amax(dim=0).quantile(0.9)

    assert bend("light") < 1.0
    assert bend("strong") > 1.5 * bend("light")


def test_resolution_is_lost_in_k_space_while_the_mean_is_kept(monkeypatch):
    monkeypatch.setattr(strong, "PROBABILITY", 1.0)
    images = torch.rand(16, 1, 32, 32, generator=random())
    lowered = strong.lower_resolution(images, random(1))
    before, after = torch.fft.fft2(images).abs(), torch.fft.fft2(lowered).abs()
    assert torch.allclose(lowered.mean(dim=(2, 3)), images.mean(dim=(2, 3)), atol=1e-5)
    assert (after <= before + 1e-3).all(), "nothing is added"
    assert after[:, 0, 16, 16].max() < 1e-3, "the corner of k-space is gone"
    neighbours = after[:, 0, 1, 0] / before[:, 0, 1, 0]
    assert neighbours.min() > 0.8, "the middle stays"


def test_a_probability_of_zero_leaves_images_as_sharp_as_they_are(monkeypatch):
    monkeypatch.setattr(strong, "PROBABILITY", 0.0)
    images = torch.rand(4, 1, 16, 16, generator=random())
    assert torch.equal(strong.lower_resolution(images, random(1)), images)
