"""Each attack on a generator is its paper's equation, finds what was learnt by heart, and nothing where nothing was."""

import numpy as np
import pytest
import torch
from oracles import SPREAD, hearts, join, oracle_generator
from test_probe import PROBED
from toy_batches import PATHS

from cmrfed.evaluation.leakage.attacks import ATTACKS, Probe, fitted_scores
from cmrfed.evaluation.leakage.attacks.areas import auc, auc_interval
from cmrfed.evaluation.leakage.attacks.fcre import ring_energy
from cmrfed.evaluation.leakage.attacks.mid_path import complexity
from cmrfed.evaluation.leakage.attacks.pfami import CROPS, cropped_pair
from cmrfed.evaluation.leakage.attacks.pia import PROXIMAL_SHARE
from cmrfed.evaluation.leakage.attacks.probe import CLEAN_SHARE, SECRET_SHARE
from cmrfed.generators import Parts


def told_apart(name, generator, members, others):
    """(members', others') scores, of half of each where the attack is calibrated."""
    probe = Probe(generator, join(members, others), inversion_steps=2)
    found = ATTACKS[name].scores(probe)
    member = np.arange(len(found)) < members.patients.unique().numel()
    if found.ndim == 1:
        return found[member], found[~member]
    calibration = np.arange(len(found)) % 2 == 0
    scores = fitted_scores(found, member, calibration)
    return scores[member & ~calibration], scores[~member & ~calibration]


@pytest.mark.parametrize("family", PATHS)
@pytest.mark.parametrize("name", PROBED)
def test_a_generator_that_knows_its_members_by_heart_is_found_out(name, family):
    members, others = hearts(12, 2, 0), hearts(24, 2, 1)
    # nobody remembers to the last bit: what were left of the noise would be rounding, which PIAN scales up to unit size
    blurred = members.images + 1e-4 * torch.randn(members.images.shape, generator=torch.Generator().manual_seed(5))
    generator = oracle_generator(family, memory=blurred)
    assert auc(*told_apart(name, generator, members, others)) > 0.95


@pytest.mark.parametrize("family", PATHS)
@pytest.mark.parametrize("name", PROBED)
def test_a_generator_that_knows_nobody_gives_nobody_away(name, family):
    members, others = told_apart(name, oracle_generator(family), hearts(40, 1, 0), hearts(40, 1, 3))
    low, high = auc_interval(auc(members, others), len(members), len(others))
    assert low <= 0.5 <= high


def scales(generator, share):
    return (float(scale) for scale in generator.alpha_sigma(torch.tensor([generator.time_at(share)])))


def best_noise(x_t, signal, noise):
    """What the oracle sees in x_t."""
    return noise * x_t / (signal**2 * SPREAD**2 + noise**2)


def by_patient(values, slices=2):
    return values.reshape(-1, slices).mean(dim=1).numpy()


@pytest.mark.parametrize("family", PATHS)
def test_the_loss_is_the_mean_squared_error_of_the_familys_own_target(family):
    probe = Probe(oracle_generator(family), hearts(3), times=1)
    at_half = probe.generator.time_at(0.5)
    signal, noise = scales(probe.generator, 0.5)
    images, noises = probe.slices.images, probe.noises[0, 0].expand_as(probe.slices.images)
    x_t = signal * images + noise * noises
    said = best_noise(x_t, signal, noise)
    found, true, t = Parts((x_t - noise * said) / signal, said), Parts(images, noises), torch.full((6,), at_half)
    error = probe.generator.path.target(found, t) - probe.generator.path.target(true, t)
    expected = -by_patient(error.square().flatten(1).mean(1))
    np.testing.assert_allclose(ATTACKS["loss"].scores(probe), expected, rtol=1e-4)
    np.testing.assert_allclose(ATTACKS["loss_curve"].scores(probe), -expected[:, None], rtol=1e-4)


@pytest.mark.parametrize("family", PATHS)
def test_sima_pia_and_pian_are_their_equations(family):
    probe = Probe(oracle_generator(family), hearts(3))
    images = probe.slices.images
    signal, noise = scales(probe.generator, CLEAN_SHARE)
    e0 = best_noise(signal * images, signal, noise)
    np.testing.assert_allclose(ATTACKS["sima"].scores(probe), -by_patient((e0**4).flatten(1).mean(1)), rtol=1e-3)
    signal, noise = scales(probe.generator, PROXIMAL_SHARE)
    normal = e0 / e0.abs().mean(dim=(1, 2, 3), keepdim=True) * (2 / np.pi) ** 0.5
    for name, start in (("pia", e0), ("pian", normal)):
        again = best_noise(signal * images + noise * start, signal, noise)
        expected = -by_patient(((again - start) ** 4).flatten(1).mean(1))
        np.testing.assert_allclose(ATTACKS[name].scores(probe), expected, rtol=1e-3)


