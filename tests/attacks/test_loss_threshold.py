"""The attack finds a planted leak, finds nothing where there is nothing, and treats every patient alike."""

import numpy as np
import pytest
import torch
from torch import nn

from cmrfed.attacks import ATTACKS, PatientSlices, loss_threshold_scores, membership_leakage

# Small networks on two threads wait for each other, six times as long as they compute when the machine is shared.
torch.set_num_threads(1)


def hearts(patients, slices, seed, size=8):
    generator = torch.Generator().manual_seed(seed)
    count = patients * slices
    return PatientSlices(
        images=torch.rand(count, 1, size, size, generator=generator) * 2 - 1,
        masks=torch.zeros(count, size, size, dtype=torch.int64),
        conditions=torch.zeros(count, 2, dtype=torch.int64),
        patients=torch.arange(patients).repeat_interleave(slices),
    )


def join(*parts):
    """Several groups of patients as one, numbered on."""
    numbers = torch.cat([part.patients + 1000 * index for index, part in enumerate(parts)])
    fields = [torch.cat([getattr(part, name) for part in parts]) for name in ("images", "masks", "conditions")]
    return PatientSlices(*fields, numbers)


class TinyFlow(nn.Module):
    """Rectified flow with a dense network: x_t = (1 - t) noise + t x, target x - noise."""

    def __init__(self, size=8, width=256):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(size * size + 1, width), nn.ReLU(), nn.Linear(width, size * size))

    def losses(self, images, masks, conditions, times, noises):
        t = times[:, None, None, None]
        x_t = (1 - t) * noises + t * images
        velocity = self.net(torch.cat([x_t.flatten(1), times[:, None]], dim=1)).view_as(images)
        return (velocity - (images - noises)).square().mean(dim=(1, 2, 3))


def overfit(model, slices, steps=600):
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(steps):
        times = torch.rand(len(slices.images), generator=generator)
        noises = torch.randn(slices.images.shape, generator=generator)
        optimizer.zero_grad()
        model.losses(slices.images, slices.masks, slices.conditions, times, noises).mean().backward()
        optimizer.step()


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TinyFlow()


def test_a_planted_overfit_is_found(model):
    members, others = hearts(8, 2, 0), hearts(30, 2, 1)
    overfit(model, members)
    found = membership_leakage(*(loss_threshold_scores(model.losses, side) for side in (members, others)))
    assert found["auc"] > 0.95
    assert found["auc_ci95"][0] > 0.5
    assert found["tpr_at_1pct_fpr"] > 0.5


def test_an_untrained_model_gives_nothing_away(model):
    found = membership_leakage(
        *(loss_threshold_scores(model.losses, side) for side in (hearts(30, 2, 0), hearts(30, 2, 1)))
    )
    low, high = found["auc_ci95"]
    assert low <= 0.5 <= high


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_patients_score_does_not_depend_on_order_company_or_batch(attack, model):
    members, others = hearts(5, 3, 0), hearts(4, 2, 1)
    alone = np.concatenate([attack(model.losses, members), attack(model.losses, others)])
    together = attack(model.losses, join(members, others), batch_size=4)
    swapped = attack(model.losses, join(others, members), batch_size=3)
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    np.testing.assert_allclose(np.roll(swapped, 5), alone, rtol=1e-5)


def test_every_slice_meets_the_same_times_and_noises():
    met = []

    def losses(images, masks, conditions, times, noises):
        met.append((times.unique().item(), noises))
        return times

    scores = loss_threshold_scores(losses, hearts(3, 2, 0), times=4, draws=2, batch_size=100)
    assert [time for time, _ in met] == [0.125, 0.125, 0.375, 0.375, 0.625, 0.625, 0.875, 0.875]
    assert all(torch.equal(noises, noises[:1].expand_as(noises)) for _, noises in met)
    assert len({noises[0].sum().item() for _, noises in met}) == 8  # each time and draw has its own
    np.testing.assert_allclose(scores, -0.5)


def test_a_score_is_minus_the_mean_loss_of_the_patients_own_slices():
    slices = hearts(3, 4, 0)

    def losses(images, masks, conditions, times, noises):
        return images.mean(dim=(1, 2, 3))

    expected = [-slices.images[slices.patients == patient].mean().item() for patient in range(3)]
    np.testing.assert_allclose(loss_threshold_scores(losses, slices), expected, rtol=1e-5)


def test_the_same_seed_gives_the_same_scores_and_progress_ends_at_the_total(model):
    slices, seen = hearts(3, 2, 0), []
    first = loss_threshold_scores(model.losses, slices, times=2, draws=3, progress=lambda *step: seen.append(step))
    torch.rand(7)
    assert np.array_equal(first, loss_threshold_scores(model.losses, slices, times=2, draws=3))
    assert not np.array_equal(first, loss_threshold_scores(model.losses, slices, times=2, draws=3, seed=1))
    assert seen == [(done, 6) for done in range(1, 7)]


def test_a_loss_that_cannot_be_ranked_is_refused():
    def losses(images, masks, conditions, times, noises):
        return times * float("nan")

    with pytest.raises(ValueError, match="not finite"):
        loss_threshold_scores(losses, hearts(2, 1, 0))
    with pytest.raises(ValueError, match="at least one slice"):
        loss_threshold_scores(losses, hearts(0, 1, 0))
