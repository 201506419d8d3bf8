"""Members and strangers meet the same noises, and nobody's score depends on who else is scored."""

import numpy as np
import pytest
import torch
from oracles import hearts, join, oracle_generator
from toy_batches import PATHS

from cmrfed.evaluation.leakage.attacks import ATTACKS, Probe

PROBED = [name for name, attack in ATTACKS.items() if attack.needs == "probe" and attack.access != "gradients"]


@pytest.mark.parametrize("name", PROBED)
def test_a_patients_score_does_not_depend_on_order_company_or_batch(name):
    members, others = hearts(5, 3, 0), hearts(4, 2, 1)
    generator, attack = oracle_generator(memory=members.images), ATTACKS[name].scores
    alone = np.concatenate([attack(Probe(generator, members)), attack(Probe(generator, others))])
    together = attack(Probe(generator, join(members, others), batch_size=4))
    swapped = attack(Probe(generator, join(others, members), batch_size=3))
    np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-12)
    np.testing.assert_allclose(np.roll(swapped, 5, axis=0), alone, rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize("family", PATHS)
def test_every_slice_meets_the_same_noise_shares_and_noises(family):
    generator = oracle_generator(family)
    probe = Probe(generator, hearts(3, 2), times=4, draws=2)
    curve = probe.loss_curve
    asked = [(x_t, t.unique()) for x_t, t, _ in generator.network.asked]
    assert curve.shape == (6, 4) and len(asked) == 8
    shares = [float(noise / (signal + noise)) for signal, noise in (generator.alpha_sigma(t) for _, t in asked)]
    assert shares == pytest.approx(np.repeat([0.125, 0.375, 0.625, 0.875], 2), abs=0.01)
    for (x_t, t), noise in zip(asked, probe.noises.flatten(0, 1), strict=True):
        signal, scale = generator.alpha_sigma(t)
        torch.testing.assert_close(x_t, signal * probe.slices.images + scale * noise)
    assert len({float(noise.sum()) for noise in probe.noises.flatten(0, 1)}) == 8


def test_the_seed_decides_the_noises_and_the_callers_randomness_does_not():
    slices, generator = hearts(3), oracle_generator()
    first = Probe(generator, slices).loss_curve
    torch.rand(7)
    assert torch.equal(first, Probe(generator, slices).loss_curve)
    assert not torch.equal(first, Probe(generator, slices, seed=1).loss_curve)


def test_a_patients_number_is_the_mean_over_its_own_slices():
    slices = join(hearts(2, 3), hearts(1, 2))
    values = torch.arange(8.0)
    np.testing.assert_allclose(Probe(oracle_generator(), slices).patient_means(values), [1, 4, 6.5])
    both = Probe(oracle_generator(), slices).patient_means(torch.stack([values, -values], dim=1))
    np.testing.assert_allclose(both, [[1, -1], [4, -4], [6.5, -6.5]])


def test_what_several_attacks_need_is_computed_once():
    generator = oracle_generator()
    probe = Probe(generator, hearts(2))
    for name in ("sima", "pia", "pian"):
        ATTACKS[name].scores(probe)
    assert len(generator.network.asked) == 3  # the clean noise, and each of PIA and PIAN once more


def test_an_answer_that_cannot_be_ranked_is_refused():
    probe = Probe(oracle_generator(), hearts(2, 1))
    with pytest.raises(ValueError, match="not finite"):
        probe.patient_means(torch.tensor([0.0, torch.nan]))
    with pytest.raises(ValueError, match="at least one slice"):
        Probe(oracle_generator(), hearts(0))
