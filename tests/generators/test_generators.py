"""Every family keeps the protocol: a loss for each example alone, samples that follow the seed, private readiness."""

import pytest
import torch
from cmrfed.generators.network import UNKNOWN_CONDITION
from torch import nn

from cmrfed.conditions import UNKNOWN, UNLABELLED, VENDORS
from cmrfed.config import GeneratorConfig, UserError, read_stage
from cmrfed.generators import FAMILIES, Draws, build_generator, refuse_batch_statistics
from cmrfed.shapes import FIRST_TISSUE, Label


@pytest.fixture(params=sorted(FAMILIES))
def generator(request, tiny_generator_config):
    built = build_generator(tiny_generator_config.model_copy(update={"family": request.param}), seed=1)
    for weight in built.parameters():  # MONAI starts the last layer at zero, which would hide what comes before it
        nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(3))
    return built


def batch(count=3, size=16):
    random = torch.Generator().manual_seed(2)
    images = torch.rand(count, 1, size, size, generator=random) * 2 - 1
    masks = torch.randint(0, 4, (count, size, size), generator=random)
    return images, masks, torch.tensor([[0, 0], [1, 1], [2, 0]])[:count]


def draws(generator, images, **changes):
    drawn = generator.draw(images, torch.Generator().manual_seed(4))
    return Draws(**{**vars(drawn), **changes})


def test_an_example_alone_has_the_loss_it_has_in_a_batch(generator):
    images, masks, conditions = batch()
    drawn = draws(generator, images)
    together = generator.losses(images, masks, conditions, drawn)
    for i in range(3):
        one = Draws(drawn.times[i : i + 1], drawn.noises[i : i + 1], drawn.kept[i : i + 1])
        alone = generator.losses(images[i : i + 1], masks[i : i + 1], conditions[i : i + 1], one)
        assert alone.item() == pytest.approx(together[i].item(), rel=1e-4)


def test_mask_vendor_and_phase_matter_only_where_they_are_kept(generator):
    images, masks, conditions = batch()
    other_masks, other_conditions = (masks + 1) % 4, (conditions + 1) % 2
    for kept in (True, False):
        drawn = draws(generator, images, kept=torch.full((3,), kept))
        losses = generator.losses(images, masks, conditions, drawn)
        changed_mask = generator.losses(images, other_masks, conditions, drawn)
        changed_condition = generator.losses(images, masks, other_conditions, drawn)
        assert torch.equal(losses, changed_mask) is not kept
        assert torch.equal(losses, changed_condition) is not kept


def test_no_mask_is_not_the_same_as_all_background(generator):
    images, masks, conditions = batch()
    conditions = torch.full_like(conditions, VENDORS.index(UNKNOWN)).clamp(max=2)
    conditions[:, 0] = VENDORS.index(UNKNOWN)
    background = torch.zeros_like(masks)
    kept, dropped = (draws(generator, images, kept=torch.full((3,), value)) for value in (True, False))
    losses = [generator.losses(images, background, conditions, drawn) for drawn in (kept, dropped)]
    assert not torch.equal(*losses)


def test_an_unlabelled_mask_is_the_mask_of_a_row_that_is_not_kept(generator):
    images, masks, conditions = batch()
    unknown = torch.tensor(UNKNOWN_CONDITION).repeat(len(images), 1)
    kept, dropped = (draws(generator, images, kept=torch.full((len(images),), value)) for value in (True, False))
    unlabelled = generator.losses(images, torch.full_like(masks, UNLABELLED), unknown, kept)
    torch.testing.assert_close(unlabelled, generator.losses(images, masks, conditions, dropped))


def test_classes_of_tissue_are_conditions_of_a_generator_that_knows_them(generator):
    images, masks, conditions = batch()
    config = generator.config.model_copy(update={"tissue_classes": 2})
    knowing = build_generator(config, seed=0)
    for weight in knowing.parameters():
        nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(3))
    given = draws(knowing, images, kept=torch.ones(len(images), dtype=torch.bool))
    for first in (0, 1):
        tissue = torch.where(masks == Label.BACKGROUND, FIRST_TISSUE + first, masks)
        other = torch.where(masks == Label.BACKGROUND, FIRST_TISSUE + 1 - first, masks)
        one, two = (knowing.losses(images, found, conditions, given) for found in (tissue, other))
        assert (one != two).all()


