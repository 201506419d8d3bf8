"""The gradient attack reads the gradient of each patient's own mean loss, layer by layer, of trained weights alone."""

import numpy as np
import pytest
import torch
from oracles import hearts, join
from torch import nn
from toy_batches import PATHS

from cmrfed.evaluation.leakage.attacks import ATTACKS, Probe
from cmrfed.evaluation.leakage.attacks.gradient import layer_norms
from cmrfed.generators import build_generator


@pytest.fixture(params=PATHS)
def generator(request, tiny_generator_config):
    config = tiny_generator_config.model_copy(update={"family": request.param, "trainable": "adaptation"})
    built = build_generator(config, seed=1)
    for weight in built.parameters():
        nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(3))
    return built


def test_norms_are_those_of_one_backward_pass_over_the_patients_slices(generator):
    slices = join(hearts(2, 3), hearts(1, 11, seed=1))
    shares = (0.25, 0.5, 0.75)
    noises = torch.randn((3, 1, 16, 16), generator=torch.Generator().manual_seed(1))
    weights = [weight for weight in generator.parameters() if weight.requires_grad]
    expected = []
    for patient in slices.patients.unique():
        rows = torch.nonzero(slices.patients == patient)[:, 0].repeat_interleave(3)
        times = torch.tensor([generator.time_at(share) for share in shares]).repeat(len(rows) // 3)
        batch = slices.batch.map(lambda part, rows=rows: part[rows])
        loss = generator.losses_at(batch.images, noises.repeat(len(rows) // 3, 1, 1, 1), times, batch.conditions).mean()
        expected.append([float(one.norm()) for one in torch.autograd.grad(loss, weights)])
    probe = Probe(generator, slices)
    np.testing.assert_allclose(layer_norms(probe), expected, rtol=1e-3, atol=1e-6)
    total = np.sqrt((np.array(expected) ** 2).sum(axis=1))
    np.testing.assert_allclose(ATTACKS["gradient_norm"].scores(probe), -np.log(total), rtol=1e-3)
    np.testing.assert_allclose(ATTACKS["gradient"].scores(probe), np.log(np.array(expected) + 1e-12), rtol=1e-2)


def test_the_generators_own_gradients_are_left_alone(generator):
    ATTACKS["gradient_norm"].scores(Probe(generator, hearts(2)))
    assert all(weight.grad is None for weight in generator.parameters())
