"""Finite scalar quantisation by the paper's equation, and the stage that an autoencoder is trained in."""

import math

import pytest
import torch
from presets import batch_of, tiny_generator, tiny_preset
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from cmrfed.config import UserError
from cmrfed.generators import build_generator
from cmrfed.generators.tokenizer import FSQ, LEVELS, Normalised
from cmrfed.privacy import vmapped_gradients
from cmrfed.training import trained_weights


@pytest.mark.parametrize("levels", LEVELS.values())
def test_every_token_is_a_code_and_every_code_a_token(levels):
    fsq = FSQ(levels)
    assert fsq.size == math.prod(levels)
    tokens = torch.arange(fsq.size)[None]
    codes = fsq.codes(tokens, (1, fsq.size))
    assert codes.shape == (1, len(levels), 1, fsq.size) and codes.abs().max() <= 1
    assert [len(codes[0, channel].unique()) for channel in range(len(levels))] == list(levels)
    assert torch.equal(fsq.tokens(codes), tokens)


@pytest.mark.parametrize("levels", LEVELS.values())
def test_features_take_all_levels_and_no_others(levels):
    fsq = FSQ(levels)
    features = torch.linspace(-9, 9, 2001).expand(1, len(levels), 1, 2001)
    codes = fsq(features)
    for channel, count in enumerate(levels):
        expected = (torch.arange(count) - count // 2) / (count // 2)
        torch.testing.assert_close(codes[0, channel].unique(), expected)
    assert torch.equal(fsq.codes(fsq.tokens(codes), (1, 2001)), codes)


def test_codes_are_the_papers_rounded_tanh_and_its_gradient_goes_straight_through():
    levels = (8, 5)
    fsq, features = FSQ(levels), torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    features.requires_grad_()
    codes = fsq(features)
    codes.sum().backward()
    for channel, count in enumerate(levels):
        half, offset = (count - 1) * 0.999 / 2, 0.0 if count % 2 else 0.5
        moved = features.detach()[:, channel] + math.atanh(offset / half)
        torch.testing.assert_close(codes[:, channel], (half * moved.tanh() - offset).round() / (count // 2))
        torch.testing.assert_close(features.grad[:, channel], half * (1 - moved.tanh() ** 2) / (count // 2))
        zero = fsq(torch.zeros_like(features))[:, channel]
        assert zero.abs().max() == 0, "nothing is the middle level"


def test_latents_of_each_image_have_mean_0_and_variance_1_by_itself():
    features = 3 + 5 * torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    latents = Normalised()(features).flatten(1)
    assert latents.mean(1).abs().max() < 1e-5
    torch.testing.assert_close(latents.var(1, correction=0), torch.ones(2), rtol=1e-4, atol=1e-4)
    alone = Normalised()(features[:1]).flatten(1)
    torch.testing.assert_close(alone[0], latents[0])


@pytest.mark.parametrize("preset", ["maskgit", "masked_ar"])
def test_patients_touch_an_autoencoder_only_where_it_is_private_and_then_in_a_stage_of_its_own(preset):
    public, private = (tiny_generator(preset, autoencoder=whose) for whose in ("public", "private"))
    assert [(one.private, one.stage) for one in public.objectives] == [(False, None), (True, 0)]
    assert [(one.private, one.stage) for one in private.objectives] == [(True, 0), (True, 1)]
    assert public.stages == 1 and private.stages == 2
    own = {id(weight) for weight in private.autoencoder.parameters()}
    assert {id(weight) for weight in private.enter(1, 2).objective.weights()} == own
    assert not own & {id(weight) for weight in private.enter(2, 2).objective.weights()}


@pytest.mark.parametrize("preset", ["maskgit", "masked_ar"])
def test_patients_gradients_of_an_autoencoder_are_the_same_alone_and_together(preset):
    generator = tiny_generator(preset, autoencoder="private").enter(1, 2)
    objective, weights = generator.objective, trained_weights(generator)
    patients = [objective.drawn(batch_of(generator, 2, seed), torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    _, structure = tree_flatten(patients[0])

    def loss(call, *rows):
        return call(tree_unflatten(rows, structure)).mean()

    chunk = tuple(torch.stack(rows) for rows in zip(*map(tree_leaves, patients), strict=True))
    (together,) = vmapped_gradients(generator, loss, [chunk], together=2)
    for number, patient in enumerate(patients):
        alone = torch.autograd.grad(objective.losses(patient).mean(), weights)
        for expected, found in zip(alone, together, strict=True):
            torch.testing.assert_close(found[number], expected, rtol=2e-3, atol=2e-5)


def test_what_cannot_be_tokens_is_refused_with_what_can():
    with pytest.raises(UserError, match=r"latent_channels: tokens are of 2, 3, 4, 5, 6 channels; found 9"):
        build_generator(tiny_preset("maskgit", latent_channels=9), seed=0)
    with pytest.raises(UserError, match=r"preprocessing.size: must be a multiple of 4.*found 18"):
        tiny_generator("maskgit").autoencoder.encode(torch.zeros(1, 1, 18, 18))
