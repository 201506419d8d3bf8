"""Slices of one heart begin from noise that has much in common, and each alone is drawn as before."""

import pytest
import torch
from presets import PRESETS, batch_of, tiny_generator

from cmrfed.config import SamplingConfig
from cmrfed.generators import Denoiser
from cmrfed.generators.denoiser import SharedNoise
from cmrfed.generators.sourced import SOURCE


@pytest.mark.parametrize("share", [0.0, 0.3, 0.75, 1.0])
def test_each_noise_stays_a_unit_gaussian_and_pairs_have_as_much_in_common_as_is_said(share):
    random = torch.Generator().manual_seed(0)
    pairs = torch.stack(
        [SharedNoise(seed, share).within(torch.randn(2, 1, 8, 8, generator=random)) for seed in range(400)]
    )
    first, second = pairs[:, 0].flatten(), pairs[:, 1].flatten()
    assert first.mean().item() == pytest.approx(0, abs=0.02) and first.std().item() == pytest.approx(1, abs=0.02)
    assert torch.corrcoef(torch.stack([first, second]))[0, 1].item() == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("preset", PRESETS)
def test_slices_of_one_heart_are_more_alike_than_others_and_nothing_is_kept_for_the_next(preset):
    generator = tiny_generator(preset)
    if not isinstance(generator, Denoiser):
        pytest.skip("begins from no noise of an image's size")
    conditions = batch_of(generator, count=6).conditions
    conditions.pop(SOURCE, None)  # another image to begin from
    same = {name: one[:1].expand(len(one), *one.shape[1:]) for name, one in conditions.items()}

    def spread():
        images = generator.sample(same, SamplingConfig(steps=2), torch.Generator().manual_seed(5))
        return images.std(dim=0).mean().item()

    alone = spread()
    with generator.sharing(SharedNoise(seed=9, share=0.95)):
        assert spread() < 0.6 * alone
    assert spread() == alone