@pytest.mark.parametrize("family", PATHS)
def test_secmi_is_the_error_of_a_step_on_and_back(family):
    """Of Gaussian data each step multiplies by a number."""
    probe = Probe(oracle_generator(family), hearts(3), inversion_steps=3)
    path = [CLEAN_SHARE + step * (SECRET_SHARE - CLEAN_SHARE) / 3 for step in range(5)]

    def factor(share, to):
        signal, noise = scales(probe.generator, share)
        next_signal, next_noise = scales(probe.generator, to)
        e = best_noise(1.0, signal, noise)
        return next_signal * (1 - noise * e) / signal + next_noise * e

    start, _ = scales(probe.generator, CLEAN_SHARE)
    inverted = start * probe.slices.images * np.prod([factor(path[k], path[k + 1]) for k in range(3)])
    missed = inverted * (factor(path[3], path[4]) * factor(path[4], path[3]) - 1)
    expected = -by_patient(missed.square().flatten(1).mean(1))
    np.testing.assert_allclose(ATTACKS["secmi"].scores(probe), expected, rtol=1e-3)


def test_the_loss_half_way_is_judged_by_how_intricate_an_image_is():
    members = hearts(6)
    probe = Probe(oracle_generator(memory=members.images + 0.1), members, times=8)
    pixels = members.images[:, 0]
    rows, columns = pixels[:, 1:] - pixels[:, :-1], pixels[..., 1:] - pixels[..., :-1]
    detail = rows.square().mean((1, 2)) + columns.square().mean((1, 2))
    expected = by_patient(detail.log() - probe.loss_curve[:, 2:6].mean(1).log())
    np.testing.assert_allclose(ATTACKS["mid_path"].scores(probe), expected, rtol=1e-4)
    stripes = torch.tensor([-1.0, 1.0]).repeat(8).expand(1, 1, 16, 16)
    np.testing.assert_allclose(complexity(torch.cat([stripes, stripes / 2, torch.ones(1, 1, 16, 16)])), [4.0, 1.0, 0.0])


def test_clid_is_what_the_condition_takes_off_the_loss():
    members = hearts(3)
    knowing, blind = oracle_generator(memory=members.images), oracle_generator()
    difference = [ATTACKS["loss"].scores(Probe(one, members)) for one in (knowing, blind)]
    np.testing.assert_allclose(
        ATTACKS["clid"].scores(Probe(knowing, members)), difference[0] - difference[1], rtol=1e-4
    )
    np.testing.assert_allclose(ATTACKS["clid"].scores(Probe(blind, members)), 0, atol=1e-9)


def test_pfami_is_the_mean_rise_of_the_loss_over_crops():
    members = hearts(3)
    probe = Probe(oracle_generator(memory=members.images), members, times=3)
    losses = [probe.losses(0.5, probe.noises[1, 0], altered=lambda i, m, s=s: cropped_pair(i, m, s)) for s in CROPS]
    expected = by_patient(torch.stack(losses).mean(0) - probe.losses(0.5, probe.noises[1, 0]))
    np.testing.assert_allclose(ATTACKS["pfami"].scores(probe), expected, rtol=1e-4)


def test_a_crop_keeps_the_middle_and_the_masks_labels():
    images = torch.arange(100.0).reshape(1, 1, 10, 10)
    masks = torch.full((1, 10, 10), 3)
    masks[0, 4:6, 4:6] = 1
    image, mask = cropped_pair(images, masks, side=0.4)
    assert image.shape == images.shape and mask.shape == masks.shape
    assert set(mask.unique().tolist()) == {1, 3}
    assert (mask == 1).float().mean() == pytest.approx(0.25)
    assert image.mean() == pytest.approx(images[..., 3:7, 3:7].mean().item())
    torch.testing.assert_close(cropped_pair(images, masks, side=1.0)[0], images)


def test_the_ring_keeps_middle_frequencies_and_their_energy():
    place = torch.arange(64.0)
    for cycles, kept in ((1, 0.0), (4, 0.0), (8, 1.0), (16, 1.0), (27, 1.0), (30, 0.0)):
        wave = torch.cos(2 * torch.pi * cycles * place / 64).expand(64, 64)[None, None]
        assert ring_energy(wave).item() == pytest.approx(kept * wave.square().mean().item(), abs=1e-6)


def test_fcre_scores_are_what_a_perfect_reconstruction_would_maximise():
    members = hearts(6)
    knowing, blind = oracle_generator(memory=members.images), oracle_generator()
    for name in ("fcre", "fcre_ssim"):
        assert (ATTACKS[name].scores(Probe(knowing, members)) > ATTACKS[name].scores(Probe(blind, members))).all()
