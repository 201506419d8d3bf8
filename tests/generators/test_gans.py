"""What holds of every GAN: the losses of its game and its penalty, and that no patient's image moves a painter."""

import pytest
import torch
import torch.nn.functional as F
from presets import batch_of, hearts_of, tiny_generator, tiny_preset

from cmrfed.conditions import UNKNOWN, VENDORS
from cmrfed.config import PretrainingConfig, TrainingConfig
from cmrfed.generators.gans.adversarial import HINGE, NON_SATURATING, WASSERSTEIN, gradient_penalty, mean_of, r1
from cmrfed.site.compute import needs
from cmrfed.training import pretrain

GANS = ("dcgan", "progressive_gan", "spade_gan", "volume_gan", "wgan_covariates")
"""Those whose critic alone meets patients."""


@pytest.fixture(scope="module", params=GANS)
def gan(request):
    return tiny_generator(request.param)


def sides(gan, stage=0):
    """(criticising, painting)"""
    return [one for one in gan.objectives if one.stage == stage]


def drawn(objective, batch):
    return objective.told(objective.drawn(batch, torch.Generator().manual_seed(3)))


def played(gan, batch):
    """An image of each row, acquired and painted, their mean scores, and the critic as a function of images."""
    objective = sides(gan)[0]
    painted = gan.painted(batch.draws["noise"], batch.conditions, objective.stage).detach()
    acquired = gan.seen(batch.images, objective.stage)
    return acquired, painted, lambda images: gan.judged(images, batch.conditions, objective.stage)


def scores(judge, images):
    return torch.stack([one.mean(1) for one in judge(images)]).mean(0)


def squared_slopes(judge, images):
    """By plain autograd."""
    images = images.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(scores(judge, images).sum(), images)
    return slopes.flatten(1).square().sum(1)


def test_a_critics_loss_is_that_of_its_game_and_its_penalty(gan):
    criticising, _ = sides(gan)
    batch = drawn(criticising, batch_of(gan))
    acquired, painted, judge = played(gan, batch)
    expected = []
    for real, made in zip(judge(acquired), judge(painted), strict=True):
        if gan.game is WASSERSTEIN:
            expected.append((made.mean(1) - real.mean(1)) + 1e-3 * (real**2).mean(1))
        elif gan.game is HINGE:
            expected.append(F.relu(1 - real).mean(1) + F.relu(1 + made).mean(1))
        else:
            truth = torch.cat([torch.ones_like(real), torch.zeros_like(made)], dim=1)
            logits = torch.cat([real, made], dim=1)
            expected.append(2 * F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(1))
    if gan.game is WASSERSTEIN:
        share = batch.draws["between"].reshape(-1, *[1] * (acquired.ndim - 1))
        slopes = squared_slopes(judge, share * acquired + (1 - share) * painted).sqrt()
        penalty = 10 * (slopes - 1) ** 2
    else:
        penalty = 0.1 * squared_slopes(judge, acquired) / 2
    torch.testing.assert_close(criticising.losses(batch), sum(expected) / len(expected) + penalty)


def test_a_painter_wants_high_scores(gan):
    _, painting = sides(gan)
    batch = drawn(painting, batch_of(gan))
    _, painted, judge = played(gan, batch)
    own = (lambda score: -F.logsigmoid(score)) if gan.game is NON_SATURATING else (lambda score: -score)
    torch.testing.assert_close(painting.losses(batch), mean_of(own, judge(painted)))


@pytest.mark.parametrize("penalty", ["r1", "gradient_penalty"])
def test_a_critics_weights_feel_its_penalty_as_plain_autograd_has_it(gan, penalty):
    """By the second derivative, which is where transforms and autograd might part."""
    acquired, _, judge = played(gan, drawn(sides(gan)[0], batch_of(gan)))
    gan.requires_grad_(True)
    weights, images = list(gan.critic.parameters()), acquired.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(scores(judge, images).sum(), images, create_graph=True)
    squared = slopes.flatten(1).square().sum(1)
    if penalty == "r1":
        found, expected = r1(judge, acquired), squared / 2
    else:
        found = gradient_penalty(judge, acquired, acquired, torch.zeros(len(acquired)))
        expected = (squared.sqrt() - 1).square()
    torch.testing.assert_close(found, expected)
    for felt, known in zip(moved(found, weights), moved(expected, weights), strict=True):
        torch.testing.assert_close(felt, known)