def test_samples_follow_the_seed_and_stay_in_range(generator):
    _, masks, conditions = batch()
    first, again, other = (
        generator.sample(masks, conditions, 3, torch.Generator().manual_seed(seed), guidance=2.0) for seed in (5, 5, 6)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (3, 1, 16, 16)
    assert first.abs().max() <= 1


def test_a_perfect_flow_carries_noise_to_the_image_in_any_number_of_steps(tiny_generator_config, monkeypatch):
    flow = build_generator(tiny_generator_config, seed=0)
    images, masks, conditions = batch()
    noises = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(flow, "guided", lambda x_t, t, masks, conditions, guidance: images - noises)
    for steps in (1, 7):
        assert torch.allclose(flow.denoise(noises, masks, conditions, steps, 1.0), images, atol=1e-5)


def test_a_perfect_noise_prediction_carries_ddim_to_the_image(tiny_generator_config, monkeypatch):
    ddpm = build_generator(tiny_generator_config.model_copy(update={"family": "ddpm"}), seed=0)
    images, masks, conditions = batch()

    def oracle(x_t, t, masks, conditions, guidance):
        level = round(float(t[0]) * 999)
        signal = ddpm.alphas[level]
        return (x_t - signal.sqrt() * images) / (1 - signal).sqrt()

    monkeypatch.setattr(ddpm, "guided", oracle)
    noises = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(ddpm.denoise(noises, masks, conditions, 20, 1.0), images, atol=1e-3)


@pytest.mark.parametrize("steps", [3, 10, 50])
def test_ddim_asks_the_network_at_the_noise_level_that_its_step_before_came_to(
    tiny_generator_config, monkeypatch, steps
):
    ddpm = build_generator(tiny_generator_config.model_copy(update={"family": "ddpm"}), seed=0)
    images, masks, conditions = batch()
    asked = []

    def oracle(x_t, t, masks, conditions, guidance):
        signal = ddpm.alphas[round(float(t[0]) * 999)]
        asked.append((x_t - signal.sqrt() * images) / (1 - signal).sqrt())
        return asked[-1]

    monkeypatch.setattr(ddpm, "guided", oracle)
    ddpm.denoise(torch.randn(images.shape, generator=torch.Generator().manual_seed(0)), masks, conditions, steps, 1.0)
    assert len(asked) == steps
    # a step keeps the noise that was predicted, so whoever knows the image must find the same noise at each level
    for noise in asked[1:]:
        assert torch.allclose(noise, asked[0], atol=2e-3)


def test_flow_loss_is_the_papers_equation(tiny_generator_config):
    flow = build_generator(tiny_generator_config, seed=0)
    images, masks, conditions = batch()
    drawn = draws(flow, images, kept=torch.ones(3, dtype=torch.bool))
    t = drawn.times[:, None, None, None]
    velocity = flow.network(t * images + (1 - t) * drawn.noises, drawn.times, masks, conditions, drawn.kept)
    expected = ((velocity - (images - drawn.noises)) ** 2).mean(dim=(1, 2, 3))
    assert torch.allclose(flow.losses(images, masks, conditions, drawn), expected)


def test_a_vendor_never_seen_looks_generic_and_each_learns_its_own_difference(tiny_generator_config):
    embedding = build_generator(tiny_generator_config, seed=0).network.unet.class_embedding
    generic, siemens, philips = torch.tensor([[4, 0]]), torch.tensor([[0, 0]]), torch.tensor([[1, 0]])
    with torch.no_grad():
        embedding.vendor.weight[4] = 1.0
    assert torch.equal(embedding(siemens), embedding(generic))
    with torch.no_grad():
        embedding.vendor.weight[0] = 0.5
    assert not torch.equal(embedding(siemens), embedding(generic))
    assert torch.equal(embedding(philips), embedding(generic))


def test_adaptation_trains_tens_of_thousands_of_weights_at_most():
    generator = build_generator(GeneratorConfig(trainable="adaptation"), seed=0)
    trained = {name: weight.numel() for name, weight in generator.named_parameters() if weight.requires_grad}
    assert 1_000 < sum(trained.values()) < 100_000
    assert any("class_embedding" in name for name in trained)
    assert any("conv_in" in name for name in trained)
    assert any(name.startswith("network.unet.out.2") for name in trained)
    assert not any(".conv1." in name or "time_embed.0" in name for name in trained)


def test_modulation_trains_norms_and_embeddings_and_no_convolution():
    generator = build_generator(GeneratorConfig(trainable="modulation"), seed=0)
    trained = [name for name, weight in generator.named_parameters() if weight.requires_grad]
    assert any("class_embedding" in name for name in trained)
    assert not any("conv" in name for name in trained)


def test_the_seed_decides_the_first_weights_and_nothing_else(tiny_generator_config):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, again = (build_generator(tiny_generator_config, seed=2) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_a_layer_with_batch_statistics_is_refused_affine_or_not():
    for affine in (True, False):
        network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, affine=affine, track_running_stats=False))
        with pytest.raises(UserError, match=r"layer 1 is a BatchNorm2d.*group norm"):
            refuse_batch_statistics(network)
    refuse_batch_statistics(nn.Sequential(nn.InstanceNorm2d(4), nn.GroupNorm(2, 4)))


def test_channels_that_groups_do_not_divide_are_refused_in_one_line():
    with pytest.raises(UserError, match=r"channels: each must be a multiple of norm_groups=8"):
        read_stage(GeneratorConfig, {"channels": [20, 24]})
