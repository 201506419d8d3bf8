"""The same seeds give the same figures from version to version: losses, clipped and noised sums, samples, updates.

Written down before generators were parted into path, network and conditions; to what single precision leaves of them.
"""

import numpy as np
import pytest
import torch
from conftest import toy_plan, toy_slices
from toy_batches import without_zeros

from cmrfed.config import GeneratorConfig, SamplingConfig, TrainingConfig
from cmrfed.generators import build_generator
from cmrfed.privacy import SeededRandom
from cmrfed.sampling import synthesise
from cmrfed.training import (
    LocalTask,
    noised_sum,
    patient_batch,
    single_pixel_losses,
    train,
    validation_losses,
)
from cmrfed.training.private import clipped_sum

CPU = torch.device("cpu")
CONDITIONS = ("mask", "vendor", "phase")
SLICES = toy_slices([3, 2, 4, 1])
TRAINING = TrainingConfig(
    local_steps=2,
    optimizer="sgd",
    learning_rate=0.05,
    slices_per_patient=2,
    noise_multiplicity=1,
    precision="fp32",
    patient_gradients="loop",
    schedule="constant",
)
FIGURES = {
    "flow": {
        "validation": [1.3951762914657593, 1.427105188369751],
        "single pixel": [1.2090370655059814, 1.0488184690475464],
        "clipped": [-0.03290646619544396, 0.38659107166069, 0.0012325462201258634, 9.028552151896296e-06],
        "noised": [-40077, 1739, -1326, -938, 474],
        "sample": [14.784871763898991, 1336.3351596222633, -0.955577552318573, -0.727068305015564],
        "update": [0.11928602984698955, 6.091598237817188],
    },
    "ddpm": {
        "validation": [1.0295934677124023, 1.045953631401062],
        "single pixel": [0.002902797656133771, 0.10566817969083786],
        "clipped": [0.7628463174846448, 0.4182266256890107, -0.002770949629216935, -0.0009048627954069525],
        "noised": [-39035, 1732, -1326, -935, 468],
        "sample": [-8.824870875105262, 2016.4059558259016, -0.7108489274978638, -0.9999989867210388],
        "update": [0.12014138455560897, 6.092185575369934],
    },
}


def figures_of(family):
    config = GeneratorConfig(
        family=family,
        conditions=CONDITIONS,
        channels=(8, 8),
        norm_groups=4,
        condition_dropout=0.2,
        trainable="all",
        residual_blocks=1,
    )
    generator = without_zeros(build_generator(config, seed=0))
    task = LocalTask(training=TRAINING, plan=toy_plan(seed=5), round=1, rounds=4)
    batches = (patient_batch(generator.objective, SLICES, p, TRAINING, SeededRandom(1, p), CPU) for p in range(4))
    total = clipped_sum(generator, batches, TRAINING, task.clipping, CPU)
    noised = noised_sum(generator, SLICES, TRAINING, task.plan, task.clipping, SeededRandom(2), CPU)
    sampling = SamplingConfig(steps=5, guidance=2.0, batch_size=4)
    images = np.asarray(synthesise(generator, SLICES, sampling, 9, "cpu", "fp32").images, np.float64)
    found = {
        "validation": list(validation_losses(generator, SLICES, TRAINING, 7).values()),
        "single pixel": list(single_pixel_losses(generator, SLICES, TRAINING, 7).values()),
        "clipped": [float(total.sum()), float(total.norm()), *map(float, total[:2])],
        "noised": [int(noised.sum()), *map(int, noised[:4])],
        "sample": [images.sum(), (images**2).sum(), *images[0, 0, :2]],
    }
    update = np.concatenate([array.ravel() for array in train(generator, SLICES, task).update.values()])
    return found | {"update": [update.sum(dtype=float), np.square(update, dtype=float).sum()]}


@pytest.mark.parametrize("family", sorted(FIGURES))
def test_the_same_seeds_give_the_figures_that_they_always_gave(family):
    found = figures_of(family)
    for name, expected in FIGURES[family].items():
        tolerance = {"abs": 3, "rel": 1e-3} if name == "noised" else {"abs": 2e-3, "rel": 1e-3}
        assert found[name] == pytest.approx(expected, **tolerance), name


def test_the_same_seed_gives_the_first_weights_that_it_always_gave():
    fresh = build_generator(
        GeneratorConfig(conditions=CONDITIONS, channels=(8, 8), norm_groups=4, trainable="all"), seed=4
    )
    assert sum(float(weight.detach().double().abs().sum()) for weight in fresh.parameters()) == pytest.approx(
        1074.3320144363038, rel=1e-6
    )


@pytest.mark.parametrize(
    ("trainable", "tensors", "weights"),
    [("all", 156, 3_290_100), ("adaptation", 54, 17_524), ("modulation", 50, 7_104)],
)
def test_groups_of_weights_are_those_that_they_always_were(trainable, tensors, weights):
    generator = build_generator(
        GeneratorConfig(conditions=CONDITIONS, channels=(48, 96, 128), trainable=trainable), seed=0
    )
    trained = [weight.numel() for weight in generator.parameters() if weight.requires_grad]
    assert (len(trained), sum(trained)) == (tensors, weights)
