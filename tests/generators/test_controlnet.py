"""A base that is not told of the mask, and a branch that steers it."""

import pytest
import torch
from toy_batches import a_batch, without_zeros

from cmrfed.config import GeneratorConfig, UserError
from cmrfed.generators import build_generator

CONFIG = GeneratorConfig(network="controlnet", channels=(16, 24), trainable="all")


def said(generator, batch, mask):
    return generator.predict(batch.images, torch.full((3,), 0.5), batch.conditions | {"mask": mask})


def test_until_the_branch_has_learnt_anything_the_base_speaks_alone():
    """Its convolutions to the base start at zero: whatever else is in the branch, the mask is not heard."""
    generator, batch = build_generator(CONFIG, seed=0), a_batch()
    without_zeros(generator.network.unet)
    zeros = [generator.network.control.controlnet_down_blocks, generator.network.control.controlnet_mid_block]
    assert not any(weight.any() for part in zeros for weight in part.parameters())
    before = said(generator, batch, batch.masks)
    assert before.any() and torch.equal(before, said(generator, batch, (batch.masks + 1) % 4))
    without_zeros(generator.network.control)
    assert not torch.equal(before, said(generator, batch, batch.masks))


def test_the_base_has_no_channels_for_the_mask_and_the_branch_has():
    network = build_generator(CONFIG, seed=0).network
    assert network.unet.conv_in.conv.in_channels == CONFIG.patch**2
    assert network.control.controlnet_cond_embedding.conv_in.conv.in_channels == 4 * CONFIG.patch**2


@pytest.mark.parametrize("group", ["control", "modulation"])
def test_patients_train_the_branch_alone(group):
    generator = build_generator(CONFIG.model_copy(update={"trainable": group}), seed=0)
    trained = [name for name, weight in generator.named_parameters() if weight.requires_grad]
    assert trained and all(name.startswith("network.control.") for name in trained)


def test_without_a_mask_to_steer_by_it_is_refused_in_one_line():
    with pytest.raises(UserError, match=r"^generator.network: controlnet is steered by the mask; .*conditions$"):
        build_generator(CONFIG.model_copy(update={"conditions": ("vendor",)}), seed=0)