def moved(loss, weights):
    return torch.autograd.grad(loss.sum(), weights, allow_unused=True, materialize_grads=True)


def test_no_patients_image_moves_a_painter(gan):
    """The private objective has none of its weights and no gradient to them; the other does not look at images."""
    for stage in range(gan.stages):
        criticising, painting = sides(gan, stage)
        of_painter = {id(weight) for weight in gan.painter.parameters()}
        assert not of_painter & {id(weight) for weight in criticising.weights()}
        assert {id(weight) for weight in painting.weights()} <= of_painter
        batch = drawn(criticising, batch_of(gan))
        gan.requires_grad_(True)
        painters = list(gan.painter.parameters())
        assert not any(one.any() for one in moved(criticising.losses(batch), painters))
        batch = drawn(painting, batch_of(gan))
        unseen = batch._replace(images=torch.full_like(batch.images, torch.nan))
        assert torch.equal(painting.losses(batch), painting.losses(unseen))


def test_what_is_hidden_in_a_row_is_hidden_from_painter_and_critic(gan):
    criticising, painting = sides(gan)
    for objective in (criticising, painting):
        batch = drawn(objective, batch_of(gan))
        nobody = {"hidden ": torch.ones(batch.size, dtype=torch.bool)}
        batch = batch._replace(draws=batch.draws | nobody)
        other = batch._replace(conditions=batch_of(gan, seed=8).conditions)
        assert torch.equal(objective.losses(batch), objective.losses(other))


def test_a_painter_learns_of_vendors_though_phantoms_have_none(gan):
    criticising, painting = sides(gan)
    batch = batch_of(gan, 200, vendor=VENDORS.index(UNKNOWN))
    vendors = drawn(painting, batch).conditions["vendor"]
    assert set(vendors.tolist()) == set(range(len(VENDORS)))
    assert torch.equal(drawn(criticising, batch).conditions["vendor"], batch.conditions["vendor"])


@pytest.mark.parametrize("size", [16, 32, 24])
@pytest.mark.parametrize("preset", GANS)
def test_a_painter_paints_on_any_grid(preset, size):
    gan = tiny_generator(preset)
    grid = (size, size) if gan.config.levels == 1 else (gan.config.levels, size, size)
    noise = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    conditions = {name: one[:2] for name, one in batch_of(gan).conditions.items()} | {
        "mask": torch.zeros(2, *grid, dtype=torch.int64)
    }
    assert gan.painted(noise, conditions, gan.stages - 1).shape == (2, 1, *grid)


@pytest.mark.parametrize("preset", (*GANS, "reconstruction_gan"))
def test_pretraining_trains_painter_and_critic_each_at_its_pace(preset):
    gan = tiny_generator(preset)
    before = {name: weight.detach().clone() for name, weight in gan.named_parameters()}
    hearts = hearts_of(gan)

    def patients(first):
        yield from (hearts.subset([name]) for name in 20 * hearts.patient_names)

    config = PretrainingConfig(steps=2 * gan.stages, batch_size=2, mixed_slices=2)
    pretrain(gan, patients, config, TrainingConfig(device="cpu", precision="fp32"), seed=0)
    for side in ("painter", "critic"):
        moved = [name for name, one in gan.named_parameters() if not torch.equal(one, before[name])]
        assert any(name.startswith(side) for name in moved)


@pytest.mark.parametrize("preset", (*GANS, "reconstruction_gan"))
def test_a_site_can_say_beforehand_what_a_gan_takes(preset):
    """On paper, though there is a gradient in its loss, and with no condition that it is told of."""
    small, large = (needs(tiny_preset(preset), rows, size=16).memory_bytes for rows in (1, 3))
    assert 0 < small < large
