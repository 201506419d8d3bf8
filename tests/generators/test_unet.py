"""The U-Net says which of its weights may be trained alone, and is told of conditions as they were meant."""

import pytest
import torch

from cmrfed.config import GeneratorConfig, UserError
from cmrfed.generators import build_generator


def trained(**config):
    generator = build_generator(GeneratorConfig(**config), seed=0)
    return {name: weight.numel() for name, weight in generator.named_parameters() if weight.requires_grad}


def test_adaptation_trains_tens_of_thousands_of_weights_at_most():
    found = trained(trainable="adaptation")
    assert 1_000 < sum(found.values()) < 100_000
    assert any("class_embedding" in name for name in found)
    assert any("conv_in" in name for name in found)
    assert any(name.startswith("network.unet.out.2") for name in found)
    assert not any(".conv1." in name or "time_embed.0" in name for name in found)


def test_modulation_trains_norms_and_embeddings_and_no_convolution():
    found = trained(trainable="modulation")
    assert any("class_embedding" in name for name in found)
    assert not any("conv" in name for name in found)
    assert sum("norm" in name or name.startswith("network.unet.out.0") for name in found) == len(found) - 2


def test_a_group_that_the_network_has_not_is_refused_with_those_it_has():
    with pytest.raises(
        UserError, match=r"^generator.trainable: this network has all, modulation, adaptation, directions; found 'x'"
    ):
        build_generator(GeneratorConfig(trainable="x"), seed=0)


def test_a_vendor_never_seen_looks_generic_and_each_learns_its_own_difference(tiny_generator_config):
    embedding = build_generator(tiny_generator_config, seed=0).network.unet.class_embedding
    generic, siemens, philips = ({"vendor": torch.tensor([vendor]), "phase": torch.tensor([0])} for vendor in (4, 0, 1))
    with torch.no_grad():
        embedding.vendor.weight[4] = 1.0
    assert torch.equal(embedding(siemens), embedding(generic))
    with torch.no_grad():
        embedding.vendor.weight[0] = 0.5
    assert not torch.equal(embedding(siemens), embedding(generic))
    assert torch.equal(embedding(philips), embedding(generic))
