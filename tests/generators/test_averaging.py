"""What pretraining gives of a generator that learns one part after the other."""

from itertools import count

import numpy as np
from averages import averages_by_hand
from conftest import toy_slices
from presets import tiny_generator

from cmrfed.config import PretrainingConfig


def test_pretraining_averages_each_weight_over_the_steps_of_its_own_stage():
    generator = tiny_generator("latent")
    stages = sorted({one.stage for one in generator.objectives}, key=lambda stage: -1 if stage is None else stage)
    assert len(stages) == 2
    names = {id(weight): name for name, weight in generator.named_parameters()}
    stage_of = {names[id(weight)]: stages.index(one.stage) for one in generator.objectives for weight in one.weights()}
    config = PretrainingConfig(steps=8, batch_size=2, mixed_slices=4)
    weights, expected, _ = averages_by_hand(
        generator, lambda first: (toy_slices([4], 16, seed) for seed in count(first)), config, stage_of
    )
    for name, array in expected.items():
        np.testing.assert_allclose(weights[name], array, atol=1e-5)
